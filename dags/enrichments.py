"""One DAG for each file in include/enrichments. Airflow looks for the words dag and airflow in this file."""

from vision_batch.dag import build_dags, find_include

globals().update(build_dags(find_include(__file__)))
