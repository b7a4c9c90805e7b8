"""Every fault the emulator can show, through our client and the join: what is answered, what is raised, what is billed."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from vision_batch.emulator.scenarios import KINDS
from vision_batch.errors import (
    FinalError,
    NotFoundError,
    QuotaExceededError,
    RequestRefusedError,
    ServiceUnavailableError,
    SubmitUnknownError,
    UrlExpiredError,
)
from vision_batch.service.rows import request_line
from vision_batch.service.types import BatchError, DatasetStatus, JobStatus, LineError, RowError

ROWS = 6
#: How long the client waits for a reply; one that hangs takes all of it.
TIMEOUT_SECONDS = {"refuse": 60, "hang": 4}
ALL = frozenset(range(ROWS))
A_YEAR = 365 * 86_400


@dataclass(frozen=True)
class Shown:
    """What a scenario of the result does to six rows."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    missing: frozenset[int] = frozenset()
    empty: dict[int, str | None] = field(default_factory=dict)
    duplicates: int = 0
    foreign: int = 0
    line_errors: tuple[LineError, ...] = ()
    batch_errors: tuple[BatchError, ...] = ()

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.params.values())])


def broken(*lines: int, message: str = "The model could not process the line") -> tuple[LineError, ...]:
    return tuple(LineError(line, message) for line in lines)


RESULTS = [
    Shown("shuffled_rows", {"seed": 3}),
    Shown("several_files", {"files": 4}),
    Shown("missing_rows", {"rows": [1, 4]}, missing=frozenset({1, 4})),
    Shown("duplicated_rows", {"rows": [0, 5]}, duplicates=2),
    Shown("foreign_rows", {"count": 2}, foreign=2),
    Shown("null_response", {"rows": [2]}, empty={2: None}),
    Shown("image_reencoded"),
    Shown("image_left_out"),
    Shown("image_left_out", {"part": "removed", "rows": [1]}),
    Shown("line_errors", {"rows": [0, 3]}, missing=frozenset({0, 3}), line_errors=broken(1, 4)),
    Shown("line_errors", {"rows": [3], "base": 0, "present": "null"}, empty={3: None}, line_errors=broken(3)),
    Shown(
        "line_errors",
        {"rows": [3], "present": "empty", "message": "no"},
        empty={3: ""},
        line_errors=broken(4, message="no"),
    ),
    Shown(
        "batch_errors",
        {"first": 1, "last": 3},
        missing=frozenset({1, 2, 3}),
        batch_errors=(BatchError(1, 2, 4, "The batch could not be processed"),),
    ),
]


@pytest.mark.parametrize("marker", [True, False], ids=["marker", "text"])
@pytest.mark.parametrize("shown", RESULTS, ids=str)
def test_result(session, shown, marker):
    asked = session.ask(ROWS, marker=marker)
    session.emulator.scenario(shown.name, **shown.params)
    job = session.finished(session.submit(asked))
    joined = session.joined(asked, job)
    assert (job.status, job.error) == (JobStatus.COMPLETED, None)
    assert (job.line_errors, job.batch_errors) == (shown.line_errors, shown.batch_errors)
    assert joined.missing == shown.missing
    assert joined.responses == asked.answers_of(ALL - shown.missing) | shown.empty
    assert (joined.duplicates, joined.foreign) == (shown.duplicates, shown.foreign)
    [billed] = session.bill_of(asked)
    assert (billed["task_id"], billed["rows"], billed["billed_tokens"]) == (job.job_id, ROWS, 200_000)


def test_shuffled_rows_really_are_and_several_files_too(session):
    asked = session.ask(ROWS)
    session.emulator.scenario("shuffled_rows", seed=1)
    session.emulator.scenario("several_files", files=11)
    job = session.finished(session.submit(asked))
    rows = session.rows(job.result_dataset_id)
    assert [row.response for row in rows] != list(asked.answers.values())
    assert {row.response for row in rows} == set(asked.answers.values())
    keys = [file.key for file in session.client.result_files(job.result_dataset_id)]
    assert keys == [f"{number}.parquet" for number in range(1, 12)]


@pytest.mark.parametrize("name", ["image_reencoded", "image_left_out"])
def test_images_that_changed_cannot_be_joined_by_the_whole_request(session, name):
    """What `marker: false` with one text for all is warned about: nothing is mixed up, the rows are foreign."""
    asked = session.ask(ROWS, marker=False, same_text=True)
    session.emulator.scenario(name, rows=[0, 2])
    joined = session.joined(asked, session.finished(session.submit(asked)), with_images=True)
    assert joined.responses == asked.answers_of(ALL - {0, 2})
    assert (joined.foreign, joined.missing) == (2, {0, 2})


