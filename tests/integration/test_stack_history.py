"""Packing in a real Airflow: history by its own backfill, in all reprocess modes, and what the janitor sends.

``BACKFILL_DAYS=365 pytest -s`` (``make backfill-year``) does it with a year.
"""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import httpx
import pytest
from person import Person
from PIL import Image

from vision_batch.dag import JANITOR
from vision_batch.demo.pictures import draw_pictures
from vision_batch.demo.stack import Stack
from vision_batch.models import MINIMUM_JOB_TOKENS

DAG = "photo-quality"
COUNT = int(os.environ.get("BACKFILL_DAYS", "12"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 60 * COUNT)]

DAYS = [str(date(2025, 1, 1) + timedelta(days=number)) for number in range(COUNT)]
STARTS = [datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Moscow")) for day in DAYS]
#: A few days have many images, so that there are some jobs' worth of tokens.
IMAGES = max(20, 1800 // COUNT)
OVER = {"success", "failed"}
#: It asks a person before a job is made, so that a run of it is at work for as long as a test wants.
ASKS = "small-days"
ASKING = {
    "name: photo-quality": f"name: {ASKS}",
    'schedule: "0 0 * * *"': "schedule: null",
    "enrichment.photo_quality": "enrichment.small_days",
    "limits:": f"pack: {{min_tokens: {MINIMUM_JOB_TOKENS}, max_wait: PT1S}}\nbudget: {{per_run: 150}}\n\nlimits:",
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory, airflow_project) -> Iterator[Stack]:
    """Run a stack whose enrichment packs, on an emulator with the service's own quotas."""
    project = tmp_path_factory.mktemp("packed")
    shutil.copytree(airflow_project / "dags", project / "dags")
    (project / "plugins").symlink_to(airflow_project / "plugins", target_is_directory=True)
    shutil.copytree(airflow_project / "include", project / "include")
    for path in (project / "include" / "enrichments").iterdir():
        if path.name != "photo_quality.yaml":
            path.unlink()
    declaration = project / "include" / "enrichments" / "photo_quality.yaml"
    text = declaration.read_text()
    for old, new in ASKING.items():
        text = text.replace(old, new)
    declaration.with_name("small_days.yaml").write_text(text)
    with declaration.open("a") as file:
        file.write(f"\npack:\n  min_tokens: {MINIMUM_JOB_TOKENS}\n")
    own = {"PYTHONPATH": str((airflow_project / "plugins").resolve())}
    with Stack(tmp_path_factory.mktemp("history"), project, speed=600, schedule=False, environ=own) as stack:
        for place, day in enumerate(DAYS):
            folder = stack.bucket / day
            folder.mkdir(parents=True)
            for number in range(IMAGES):
                colour = (place % 256, place // 256 * IMAGES + number, 128)
                Image.new("RGB", (64, 48), colour).save(folder / f"{number:02d}.png")
        yield stack


def jobs(stack: Stack) -> list[dict]:
    return httpx.get(f"{stack.emulator_url}/_emulator/bill", trust_env=False).json()["jobs"]


def run_backfill(stack: Stack, eventually, first: int, last: int, **how) -> list[dict]:
    """Backfill days and return their runs, in the order in which they started."""
    backfill = stack.api.backfill(DAG, STARTS[first], STARTS[last], **how)

    def ended():
        stack.check()
        return stack.api.call("GET", f"/backfills/{backfill}")["completed_at"]

    eventually(ended, seconds=300 + 60 * (last - first))
    wanted = {start.timestamp() for start in STARTS[first : last + 1]}
    runs = stack.api._all(f"/dags/{DAG}/dagRuns", "dag_runs", {})
    found = [run for run in runs if datetime.fromisoformat(run["logical_date"] or "1970-01-01").timestamp() in wanted]
    assert {run["state"] for run in found} <= {"success"}
    return sorted(found, key=lambda run: run["start_date"])


@pytest.fixture(scope="module")
def history(packed, eventually) -> Stack:
    """Backfill everything, then send what waits."""
    eventually(lambda: packed.api.dag(DAG), seconds=120)
    packed.api.pause(DAG, paused=False)
    runs = run_backfill(packed, eventually, 0, COUNT - 1)
    assert len(runs) == COUNT
    made = len(jobs(packed))
    run_id = packed.api.trigger(DAG, conf={"partition_from": DAYS[0], "flush": True}, run_id="flush")
    assert eventually(lambda: packed.api.run(DAG, run_id).state in OVER, seconds=300)
    assert packed.api.run(DAG, run_id).state == "success"
    assert len(jobs(packed)) - made in {0, 1}
    return packed


def test_a_backfill_of_single_days_makes_few_jobs_each_worth_its_minimum(history):
    made = jobs(history)
    tokens = [job["tokens"] for job in made]  # as the emulator counts them, whatever the plans expected
    print(f"\n{COUNT} days, {COUNT * IMAGES} images, {len(made)} jobs, {tokens} tokens")  # noqa: T201 - for who measures a year

    assert len(made) > 1
    assert len(made) <= sum(tokens) / MINIMUM_JOB_TOKENS + 1
    assert all(each >= MINIMUM_JOB_TOKENS for each in tokens[:-1])
    with duckdb.connect(str(history.warehouse), read_only=True) as db:
        query = """
            SELECT "partition", count(*) FROM enrichment.photo_quality
            WHERE status = 'answered' AND contains(image_uri, '/' || "partition" || '/') GROUP BY 1
        """
        assert dict(db.sql(query).fetchall()) == dict.fromkeys(DAYS, IMAGES)
    log = httpx.get(f"{history.emulator_url}/_emulator/log", trust_env=False).json()["refused"]
    assert log == []


def test_backfilled_again_in_any_mode_newest_or_oldest_first_no_job_is_made(history, eventually):
    made = jobs(history)
    before = {run.run_id: run for run in history.api.runs(DAG)}
    newest = run_backfill(history, eventually, COUNT - 5, COUNT - 1, run_backwards=True, max_active_runs=1)
    assert [run["logical_date"] for run in newest] == sorted((run["logical_date"] for run in newest), reverse=True)
    oldest = run_backfill(history, eventually, 0, 3, max_active_runs=1)
    assert [run["logical_date"] for run in oldest] == sorted(run["logical_date"] for run in oldest)
    # Nothing has failed, so these run nothing.
    again = run_backfill(history, eventually, 0, 3, reprocess="failed")
    assert [run["start_date"] for run in again] == [run["start_date"] for run in oldest]
    again = run_backfill(history, eventually, 0, 3, reprocess="none")
    assert [run["start_date"] for run in again] == [run["start_date"] for run in oldest]

    run_id = history.api.trigger(DAG, conf={"partition_from": DAYS[0], "partition_to": DAYS[-1], "flush": True})
    assert eventually(lambda: history.api.run(DAG, run_id).state in OVER, seconds=300)
    assert history.api.run(DAG, run_id).state == "success"
    assert {run.run_id for run in history.api.runs(DAG)} == {*before, run_id}
    assert jobs(history) == made


@pytest.fixture
def tidied(packed, eventually):
    """Give a function that runs the janitor, and gives how its task that starts runs has ended, and its log."""

    def run(run_id: str) -> tuple[str, str]:
        packed.api.trigger(JANITOR, run_id=run_id)
        assert eventually(lambda: packed.api.run(JANITOR, run_id).state in OVER, seconds=120)
        [flush] = [task for task in packed.api.tasks(JANITOR, run_id) if task.task_id == f"{ASKS}_flush"]
        return flush.state, packed.api.log(JANITOR, run_id, flush)

    return run


def test_the_janitor_sends_what_has_waited_by_one_run_and_by_none_while_the_dag_is_paused(packed, eventually, tidied):
    def answer(choice):
        person.asked(flush.run_id)
        person.answer(flush.run_id, choice)
        assert eventually(lambda: packed.api.run(ASKS, flush.run_id).state in OVER, seconds=200)

    def flushes():
        return [run for run in packed.api.runs(ASKS) if run.run_id.startswith("flush__")]

    def waiting():
        return json.loads((packed.folder / "work" / ASKS / "open.json").read_text())["waiting"]

    day, person = "2026-09-01", Person(packed, eventually, ASKS)
    draw_pictures(packed.bucket, partitions=(day,), per_partition=2)
    for dag_id in (ASKS, JANITOR):
        eventually(lambda dag_id=dag_id: packed.api.dag(dag_id), seconds=120)
        packed.api.pause(dag_id, paused=False)
    made = len(jobs(packed))
    packed.api.trigger(ASKS, conf={"partition_from": day}, run_id="small")
    assert eventually(lambda: packed.api.run(ASKS, "small").state in OVER, seconds=120)
    assert list(waiting()) == [day]
    since = waiting()[day]["since"]

    packed.api.pause(ASKS, paused=True)
    state, log = tidied("while-it-is-paused")
    assert (state, flushes()) == ("skipped", [])
    assert f"{ASKS} is paused" in log

    packed.api.pause(ASKS, paused=False)
    assert tidied("first")[0] == "success"
    [flush] = flushes()
    assert flush.run_id == f"flush__{since}"
    state, log = tidied("while-the-flush-is-at-work")
    assert (state, len(flushes())) == ("skipped", 1)
    assert "is not over" in log

    # Nobody lets it run: the day waits on, so the next janitor starts another run for it.
    answer("Reject")
    assert tidied("after-a-run-that-sent-nothing")[0] == "success"
    [flush] = [run for run in flushes() if run.run_id != flush.run_id]
    assert flush.run_id == f"flush__{since}__2"
    answer("Approve")
    assert packed.api.run(ASKS, flush.run_id).state == "success"
    assert waiting() == {}
    assert len(jobs(packed)) == made + 1
    with duckdb.connect(str(packed.warehouse), read_only=True) as db:
        found = db.sql('SELECT "partition", status, count(*) FROM enrichment.small_days GROUP BY ALL').fetchall()
    assert found == [(day, "answered", 2)]
    state, log = tidied("afterwards")
    assert (state, len(flushes())) == ("skipped", 2)
    packed.api.pause(JANITOR, paused=True)
