"""The whole flow in a real Airflow: PostgreSQL, LocalExecutor, triggerer, and the emulator as the service."""

import base64
import json
import re
import subprocess
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from vision_batch.demo import postgres
from vision_batch.demo.bill import read_bill
from vision_batch.demo.pictures import draw_pictures
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import ServiceConfig
from vision_batch.steps.prepare import TASK_TYPE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAG = "photo-quality"
DAYS = ("2026-11-17", "2026-11-18")


def rows(stack, table: str, partition: str | None = None) -> list[dict]:
    with duckdb.connect(str(stack.warehouse), read_only=True) as connection:
        found = connection.sql(f"select * from {table} order by image_uri").to_arrow_table().to_pylist()
    return [row for row in found if partition in (None, row["partition"])]


def task(stack, run_id: str, task_id: str, dag_id: str = DAG):
    return next((found for found in stack.api.tasks(dag_id, run_id) if found.task_id == task_id), None)


def slots(stack) -> dict:
    pool = stack.api.call("GET", "/pools/default_pool")
    return {name: pool[f"{name}_slots"] for name in ("running", "queued", "deferred")}


def test_a_broken_declaration_shows_its_message_and_leaves_the_others_scheduled(stack, eventually):
    broken = eventually(lambda: stack.api.dag("shelf-prices"))
    assert {"broken", "vision-batch"} <= {tag["name"] for tag in broken["tags"]}
    assert broken["timetable_summary"] is None
    page = stack.api.call("GET", "/dags/shelf-prices/details")["doc_md"]
    for field in ("model", "scedule", "source.uri"):
        assert f"field '{field}'" in page

    for name, cron in ((DAG, "0 0 * * *"), ("every-minute", "* * * * *")):
        assert eventually(lambda name=name: stack.api.dag(name))["timetable_summary"] == cron
    assert stack.api.import_errors() == []


def test_waiting_holds_no_worker_and_a_new_triggerer_and_scheduler_make_no_second_job(stack, eventually, finished):
    draw_pictures(stack.bucket, partitions=DAYS, per_partition=3)
    eventually(lambda: stack.api.dag(DAG))
    # A run that covers both days, so that they share a job.
    stack.api.call("PATCH", f"/dags/{DAG}", body={"is_paused": False})
    run_id = stack.api.trigger(DAG, conf={"partition_from": DAYS[0], "partition_to": DAYS[1]}, run_id="both-days")

    def waiting():
        stack.check()
        found = task(stack, run_id, "shard.wait")
        return found if found and found.state == "deferred" else None

    eventually(waiting, seconds=150)
    stack.api.pause(DAG, paused=True)
    others = [run for run in stack.api.runs(DAG) if run.run_id != run_id and run.state == "running"]
    if not others:
        assert slots(stack) == {"running": 0, "queued": 0, "deferred": 1}
    jobs = read_bill(stack.emulator_url)
    assert [job.rows for job in jobs if job.rows == 6] == [6]

    for name in ("triggerer", "scheduler"):
        stack.processes.kill(name)
        stack.processes.restart(name)
    stack.api.pause(DAG, paused=False)

    assert finished(DAG, run_id).state == "success"
    assert [job.rows for job in read_bill(stack.emulator_url) if job.rows == 6] == [6]
    found = [row for row in rows(stack, "enrichment.photo_quality") if row["partition"] in DAYS]
    assert len(found) == 6
    assert {row["status"] for row in found} == {"answered"}
    assert {row["job_id"] for row in found} == {next(job.job_id for job in jobs if job.rows == 6)}


def test_a_second_run_over_the_same_days_makes_no_job(stack, finished):
    jobs, before = read_bill(stack.emulator_url), rows(stack, "enrichment.photo_quality")
    stack.api.pause(DAG, paused=False)
    run_id = stack.api.trigger(DAG, conf={"partition_from": DAYS[0], "partition_to": DAYS[1]}, run_id="again")

    assert finished(DAG, run_id).state == "success"

    assert len(read_bill(stack.emulator_url)) == len(jobs)
    assert rows(stack, "enrichment.photo_quality") == before
    stack.api.pause(DAG, paused=True)


