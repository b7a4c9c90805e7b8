"""Airflow's own backfill over history: newest first, again in every mode, with another model."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from vision_batch.demo.backfill import close_backfills
from vision_batch.demo.bill import read_bill
from vision_batch.demo.pictures import draw_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAG = "photo-quality"
DAYS = ("2026-10-05", "2026-10-06", "2026-10-07")
GEMMA_4B = "gemma-3-4b-it"


def start_of(day: str) -> datetime:
    """When a day begins in Moscow, which has no summer time."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=3)


@pytest.fixture
def over(stack, eventually):
    """Give a function that waits until Airflow has closed its backfills, and gives the days' runs by day."""

    def wait() -> dict:
        eventually(lambda: not stack.api.open_backfills(DAG), seconds=400)
        by_start = {run.logical: run for run in stack.api.runs(DAG) if run.kind == "backfill"}
        return {day: by_start[start_of(day)] for day in DAYS}

    return wait


@pytest.fixture
def backfill(stack, over):
    """Give a function that runs a backfill over the days to its end, and gives the days' runs."""

    def run(reprocess: str, **body) -> dict:
        close_backfills(stack, DAG)
        dates = {"from_date": start_of(DAYS[0]).isoformat(), "to_date": start_of(DAYS[-1]).isoformat()}
        given = {"dag_id": DAG, **dates, "reprocess_behavior": reprocess, "max_active_runs": 3, **body}
        stack.api.call("POST", "/backfills", body=given)
        return over()

    return run


def tries(stack, runs: dict) -> dict[str, int]:
    """How often each day's plan has been run."""
    return {
        day: next(task.try_number for task in stack.api.tasks(DAG, run.run_id) if task.task_id == "plan")
        for day, run in runs.items()
    }


def models(stack) -> dict[str, set[str]]:
    with duckdb.connect(str(stack.warehouse), read_only=True) as connection:
        found = connection.sql("select partition, model, status from enrichment.photo_quality").fetchall()
    return {
        day: {model for partition, model, status in found if (partition, status) == (day, "answered")} for day in DAYS
    }


def test_the_command_line_backfills_the_newest_day_first(stack, eventually, over):
    draw_pictures(stack.bucket, partitions=DAYS, per_partition=1)
    eventually(lambda: stack.api.dag(DAG))
    close_backfills(stack, DAG)
    stack.api.pause(DAG, paused=False)
    before = len(read_bill(stack.emulator_url))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", DAG, "--run-backwards"),
            *("--from-date", start_of(DAYS[0]).isoformat(), "--to-date", start_of(DAYS[-1]).isoformat()),
            *("--max-active-runs", "1", "--reprocess-behavior", "none"),
        ],
        env=stack.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = over()

    assert {run.state for run in runs.values()} == {"success"}
    started = {
        day: stack.api.call("GET", f"/dags/{DAG}/dagRuns/{run.run_id}")["start_date"] for day, run in runs.items()
    }
    assert sorted(DAYS, key=started.__getitem__, reverse=True) == list(DAYS)
    assert [job.rows for job in read_bill(stack.emulator_url)[before:]] == [1, 1, 1]


def test_missing_runs_only_runs_no_day_again(stack, backfill, over):
    before, jobs = tries(stack, over()), len(read_bill(stack.emulator_url))
    assert tries(stack, backfill("none")) == before
    assert len(read_bill(stack.emulator_url)) == jobs


def test_failed_runs_are_run_again_and_ask_nothing_twice(stack, backfill, over):
    runs, jobs = over(), len(read_bill(stack.emulator_url))
    before = tries(stack, runs)
    stack.api.call("PATCH", f"/dags/{DAG}/dagRuns/{runs[DAYS[1]].run_id}", body={"state": "failed"})
    again = backfill("failed")
    assert {run.state for run in again.values()} == {"success"}
    assert tries(stack, again) == {**before, DAYS[1]: before[DAYS[1]] + 1}
    assert len(read_bill(stack.emulator_url)) == jobs


def test_all_runs_again_ask_only_what_came_late(stack, backfill, over):
    before, jobs = tries(stack, over()), len(read_bill(stack.emulator_url))
    draw_pictures(stack.bucket, partitions=DAYS[1:2], per_partition=2)
    again = backfill("completed")
    assert {run.state for run in again.values()} == {"success"}
    assert tries(stack, again) == {day: count + 1 for day, count in before.items()}
    assert [job.rows for job in read_bill(stack.emulator_url)[jobs:]] == [1]


def test_a_backfill_may_ask_another_model(stack, backfill):
    again = backfill("completed", dag_run_conf={"model": GEMMA_4B})
    assert {run.state for run in again.values()} == {"success"}
    assert all(any(model.startswith(GEMMA_4B) for model in found) for found in models(stack).values())
    stack.api.pause(DAG, paused=True)