def test_bad_line_fails_job(session):
    asked = session.ask(ROWS)
    session.emulator.scenario("bad_line_fails_job", rows=[2], message="bad")
    job = session.finished(session.submit(asked))
    assert (job.status, job.result_dataset_id) == (JobStatus.FAILED, None)
    assert job.error == "INVALID_ARGUMENT: The task failed because of invalid lines"
    assert job.line_errors == (LineError(3, "bad"),)
    assert len(session.bill_of(asked)) == 1


def test_failed_with_result(session):
    asked = session.ask(ROWS)
    session.emulator.scenario("failed_with_result", rows=4)
    job = session.finished(session.submit(asked))
    assert (job.status, job.error, job.line_errors) == (JobStatus.FAILED, None, ())
    assert job.started_at is not None
    joined = session.joined(asked, job)
    assert (joined.responses, joined.missing) == (asked.answers_of(range(4)), {4, 5})


def test_failed_without_reason(session):
    asked = session.ask(1)
    session.emulator.scenario("failed_without_reason")
    job = session.finished(session.submit(asked))
    assert (job.status, job.error, job.result_dataset_id, job.started_at) == (JobStatus.FAILED, None, None, None)


def test_canceled(session):
    asked = session.ask(1)
    session.emulator.scenario("canceled")
    job = session.finished(session.submit(asked))
    assert (job.status, job.result_dataset_id, job.started_at) == (JobStatus.CANCELED, None, None)
    assert (job.finished_at - job.created_at).total_seconds() == pytest.approx(6, abs=0.01)


def test_hold_job(session, eventually):
    asked = session.ask(2)
    with session.emulator.holding("IN_PROGRESS"):
        job_id = session.submit(asked)
        eventually(lambda: session.client.describe_job(job_id).status is JobStatus.IN_PROGRESS)
        session.emulator.advance(86_400)
        assert session.client.describe_job(job_id).status is JobStatus.IN_PROGRESS
    assert session.joined(asked, session.finished(job_id)).responses == asked.answers


def test_late_visibility(session):
    asked = session.ask(1)
    session.emulator.freeze()
    session.emulator.scenario("late_visibility", seconds=10_000)
    job_id = session.submit(asked)
    session.emulator.advance(9_999)
    assert session.client.list_jobs() == []
    assert session.client.describe_job(job_id).job_id == job_id
    session.emulator.advance(1)
    assert [job.job_id for job in session.client.list_jobs()] == [job_id]


@pytest.mark.parametrize("status", ["CREATED", "PENDING"])
def test_cancel_refused_before_in_progress(session, eventually, status):
    asked = session.ask(1)
    session.emulator.scenario("cancel_refused_before_in_progress", times=None)
    with session.emulator.holding(status):
        early = session.submit(asked)
        eventually(lambda: session.client.describe_job(early).status.name == status)
        with pytest.raises(RequestRefusedError, match=f"is {status}: only IN_PROGRESS can be canceled"):
            session.client.cancel_job(early)
    with session.emulator.holding("IN_PROGRESS"):
        job_id = session.submit(asked)
        eventually(lambda: session.client.describe_job(job_id).status is JobStatus.IN_PROGRESS)
        session.client.cancel_job(job_id)
        job = session.finished(job_id)
    assert (job.status, job.result_dataset_id) == (JobStatus.CANCELED, None)
    with pytest.raises(RequestRefusedError, match="is CANCELED already"):
        session.client.cancel_job(job_id)


def test_validation_failure(session):
    asked = session.ask(2)
    session.emulator.scenario("validation_failure", rows=[2], error="BadRow", description="as asked")
    dataset = session.draft(asked.lines)
    found = session.validated(dataset.dataset_id)
    assert (found.done, found.is_valid, found.operation_error) == (True, False, None)
    assert found.errors == (RowError("BadRow", "as asked", (2,)),)
    assert (found.valid_rows, found.total_rows) == (1, 2)
    described = session.client.describe_dataset(dataset.dataset_id)
    assert (described.status, described.errors) == (DatasetStatus.INVALID, found.errors)
    with pytest.raises(RequestRefusedError, match="is INVALID, not READY"):
        session.submit(dataset.dataset_id)


@pytest.mark.parametrize("code", ["INTERNAL", "UNAVAILABLE"])
def test_validation_breaks(session, code):
    asked = session.ask(1)
    session.emulator.scenario("validation_breaks", code=code, message="try again later")
    dataset = session.draft(asked.lines)
    found = session.validated(dataset.dataset_id)
    assert (found.done, found.is_valid, found.is_refused, found.errors) == (True, False, False, ())
    assert found.operation_error == f"{code}: try again later"
    assert session.client.describe_dataset(dataset.dataset_id).status is DatasetStatus.INVALID


