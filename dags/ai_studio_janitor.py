"""Tidy up after runs that died: see ``vision_batch.steps.janitor``. Airflow looks for its own name in this file."""

from pathlib import Path

from vision_batch.dag import build_janitor_dag

dag = build_janitor_dag(Path(__file__).resolve().parents[1] / "include")
