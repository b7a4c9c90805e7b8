"""One DAG for each file in include/enrichments. Airflow looks for the words dag and airflow in this file."""

from pathlib import Path

from vision_batch.dag import build_dags

globals().update(build_dags(Path(__file__).resolve().parents[1] / "include"))