def test_a_full_folder_is_waited_for_without_a_worker_and_the_log_says_who_fills_it(stack, eventually, finished):
    day = "2026-11-16"
    draw_pictures(stack.bucket, partitions=(day,), per_partition=1)
    service = stack._service
    config = ServiceConfig(service.folder_id, service.api_key, endpoint=service.endpoint, tls=False)
    with SyncAIStudioClient(config) as client:
        left = 100 - len(client.list_datasets())
        foreign = [client.create_dataset(f"foreign {number}", TASK_TYPE, labels={}) for number in range(left - 1)]
        stack.api.pause(DAG, paused=False)
        run_id = stack.api.trigger(DAG, conf={"partition_from": day, "partition_to": day}, run_id="full-folder")

        def waiting():
            found = task(stack, run_id, "shard.prepare")
            return found if found and found.state == "deferred" else None

        prepare = eventually(waiting, seconds=150)
        assert eventually(lambda: slots(stack) == {"running": 0, "queued": 0, "deferred": 1})
        words = (
            r"Waiting: the folder is full: 1 of 100 datasets.* 99 made by others \(the oldest: 'foreign 0'.*Place 1 in"
        )
        assert re.search(words, stack.api.log(DAG, run_id, prepare))
        eventually(lambda: "1 of 2 datasets free; waiting" in stack.api.log(DAG, run_id, prepare))
        jobs = len(read_bill(stack.emulator_url))
        for dataset in foreign:
            client.delete_dataset(dataset.dataset_id)

    assert finished(DAG, run_id).state == "success"
    assert len(read_bill(stack.emulator_url)) == jobs + 1
    stack.api.pause(DAG, paused=True)


def test_an_unpaused_dags_scheduled_runs_enrich_their_partitions_without_help(stack, eventually):
    now = datetime.now(UTC) + timedelta(hours=3)  # Moscow has no summer time
    minutes = [(now + timedelta(minutes=ahead)).strftime("%Y-%m-%dT%H-%M") for ahead in range(-3, 6)]
    draw_pictures(stack.bucket, partitions=minutes, per_partition=1)
    stack.api.pause("every-minute", paused=False)

    def two_done():
        stack.check()
        runs = stack.api.runs("every-minute")
        assert not [run for run in runs if run.state == "failed"]
        return len(done := [run for run in runs if run.state == "success"]) >= 2 and done

    done = eventually(two_done, seconds=300)
    stack.api.pause("every-minute", paused=True)

    assert {run.kind for run in done} == {"scheduled"}
    for run in done:
        partition = (run.logical + timedelta(hours=3)).strftime("%Y-%m-%dT%H-%M")
        assert [row["status"] for row in rows(stack, "enrichment.every_minute", partition)] == ["answered"]
    # From there the first run after a pause goes on.
    state = json.loads((stack.folder / "work" / "every-minute" / "open.json").read_text())
    until = datetime.fromisoformat(state["planned_until"])
    assert max(run.logical for run in done) <= until
    assert until in {run.logical for run in stack.api.runs("every-minute")}


def test_no_secret_no_presigned_url_and_no_image_is_in_logs_or_in_airflows_database(stack):
    data = stack.folder / "postgres"
    dump = subprocess.run(
        [postgres.binaries() / "pg_dump", "-h", postgres.socket_folder(data), "-U", postgres.USER, "--inserts"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for table in ("xcom", "rendered_task_instance_fields", "task_instance", "log"):
        assert f"INSERT INTO public.{table} " in dump
    logs = {
        path: path.read_text(errors="replace")
        for folder in (stack.folder / "log", stack.folder / "airflow" / "logs")
        for path in folder.rglob("*.log")
    }
    assert any("task_id=shard.submit" in str(path) for path in logs)

    pictures = [path.read_bytes() for path in stack.bucket.rglob("*") if path.is_file()]
    forbidden = {
        "API key": re.escape(stack.keys.api_key),
        "JWT secret": re.escape(stack.keys.jwt),
        "Fernet key": re.escape(stack.keys.fernet),
        "presigned URL": "X-Amz-Signature=|[?&]Signature=|X-Amz-Credential=",
        "JPEG in base64": "/9j/4AAQ",
        "PNG in base64": "iVBORw0KGgo",
        "picture": "|".join(re.escape(base64.b64encode(body[300:360]).decode()) for body in pictures),
    }
    for what, pattern in forbidden.items():
        assert not re.search(pattern, dump), f"{what} is in the database"
        for path, text in logs.items():
            assert not re.search(pattern, text), f"{what} is in {path}"