@pytest.mark.parametrize("part", ["name", "dataset", "files"])
def test_late_result(session, part):
    asked = session.ask(2)
    session.emulator.scenario("late_result", part=part, seconds=A_YEAR)
    job = session.finished(session.submit(asked))
    [billed] = session.bill_of(asked)
    assert (job.status, billed["status"]) == (JobStatus.COMPLETED, "COMPLETED")
    listed = [each.dataset_id for each in session.client.list_datasets() if each.name.startswith("Batch")]
    assert (job.result_dataset_id is None, len(listed)) == (part != "files", part != "dataset")
    if listed:
        assert bool(session.client.result_files(listed[0])) == (part == "name")
    session.emulator.advance(A_YEAR)
    assert session.joined(asked, session.client.describe_job(job.job_id)).responses == asked.answers


def test_overlapping_pages(session):
    asked = session.ask(1)
    jobs = [session.submit(asked) for _ in range(3)]
    session.emulator.scenario("overlapping_pages", times=None)
    assert [job.job_id for job in session.client.list_jobs()] == jobs
    datasets = session.client.list_datasets(name_pattern="data")
    assert [dataset.dataset_id for dataset in datasets] == [asked.dataset_id]
    session.emulator.clear("overlapping_pages")
    assert [job.job_id for job in session.client.list_jobs()] == jobs


def calls(session, method):
    return sum(call["call"].endswith(method) for call in session.emulator.refused())


def test_unavailable_before_submit(session):
    asked = session.ask(1)
    session.emulator.scenario("unavailable_before_submit")
    before = calls(session, "/Completion")
    with pytest.raises(SubmitUnknownError, match="do not send it again"):
        session.submit(asked)
    assert (session.bill_of(asked), session.client.list_jobs()) == ([], [])
    assert calls(session, "/Completion") == before + 1


def test_resource_exhausted(session):
    asked = session.ask(1)
    session.emulator.scenario("resource_exhausted")
    with pytest.raises(QuotaExceededError, match="Wait for the quota"):
        session.submit(asked)
    assert session.bill_of(asked) == []
    session.emulator.scenario("resource_exhausted", times=2, method="DatasetService/Describe")
    assert session.client.describe_dataset(asked.dataset_id).status is DatasetStatus.READY


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"])
def test_failed_call_of_a_read_is_repeated(session, code):
    session.emulator.scenario("failed_call", times=4, method="BatchInferenceService/List", code=code)
    before = calls(session, "BatchInferenceService/List")
    assert session.client.list_jobs() == []
    assert calls(session, "BatchInferenceService/List") == before + 4


@pytest.mark.parametrize(
    ("code", "times", "error"),
    [("UNAVAILABLE", 5, ServiceUnavailableError), ("INTERNAL", 1, ServiceUnavailableError), ("ABORTED", 1, FinalError)],
)
def test_failed_call_that_stays_so(session, code, times, error):
    session.emulator.scenario(
        "failed_call", times=times, method="BatchInferenceService/List", code=code, message="as asked"
    )
    with pytest.raises(error, match="as asked"):
        session.client.list_jobs()
    assert session.client.list_jobs() == []


def test_hold_call(session, eventually):
    session.emulator.scenario("hold_call", times=2, method="DatasetService/Create")
    with ThreadPoolExecutor(2) as pool:
        creating = [pool.submit(session.draft, b"{}") for _ in range(2)]
        eventually(lambda: session.emulator.hanging("hold_call") == 2)
        assert session.client.list_datasets() == []
        session.emulator.clear("hold_call")
        made = {each.result().dataset_id for each in creating}
    assert {dataset.dataset_id for dataset in session.client.list_datasets()} == made
    assert session.emulator.hanging("hold_call") == 0


def test_failed_call_that_hangs_until_it_is_let_go(session, eventually):
    before = calls(session, "DatasetService/Create")
    session.emulator.scenario("failed_call", how="hang", method="DatasetService/Create", code="NOT_FOUND")
    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(session.draft, b"{}")
        eventually(lambda: session.emulator.hanging("failed_call"))
        assert session.client.list_datasets() == []
        assert not creating.done()
        session.emulator.clear("failed_call")
        with pytest.raises(NotFoundError):
            creating.result()
    assert calls(session, "DatasetService/Create") == before + 1


def test_reply_lost_that_hangs_can_be_let_go(session, eventually):
    asked = session.ask(1)
    session.emulator.scenario("reply_lost", how="hang")
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(session.submit, asked)
        eventually(lambda: session.bill_of(asked))
        assert not submitting.done()
        session.emulator.clear("reply_lost")
        with pytest.raises(SubmitUnknownError, match="UNAVAILABLE"):
            submitting.result()


