"""Workers, triggerers and the scheduler die, people mark and clear: one job, all rows, nothing cancelled by mistake."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import duckdb
import httpx
import psutil
import pytest

from vision_batch.demo.bill import read_bill
from vision_batch.demo.pictures import draw_pictures
from vision_batch.demo.stack import Stack
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import ServiceConfig
from vision_batch.steps.crash import CRASH_AT, CRASH_ONCE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAG = "photo-quality"
#: A job takes a minute and a half: time to kill something while it runs.
SPEED = 3
HEARTBEAT_THRESHOLD_SECONDS = 20


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory):
    """Give the folder in which tasks that killed themselves left their mark."""
    return tmp_path_factory.mktemp("crashed")


@pytest.fixture(scope="module")
def stack(tmp_path_factory, project, killed_once) -> Iterator[Stack]:
    """Run a stack whose tasks kill themselves once during a submit and once during a load."""
    environ = {CRASH_AT: "after_reply,before_commit", CRASH_ONCE: str(killed_once)}
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder, project, speed=SPEED, schedule=False, environ=environ) as running:
        yield running


@pytest.fixture
def run(stack, eventually):
    """Give a function that starts a run over one day with three pictures."""
    eventually(lambda: stack.api.dag(DAG))
    stack.api.pause(DAG, paused=False)

    def start(day: str) -> str:
        draw_pictures(stack.bucket, partitions=(day,), per_partition=3)
        return stack.api.trigger(DAG, conf={"partition_from": day, "partition_to": day}, run_id=f"run-{day}")

    return start


def task(stack, run_id, task_id):
    return next((found for found in stack.api.tasks(DAG, run_id) if found.task_id == task_id), None)


def deferred(stack, run_id, task_id="shard.wait"):
    found = task(stack, run_id, task_id)
    return found is not None and found.state == "deferred"


def ended(stack, run_id):
    found = stack.api.run(DAG, run_id)
    return found if found.state in {"success", "failed"} else None


def jobs(stack, since=0):
    return read_bill(stack.emulator_url)[since:]


def rows(stack, day):
    with duckdb.connect(str(stack.warehouse), read_only=True) as db:
        found = db.sql("select * from enrichment.photo_quality").to_arrow_table().to_pylist()
    return [row for row in found if row["partition"] == day]


def datasets(stack):
    connection = stack._service
    config = ServiceConfig(connection.folder_id, connection.api_key, endpoint=connection.endpoint, tls=False)
    with SyncAIStudioClient(config) as client:
        return client.list_datasets()


def cancels(stack, job_id):
    """Give every sign of a cancellation that was asked for, accepted or refused."""
    with httpx.Client(base_url=f"{stack.emulator_url}/_emulator", trust_env=False) as emulator:
        [job] = emulator.get("/bill", params={"job": job_id}).raise_for_status().json()["jobs"]
        log = emulator.get("/log").raise_for_status().json()["refused"]
    refused = [found for found in log if found["call"].endswith("Cancel") and job_id in found["message"]]
    return ["accepted", *refused] if job["cancel_accepted"] else refused


def refuse_early_cancels(stack):
    scenario = {"name": "cancel_refused_before_in_progress", "times": None}
    httpx.post(f"{stack.emulator_url}/_emulator/scenario", json=scenario, trust_env=False).raise_for_status()


def mark_as_failed(stack, run_id):
    body = {"new_state": "failed", "include_downstream": False}
    stack.api.call("PATCH", f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/shard.wait/0", body=body)


@contextmanager
def stopped(pids):
    """Let processes stand still, as those of a machine do that is out of breath."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def pids(stack, name):
    process = psutil.Process(stack.processes._running[name][1].pid)
    return [process.pid, *(child.pid for child in process.children(recursive=True))]


def test_killed_workers_triggerers_and_scheduler_make_no_second_job(stack, run, eventually, killed_once):
    run_id = run("2026-11-10")
    eventually(lambda: deferred(stack, run_id), seconds=300)
    assert (killed_once / "after_reply").exists()

    for _ in range(10):
        stack.processes.kill("triggerer")
        stack.processes.restart("triggerer")
        time.sleep(1)
    stack.processes.kill("scheduler")
    stack.processes.restart("scheduler")

    # A second triggerer takes over while the first is stopped for longer than its heartbeat allows, then both go on.
    first = stack.processes._running["triggerer"][0]
    stack.processes.start(replace(first, name="triggerer-2"))
    with stopped(pids(stack, "triggerer")):
        time.sleep(HEARTBEAT_THRESHOLD_SECONDS + 10)

    assert eventually(lambda: ended(stack, run_id), seconds=400).state == "success"
    stack.processes.stop("triggerer-2")
    assert (killed_once / "before_commit").exists()
    [job] = jobs(stack)
    assert (job.status, job.rows) == ("COMPLETED", 3)
    assert [(row["status"], row["job_id"]) for row in rows(stack, "2026-11-10")] == [("answered", job.job_id)] * 3
    assert datasets(stack) == []
    assert cancels(stack, job.job_id) == []


def test_marked_as_failed_a_wait_cancels_its_job_and_the_datasets_go(stack, run, eventually):
    before = len(jobs(stack))
    run_id = run("2026-11-11")
    eventually(lambda: deferred(stack, run_id), seconds=300)
    refuse_early_cancels(stack)
    mark_as_failed(stack, run_id)

    eventually(lambda: jobs(stack, before)[0].status == "CANCELED", seconds=120)
    assert eventually(lambda: ended(stack, run_id), seconds=200).state == "failed"
    assert datasets(stack) == []
    assert rows(stack, "2026-11-11") == []
    assert len(jobs(stack, before)) == 1


def test_marked_as_failed_before_a_triggerer_knows_of_it_a_wait_has_its_job_cancelled_too(stack, run, eventually):
    before = len(jobs(stack))
    run_id = run("2026-11-13")
    eventually(lambda: (found := task(stack, run_id, "shard.submit")) and found.state == "success", seconds=300)
    with stopped(pids(stack, "triggerer")):
        eventually(lambda: deferred(stack, run_id))
        refuse_early_cancels(stack)
        mark_as_failed(stack, run_id)
        eventually(lambda: deferred(stack, run_id, "shard.clean"))
        [job] = jobs(stack, before)
        assert cancels(stack, job.job_id) == []
    assert "A person marked shard.wait as failed" in stack.api.log(DAG, run_id, task(stack, run_id, "shard.clean"))

    assert eventually(lambda: ended(stack, run_id), seconds=200).state == "failed"
    assert [found.status for found in jobs(stack, before)] == ["CANCELED"]
    assert datasets(stack) == []
    assert rows(stack, "2026-11-13") == []


def test_cleared_while_it_waits_a_task_goes_on_with_the_same_job(stack, run, eventually):
    before = len(jobs(stack))
    run_id = run("2026-11-12")
    eventually(lambda: deferred(stack, run_id), seconds=300)
    [job] = jobs(stack, before)
    body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "only_running": False}
    stack.api.call("POST", f"/dags/{DAG}/clearTaskInstances", body=body)

    assert eventually(lambda: ended(stack, run_id), seconds=400).state == "success"
    assert [found.job_id for found in jobs(stack, before)] == [job.job_id]
    assert jobs(stack, before)[0].status == "COMPLETED"
    assert {row["job_id"] for row in rows(stack, "2026-11-12")} == {job.job_id}
    assert cancels(stack, job.job_id) == []
