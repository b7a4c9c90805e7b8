"""Tidy up after runs that died: see ``vision_batch.steps.janitor``. Airflow looks for its own name in this file."""

from vision_batch.dag import build_janitor_dag, find_include

dag = build_janitor_dag(find_include(__file__))
