"""The trigger against a real emulator, under a detector of blocking calls."""

import asyncio
import json
import re
import time

import airflow.sdk.execution_time.cache  # noqa: F401 - Airflow imports it on the loop, the first time
import pytest
from blockbuster import blockbuster_ctx

from vision_batch.service.rows import request_line
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import ServiceConfig
from vision_batch.triggers.job import VisionBatchTrigger

MODEL = "gpt://b1gtests/gemma-3-12b-it/latest"
TASK_TYPE = "ImageTextToTextGenerationRequest"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nothing races these triggers, so they need not wait."""
    monkeypatch.setattr("vision_batch.triggers.job.first_look_seconds", lambda: 0.05)


@pytest.fixture
def running(emulator, monkeypatch):
    running = emulator("--api-key", "the-key", "--folder", "b1gtests", speed=2000)
    connect(monkeypatch, running.grpc)
    return running


def connect(monkeypatch, endpoint, key="the-key"):
    record = {"conn_type": "ai_studio", "password": key, "host": endpoint}
    extra = {"folder_id": "b1gtests", "tls": False}
    monkeypatch.setenv("AIRFLOW_CONN_VL", json.dumps({**record, "extra": extra}))


@pytest.fixture
def client(running):
    with SyncAIStudioClient(ServiceConfig("b1gtests", api_key="the-key", endpoint=running.grpc, tls=False)) as client:
        yield client


@pytest.fixture
def validating(client, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(request_line("What is it?", bytes.fromhex(PIXEL)))
    dataset = client.create_dataset("trigger", TASK_TYPE, labels={})
    client.upload(dataset.dataset_id, path)
    return dataset.dataset_id, client.validate(dataset.dataset_id)


@pytest.fixture
def dataset_id(client, validating):
    dataset_id, operation_id = validating
    while not client.validation(operation_id).done:
        time.sleep(0.05)
    return dataset_id


@pytest.fixture
def job(client, dataset_id):
    return client.submit(MODEL, dataset_id).job_id


@pytest.fixture
def endless(running, request):
    """A validation that does not end, as time stands still."""
    running.freeze()
    return request.getfixturevalue("validating")


def trigger(**given):
    return VisionBatchTrigger(conn_id="vl", poll_interval_seconds=0.05, **given)


async def event_of(trigger):
    with blockbuster_ctx("vision_batch"):
        async for event in trigger.run():
            return event.payload
    return None


async def test_it_tells_how_a_job_ended(job):
    assert await event_of(trigger(subject="job", remote_id=job)) == {
        "outcome": "ended",
        "status": "COMPLETED",
        "message": "",
    }


async def test_it_logs_once_how_far_a_job_is(running, client, dataset_id, capsys):
    with running.holding():
        job = client.submit(MODEL, dataset_id).job_id
        waiting, said = asyncio.create_task(event_of(trigger(subject="job", remote_id=job))), ""
        while "IN_PROGRESS" not in said and not waiting.done():
            await asyncio.sleep(0.05)
            said += capsys.readouterr().out
        await asyncio.sleep(0.2)  # it may say more, and must not
    assert (await waiting)["status"] == "COMPLETED"
    told = re.findall(rf"Job {job}: (.+?) \[", said + capsys.readouterr().out)
    assert len(told) == len(set(told))
    shown = [line for line in told if "IN_PROGRESS" in line]
    assert shown
    assert all(re.match(r"IN_PROGRESS, \d of 1 batches completed, about \d of 1 rows", line) for line in shown)


async def test_it_tells_that_a_validation_ended(validating):
    assert await event_of(trigger(subject="validation", remote_id=validating[1], dataset_id=validating[0])) == {
        "outcome": "ended"
    }


@pytest.mark.usefixtures("running")
async def test_it_tells_that_there_is_room():
    needed = {"jobs": 10, "datasets": 100, "size_bytes": 300 * 10**9, "new_jobs": 0, "since": 0.0}
    assert await event_of(trigger(subject="room", needed=needed)) == {"outcome": "ended"}


@pytest.mark.parametrize(
    ("needed", "words"),
    [
        ({"jobs": 11}, "10 of 11 jobs allowed now"),
        ({"datasets": 101}, "100 of 101 datasets free"),
        ({"size_bytes": 10**12}, "300000000000 of 1000000000000 bytes free"),
        ({"new_jobs": 1, "since": 0.0}, "0 of 1 jobs started meanwhile"),
    ],
)
@pytest.mark.usefixtures("running")
async def test_it_waits_for_room_and_says_what_is_missing(needed, words):
    waited = await event_of(trigger(subject="room", needed=needed, deadline=time.time() - 1))
    assert waited == {"outcome": "timeout", "message": f"still waiting: {words}; waiting"}


@pytest.mark.usefixtures("job")
async def test_room_comes_with_a_job_that_somebody_makes():
    assert await event_of(trigger(subject="room", needed={"new_jobs": 1, "since": 0.0})) == {"outcome": "ended"}


async def test_it_stops_at_the_deadline(client, endless):
    dataset_id, operation = endless
    payload = await event_of(
        trigger(subject="validation", remote_id=operation, dataset_id=dataset_id, deadline=time.time() - 1)
    )
    assert payload["outcome"] == "timeout"
    assert not client.validation(operation).done


async def test_a_deleted_dataset_ends_the_wait_for_its_validation(client, endless):
    dataset_id, operation = endless
    client.delete_dataset(dataset_id)
    payload = await event_of(trigger(subject="validation", remote_id=operation, dataset_id=dataset_id))
    assert payload["outcome"] == "error"
    assert dataset_id in payload["message"]


async def test_an_unknown_job_or_a_wrong_key_ends_the_wait_with_words(running, monkeypatch):
    payload = await event_of(trigger(subject="job", remote_id="fbiunknown00000000"))
    assert payload["outcome"] == "error"
    connect(monkeypatch, running.grpc, key="wrong")
    payload = await event_of(trigger(subject="room", needed={"jobs": 1}))
    assert payload["outcome"] == "error"
    assert "API key" in payload["message"]
    assert "wrong" not in payload["message"]


async def test_an_outage_is_waited_out(running, job):
    running.stop()
    waiting = asyncio.create_task(event_of(trigger(subject="job", remote_id=job)))
    await asyncio.sleep(1)
    assert not waiting.done()
    address = running.grpc
    await asyncio.to_thread(running.start, *running.options, "--grpc-port", address.split(":")[1])
    assert (await asyncio.wait_for(waiting, 60))["status"] == "COMPLETED"


async def test_a_wait_that_ends_without_the_task_being_failed_keeps_the_paid_job(job, client):
    stopped = trigger(subject="job", remote_id=job)
    await stopped.on_kill()
    while not (found := client.describe_job(job)).status.is_terminal:
        await asyncio.sleep(0.05)
    assert found.status.name == "COMPLETED"


@pytest.fixture
def failed(monkeypatch):
    """Give a trigger whose wait a person has marked as failed; ``states`` says otherwise, the last of them for good."""

    def make(job, states=("failed",), **given):
        made, coming = trigger(subject="job", remote_id=job, **given), list(states)

        async def state():
            return coming.pop(0) if len(coming) > 1 else coming[0]

        monkeypatch.setattr(made, "_state_of_wait", state)
        return made

    return make


async def test_a_task_that_a_person_marked_as_failed_cancels_its_job(running, client, dataset_id, failed):
    with running.holding():
        job = client.submit(MODEL, dataset_id).job_id
        with blockbuster_ctx("vision_batch"):
            await failed(job).on_kill()
    assert client.describe_job(job).status.name == "CANCELED"


async def test_a_job_that_refuses_to_be_cancelled_is_asked_again_for_longer_than_airflow_waits(
    running, client, dataset_id, failed
):
    running.scenario("cancel_refused_before_in_progress", times=None)
    running.freeze()
    with running.holding("IN_PROGRESS"):
        job = client.submit(MODEL, dataset_id).job_id
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(failed(job).on_kill(), 0.2)
        while not running.refused():
            await asyncio.sleep(0.05)
        assert client.describe_job(job).status.name == "CREATED"
        running.resume()
        while not (found := client.describe_job(job)).status.is_terminal:
            await asyncio.sleep(0.05)
    assert found.status.name == "CANCELED"
    assert running.refused()[0]["code"] == "FAILED_PRECONDITION"


async def test_a_wait_that_is_cleared_again_is_cancelled_no_more(running, client, dataset_id, failed):
    running.scenario("cancel_refused_before_in_progress", times=None)
    with running.holding("CREATED"):
        job = client.submit(MODEL, dataset_id).job_id
        await asyncio.wait_for(failed(job, ("failed", "failed", None, "scheduled")).on_kill(), 60)
        assert len(running.refused()) == 1, "asked once; not where the state was not known"
    assert not client.describe_job(job).status.is_terminal


async def test_who_only_cleans_up_after_a_wait_cancels_nothing_when_killed(job, client, failed):
    await failed(job, waited_for_by="shard.wait").on_kill()
    while not (found := client.describe_job(job)).status.is_terminal:
        await asyncio.sleep(0.05)
    assert found.status.name == "COMPLETED"


async def test_a_trigger_that_shall_cancel_asks_until_the_job_is_over(running, client, dataset_id, failed):
    running.scenario("cancel_refused_before_in_progress", times=None)
    with running.holding("CREATED"):
        job = client.submit(MODEL, dataset_id).job_id
        waiting = asyncio.create_task(event_of(failed(job, waited_for_by="shard.wait", cancel=True)))
        while not running.refused():
            await asyncio.sleep(0.05)
        assert not waiting.done()
        running.clear("cancel_refused_before_in_progress")
        assert (await asyncio.wait_for(waiting, 60))["status"] == "CANCELED"
    assert running.refused()[0]["code"] == "FAILED_PRECONDITION"


async def test_a_trigger_that_shall_cancel_ends_when_the_wait_goes_on(running, client, dataset_id, failed):
    with running.holding("CREATED"):
        job = client.submit(MODEL, dataset_id).job_id
        given = failed(job, (None, "scheduled"), waited_for_by="shard.wait", cancel=True)
        told = {"outcome": "timeout", "message": "the wait is scheduled again"}
        assert await asyncio.wait_for(event_of(given), 60) == told
    assert not client.describe_job(job).status.is_terminal


def test_what_is_serialized_holds_ids_and_times_only():
    path, given = trigger(subject="job", remote_id="fbi1", deadline=5.0).serialize()
    assert path == "vision_batch.triggers.job.VisionBatchTrigger"
    assert given == {
        "conn_id": "vl",
        "subject": "job",
        "remote_id": "fbi1",
        "dataset_id": "",
        "needed": {},
        "poll_interval_seconds": 0.05,
        "deadline": 5.0,
    }
    cleaning = trigger(subject="job", waited_for_by="shard.wait", cancel=True).serialize()[1]
    assert (cleaning["waited_for_by"], cleaning["cancel"]) == ("shard.wait", True)


PIXEL = (
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301"
    "0100c9fe92ef0000000049454e44ae426082"
)
