"""The clock that stands, goes on and leaps when told, and jobs that wait to be let go."""

import signal
from datetime import timedelta

import httpx
import pytest

from vision_batch.errors import QuotaExceededError
from vision_batch.service.types import DatasetStatus, JobStatus


@pytest.fixture
def running(emulator):
    return emulator(speed=20_000)


@pytest.fixture
def session(running, session_at):
    return session_at(running)


def time_of(emulator):
    return httpx.get(f"{emulator.http}/_emulator/health", trust_env=False).json()["time"]


def test_a_frozen_clock_stands_until_it_is_resumed(running, session, eventually):
    running.freeze()
    frozen_at = time_of(running)
    dataset = session.draft(b"{}\n")
    operation = session.client.validate(dataset.dataset_id)
    assert not session.client.validation(operation).done
    assert time_of(running) == frozen_at
    running.resume()
    assert eventually(lambda: session.client.validation(operation).done)
    assert time_of(running) > frozen_at


def test_a_job_passes_through_its_states_as_time_is_given_to_it(running, session):
    asked = session.ask(2)
    running.freeze()
    job_id = session.submit(asked)
    created = session.client.describe_job(job_id)
    seen = []
    for seconds in (0, 7.4, 0.1, 61.2, 0.1, 169.4, 0.2, 19.8, 0.1):
        running.advance(seconds)
        job = session.client.describe_job(job_id)
        result = job.result_dataset_id and session.client.describe_dataset(job.result_dataset_id).status
        seen.append((job.status.name, result and result.name))
    assert seen == [
        ("CREATED", None),
        ("CREATED", None),
        ("PENDING", "DRAFT"),
        ("PENDING", "DRAFT"),
        ("IN_PROGRESS", "DRAFT"),
        ("IN_PROGRESS", "DRAFT"),
        ("IN_PROGRESS", "READY"),
        ("IN_PROGRESS", "READY"),
        ("COMPLETED", "READY"),
    ]
    assert job.finished_at - created.created_at == pytest.approx(timedelta(seconds=258.3), abs=timedelta(seconds=0.01))
    assert session.joined(asked, job).responses == asked.answers


def test_what_is_being_worked_on_is_done_before_time_leaps(running, session):
    running.freeze()
    dataset = session.draft([b'{"request": [{"role": "user", "text": "Q"}]}\n'] * 20_000)
    operation = session.client.validate(dataset.dataset_id)
    running.advance(136)
    assert session.client.validation(operation).done
    assert session.client.describe_dataset(dataset.dataset_id).status is DatasetStatus.INVALID  # it is no image


def test_a_clock_that_goes_can_leap_too(running, session):
    before = session.submit(session.ask(1))
    running.advance(30 * 86_400)
    job = session.client.describe_job(before)
    assert job.status is JobStatus.COMPLETED
    assert session.client.service_time() - job.created_at >= timedelta(days=30)


def test_quotas_get_free_as_time_is_given(emulator, session_at):
    session = session_at(emulator("--quota", "jobs_per_hour=1", speed=20_000))
    asked = session.ask(1)
    session.emulator.freeze()
    session.submit(asked)
    session.emulator.advance(3599)
    with pytest.raises(QuotaExceededError):
        session.submit(asked)
    session.emulator.advance(1)
    session.submit(asked)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_neither_thaws_the_clock_nor_turns_it_back(running, session, number):
    job_id = session.submit(session.ask(1))
    running.freeze()
    running.advance(86_400)
    before, shown = time_of(running), session.client.describe_job(job_id)
    for _ in range(2):
        running.stop(number)
        running.start("--speed", "1")
        assert time_of(running) == before
    assert session.again().client.describe_job(job_id) == shown
    running.resume()
    assert time_of(running) >= before
    running.advance(86_400)
    later = time_of(running)
    running.stop(number)
    running.start()
    assert time_of(running) >= later


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Expecting property name"),
        (b"[]", 'found []; write {"frozen": true or false}, {"advance": seconds}, or both'),
        (b"{}", 'found {}; write {"frozen": true or false}'),
        (b'{"speed": 2}', "found {'speed': 2}; write"),
        (b'{"frozen": 1}', "frozen is 1; write true or false"),
        (b'{"advance": -1}', "advance is -1; write seconds from 0 to 315360000"),
        (b'{"advance": true}', "advance is True; write seconds"),
        (b'{"advance": NaN}', "advance is nan; write seconds"),
        (b'{"advance": 1e300}', "advance is 1e+300; write seconds"),
    ],
)
def test_a_change_that_cannot_be_understood(fast_emulator, body, message):
    answer = httpx.post(f"{fast_emulator.http}/_emulator/clock", content=body, trust_env=False)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize("status", ["CREATED", "PENDING", "IN_PROGRESS"])
def test_a_held_job_stays_in_its_state_for_any_time_and_over_a_restart(running, session, status):
    asked = session.ask(3)
    running.freeze()
    with running.holding(status):
        job_id = session.submit(asked)
        running.advance(30 * 86_400)
        held = session.client.describe_job(job_id)
        assert held.status.name == status
        running.stop(signal.SIGKILL)
        running.start()
        session = session.again()
        assert session.client.describe_job(job_id) == held
    assert session.client.describe_job(job_id).status.name == {"CREATED": "PENDING", "PENDING": "IN_PROGRESS"}.get(
        status, status
    )
    running.advance(258.3)
    job = session.client.describe_job(job_id)
    assert job.status is JobStatus.COMPLETED
    assert job.finished_at - job.created_at >= timedelta(days=30)
    assert held.started_at in {None, job.started_at}
    result = session.client.describe_dataset(job.result_dataset_id)
    assert job.created_at <= result.created_at <= result.updated_at <= job.finished_at
    assert session.joined(asked, job).responses == asked.answers


def test_a_job_that_is_released_before_its_time_has_lost_none(running, session):
    asked = session.ask(1)
    running.freeze()
    with running.holding():
        job_id = session.submit(asked)
    running.advance(258.3)
    job = session.client.describe_job(job_id)
    assert (job.started_at - job.created_at).total_seconds() == pytest.approx(68.8, abs=0.01)
    assert (job.finished_at - job.created_at).total_seconds() == pytest.approx(258.3, abs=0.01)


def test_a_held_job_can_be_cancelled_and_stays_so(running, session):
    asked = session.ask(1)
    running.freeze()
    with running.holding("PENDING"):
        job_id = session.submit(asked)
        running.advance(100)
        session.client.cancel_job(job_id)
        running.advance(2)
        canceled = session.client.describe_job(job_id)
        assert (canceled.status, canceled.started_at) == (JobStatus.CANCELED, None)
    running.advance(1000)
    assert session.client.describe_job(job_id) == canceled


def test_a_job_that_fails_early_can_be_held_and_fails_then(running, session):
    asked = session.ask(1)
    running.freeze()
    running.scenario("failed_without_reason")
    with running.holding():
        job_id = session.submit(asked)
        running.advance(3600)
        assert session.client.describe_job(job_id).status is JobStatus.CREATED
    job = session.client.describe_job(job_id)
    assert (job.status, job.result_dataset_id) == (JobStatus.FAILED, None)