def test_failed_call_of_a_change_is_not_repeated(session):
    session.emulator.scenario("failed_call", method="DatasetService/Create")
    with pytest.raises(ServiceUnavailableError):
        session.draft(b"{}")
    assert session.client.list_datasets() == []


@pytest.mark.parametrize("how", ["refuse", "hang"])
def test_reply_lost(session, how):
    asked = session.ask(2)
    session.emulator.scenario("reply_lost", how=how)
    with pytest.raises(SubmitUnknownError, match="A job may have been made"):
        session.submit(asked, timeout_seconds=TIMEOUT_SECONDS[how])
    [billed] = session.bill_of(asked)
    [job] = session.client.list_jobs()
    assert (job.job_id, job.source_dataset_id) == (billed["task_id"], asked.dataset_id)
    assert session.joined(asked, session.finished(job.job_id)).responses == asked.answers


def test_reply_lost_because_the_service_died(emulator, session_at):
    session = session_at(emulator(speed=20_000))
    asked = session.ask(2)
    session.emulator.scenario("reply_lost", how="die")
    with pytest.raises(SubmitUnknownError, match="A job may have been made"):
        session.submit(asked)
    assert session.emulator.process.wait() == 137
    session.emulator.stop()
    session.emulator.start()
    session = session.again()
    [job] = session.client.list_jobs()
    assert session.joined(asked, session.finished(job.job_id)).responses == asked.answers
    assert [billed["task_id"] for billed in session.bill_of(asked)] == [job.job_id]


def test_a_lost_submit_that_is_repeated_by_hand_is_paid_twice(session):
    """The danger itself: the service does not ask whether the same job is there already."""
    asked = session.ask(1)
    session.emulator.scenario("reply_lost")
    with pytest.raises(SubmitUnknownError):
        session.submit(asked)
    second = session.submit(asked)
    twins = session.bill_of(asked)
    assert [job["billed_tokens"] for job in twins] == [200_000, 200_000]
    assert twins[0]["requests"] == twins[1]["requests"]
    assert twins[1]["task_id"] == second


def test_expired_url_of_an_upload(session):
    session.emulator.scenario("expired_url", on="upload")
    asked = session.ask(2)
    assert session.client.describe_dataset(asked.dataset_id).rows == 2
    session.emulator.scenario("expired_url", times=3, on="upload")
    with pytest.raises(UrlExpiredError, match="403 AccessDenied"):
        session.draft(asked.lines)


def test_expired_url_of_a_download(session):
    asked = session.ask(2)
    job = session.finished(session.submit(asked))
    session.emulator.scenario("expired_url", times=2, on="download")
    assert session.joined(asked, job).responses == asked.answers
    session.emulator.scenario("expired_url", times=4, on="download")
    with pytest.raises(UrlExpiredError, match="403 AccessDenied"):
        session.rows(job.result_dataset_id)


@pytest.mark.parametrize("part", [1, 2])
def test_part_http_500(session, part):
    session.emulator.scenario("part_http_500", part=part)
    lines = [request_line("x" * 1_000_000, b"image") for _ in range(11)]
    dataset = session.draft(lines, part_bytes=6 * 1024**2)
    assert session.validated(dataset.dataset_id).total_rows == 11


def test_upload_hangs_until_the_scenario_is_cleared(session):
    lines = [request_line("x" * 1_000_000, b"image") for _ in range(11)]
    for size, stored in ((6 * 1024**2, 1), (10**9, 0)):
        session.emulator.scenario("upload_hangs", stored=stored)
        with ThreadPoolExecutor(1) as pool:
            uploading = pool.submit(session.draft, lines, part_bytes=size)
            while not session.emulator.hanging("upload_hangs"):
                assert not uploading.done()
                time.sleep(0.02)
            session.emulator.clear("upload_hangs")
            dataset = uploading.result(60)
        assert session.validated(dataset.dataset_id).total_rows == 11


@pytest.mark.parametrize(("times", "params"), [(1, {"bytes": 0}), (3, {"bytes": 100}), (3, {})], ids=str)
def test_download_cut(session, times, params):
    asked = session.ask(ROWS)
    job = session.finished(session.submit(asked))
    session.emulator.scenario("download_cut", times=times, **params)
    assert session.joined(asked, job).responses == asked.answers


def test_every_scenario_is_tried_here():
    tests = [name.removeprefix("test_") for name in globals() if name.startswith("test_")] + [
        each.name for each in RESULTS
    ]
    assert [name for name in KINDS if not any(test.startswith(name) for test in tests)] == []
