import json
import time

import pytest
from airflow.sdk.exceptions import TaskDeferred

from vision_batch.errors import JobDeadError, RetryableError
from vision_batch.sensors.job import VisionBatchSensor
from vision_batch.service.rows import request_line
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import ServiceConfig

MODEL = "gpt://b1gtests/gemma-3-12b-it/latest"


@pytest.fixture
def submitted(emulator, monkeypatch, tmp_path):
    """Give a running emulator and a function that makes a job there."""
    running = emulator(speed=20_000)
    extra = {"folder_id": "b1gtests", "tls": False}
    monkeypatch.setenv(
        "AIRFLOW_CONN_VL",
        json.dumps({"conn_type": "ai_studio", "password": "key", "host": running.grpc, "extra": extra}),
    )
    path = tmp_path / "rows.jsonl"
    path.write_bytes(request_line("What is it?", b"not an image"))

    def submit():
        with SyncAIStudioClient(ServiceConfig("b1gtests", api_key="key", endpoint=running.grpc, tls=False)) as client:
            dataset = client.create_dataset("sensor", "ImageTextToTextGenerationRequest", labels={})
            client.upload(dataset.dataset_id, path)
            operation = client.validate(dataset.dataset_id)
            while not client.validation(operation).done:
                time.sleep(0.05)
            return client.submit(MODEL, dataset.dataset_id).job_id

    return running, submit


def sensor(**given):
    return VisionBatchSensor(task_id="wait", conn_id="vl", **given)


def test_it_waits_in_the_triggerer_by_default_and_knows_the_jobs_page(monkeypatch):
    extra = {"folder_id": "b1gtests", "console_url": "https://console.example/{folder_id}/{job_id}"}
    monkeypatch.setenv("AIRFLOW_CONN_VL", json.dumps({"conn_type": "ai_studio", "password": "the-key", "extra": extra}))
    waiting = sensor(job_id="fbi1", poke_interval=7, timeout=100)
    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute({})
    after = time.time()
    _, given = deferred.value.trigger.serialize()
    assert (given["subject"], given["remote_id"], given["poll_interval_seconds"]) == ("job", "fbi1", 7)
    assert before + 100 <= given["deadline"] <= after + 100
    assert deferred.value.method_name == "ended"
    page = "https://console.example/b1gtests/fbi1"
    assert deferred.value.kwargs == {"job_page": page}
    assert page_shown(waiting) == page
    done = sensor(job_id="fbi1")
    assert page_shown(done) == ""
    done.ended({}, {"outcome": "ended", "status": "COMPLETED", "message": ""}, job_page=page)
    assert page_shown(done) == page


def page_shown(task) -> str:
    [link] = task.operator_extra_links
    return link.get_link(task, ti_key=None)


def test_there_may_be_nothing_to_wait_for():
    assert sensor(job_id=None).execute({}) is None


def test_it_goes_on_when_the_job_is_completed():
    event = {"outcome": "ended", "status": "COMPLETED", "message": ""}
    assert sensor(job_id="fbi1").ended({}, event) == "fbi1"


@pytest.mark.parametrize("status", ["FAILED", "CANCELED"])
def test_a_dead_job_is_final(status):
    with pytest.raises(JobDeadError, match=f"fbi1 ended as {status}: out of memory"):
        sensor(job_id="fbi1").ended({}, {"outcome": "ended", "status": status, "message": "out of memory"})


def test_a_wait_that_is_too_long_is_no_verdict_on_the_job():
    with pytest.raises(RetryableError, match="it goes on"):
        sensor(job_id="fbi1").ended({}, {"outcome": "timeout", "message": "still waiting: IN_PROGRESS"})


def test_it_can_poke_from_a_worker(submitted):
    _, submit = submitted
    job = submit()
    assert sensor(job_id=job, deferrable=False, poke_interval=0.05).execute({"ti": None}) == job


def test_poking_sees_a_dead_job(submitted):
    running, submit = submitted
    running.scenario("failed_without_reason")
    job = submit()
    with pytest.raises(JobDeadError, match="gave no reason"):
        sensor(job_id=job, deferrable=False, poke_interval=0.05).execute({"ti": None})
