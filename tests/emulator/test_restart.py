"""Killed and started again on the same state, at any speed: what was acknowledged stays, what was begun goes on."""

import signal
import time

import httpx
import pytest
from yandex.cloud.ai.dataset.v1 import dataset_service_pb2 as api
from yandex.cloud.ai.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub

from vision_batch.errors import QuotaExceededError
from vision_batch.service.rows import request_line
from vision_batch.service.types import DatasetStatus, JobStatus

KNOWN = {"authorization": "Api-Key any", "x_data_logging_enabled": "false"}
TYPE = "ImageTextToTextGenerationRequest"


def killed(session):
    """The session after the emulator was killed without notice and started again."""
    assert session.emulator.stop(signal.SIGKILL) == -signal.SIGKILL
    session.emulator.start()
    return session.again()


@pytest.mark.parametrize("when", [JobStatus.CREATED, JobStatus.IN_PROGRESS, JobStatus.COMPLETED])
def test_a_job_goes_on_and_is_billed_once(emulator, session_at, when):
    session = session_at(emulator(speed=2000))
    asked = session.ask(4)
    session.emulator.freeze()
    job_id = session.submit(asked)
    if when is not JobStatus.CREATED:  # then its rows may be answered after the restart
        session.emulator.advance(100 if when is JobStatus.IN_PROGRESS else 300)
    before, [billed] = session.client.describe_job(job_id), session.bill_of(asked)
    assert before.status is when
    session = killed(session)
    session.emulator.resume()
    job = session.finished(job_id)
    assert (job.status, job.created_at) == (JobStatus.COMPLETED, before.created_at)
    assert session.joined(asked, job).responses == asked.answers
    [again] = session.bill_of(asked)
    for name in ("task_id", "rows", "requests", "billed_tokens", "created_at"):
        assert again[name] == billed[name]
    assert when is not JobStatus.COMPLETED or (again, job) == (billed, before)


def test_a_validation_goes_on(emulator, session_at, eventually):
    session = session_at(emulator(speed=2000))
    dataset = session.draft([request_line("Q", b"no image, and that shows only later") for _ in range(3)])
    session.emulator.freeze()
    operation_id = session.client.validate(dataset.dataset_id)
    session = killed(session)
    assert not session.client.validation(operation_id).done
    session.emulator.resume()
    assert session.client.find_validation(dataset.dataset_id) == operation_id
    done = eventually(lambda: (found := session.client.validation(operation_id)).done and found)
    assert (done.is_valid, done.total_rows) == (True, 3)
    assert session.client.describe_dataset(dataset.dataset_id).status is DatasetStatus.READY


def test_an_upload_in_parts_goes_on_by_its_old_urls(emulator, session_at, wire):
    session = session_at(emulator(speed=2000))
    lines = [request_line("x" * 1_200_000, b"image") for _ in range(9)]
    body = b"".join(lines)
    half = -(-len(body) // 2)
    dataset_id = session.client.create_dataset("data", TYPE, labels={}).dataset_id
    request = api.StartMultipartUploadDraftRequest(dataset_id=dataset_id, size_bytes=len(body), parts=2)
    call = (DatasetServiceStub, "StartMultipartUploadDraft", request)
    urls = list(wire(session.emulator.grpc).call(*call, **KNOWN).multipart_upload_urls)
    etags = [httpx.put(urls[0], content=body[:half], trust_env=False).headers["etag"]]
    old = session.emulator.http
    session = killed(session)
    moved = urls[1].replace(old, session.emulator.http)
    etags.append(httpx.put(moved, content=body[half:], trust_env=False).headers["etag"])
    named = [api.UploadedPartInfo(part_num=number, etag=etag) for number, etag in enumerate(etags, 1)]
    finish = api.FinishMultipartUploadDraftRequest(dataset_id=dataset_id, uploaded_parts=named)
    wire(session.emulator.grpc).call(DatasetServiceStub, "FinishMultipartUploadDraft", finish, **KNOWN)
    assert session.validated(dataset_id).total_rows == 9


def test_quotas_scenarios_and_the_clock_go_on(emulator, session_at):
    session = session_at(emulator("--quota", "jobs_per_hour=1", speed=600))
    asked = session.ask(1)
    session.emulator.scenario("canceled", times=2)
    session.emulator.freeze()
    session.submit(asked)
    before = session.client.service_time()
    session = killed(session)
    with pytest.raises(QuotaExceededError, match="1 batch runs in the last hour"):
        session.submit(asked)
    assert session.client.service_time() == before
    session.emulator.resume()
    session = killed(session)
    session.client.list_jobs()
    assert session.client.service_time() >= before
    active = httpx.get(f"{session.emulator.http}/_emulator/scenario", trust_env=False).json()["active"]
    assert active == [{"name": "canceled", "times": 1, "params": {}}]


@pytest.mark.parametrize("speed", [200, 2000])
def test_speed_scales_durations_timestamps_and_the_clock_of_replies_alike(emulator, session_at, speed):
    """What a clock shows, it showed between the question and the reply, so how long these take does not matter."""
    session = session_at(emulator(speed=speed))
    asked = session.ask(1)
    submitting = time.monotonic()
    job = session.finished(session.submit(asked))
    assert time.monotonic() - submitting >= 258.3 / speed
    assert (job.started_at - job.created_at).total_seconds() == pytest.approx(68.8, abs=0.01)
    assert (job.finished_at - job.started_at).total_seconds() == pytest.approx(189.5, abs=0.01)
    described = session.client.describe_dataset(asked.dataset_id)
    assert (described.updated_at - described.created_at).total_seconds() >= 69

    def asked_at():
        before = time.monotonic()
        session.client.list_jobs()
        return before, session.client.service_time().timestamp(), time.monotonic()

    first_asked, first, first_told = asked_at()
    while time.monotonic() < first_told + 0.5:
        second_asked, second, second_told = asked_at()
    rounding = 1  # of the date in a reply, to whole seconds
    assert (second_asked - first_told) * speed - rounding <= second - first
    assert second - first <= (second_told - first_asked) * speed + rounding


def test_another_speed_after_a_restart_never_turns_the_clock_back(emulator, session_at):
    session = session_at(emulator(speed=5000))
    job = session.finished(session.submit(session.ask(1)))
    session.emulator.stop()
    session.emulator.start("--speed", "1")
    session = session.again()
    assert session.client.describe_job(job.job_id) == job
    assert session.client.service_time() >= job.finished_at.replace(microsecond=0)
