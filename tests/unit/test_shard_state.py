"""Every state of a shard, in the order in which they are tested, and what comes next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vision_batch.service.types import Job, JobStatus
from vision_batch.shards.state import (
    Attempt,
    CancelYounger,
    Clean,
    DeclareLost,
    GiveUp,
    Load,
    LookAgain,
    Nothing,
    Observed,
    Outcome,
    Prepare,
    PreparedDataset,
    Submit,
    Wait,
    next_step,
)

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
READY = Observed(dataset=PreparedDataset("fds1", "rows-fds1.parquet", 3))


def job(job_id: str, status: JobStatus, *, minutes_ago: float = 5, error: str | None = None) -> Job:
    return Job(
        job_id=job_id,
        operation_id=f"op-{job_id}",
        model_uri="gpt://f/gemma-3-12b-it/latest",
        source_dataset_id="fds1",
        result_dataset_id="fds2" if status is JobStatus.COMPLETED else None,
        status=status,
        created_at=NOW - timedelta(minutes=minutes_ago),
        started_at=None,
        finished_at=None,
        error=error,
        line_errors=(),
        batch_errors=(),
    )


def attempt(number: int = 1, *, seconds_ago: float = 10, outcome=Outcome.UNKNOWN, job_id=None, known=()) -> Attempt:
    return Attempt(number, NOW - timedelta(seconds=seconds_ago), frozenset(known), outcome, job_id)


def test_a_claimed_shard_is_prepared():
    assert next_step(Observed(), NOW) == Prepare()


def test_a_closed_shard_needs_nothing_whatever_else_is_seen():
    assert next_step(replace(READY, closed=True, loaded=True, jobs=(job("a", JobStatus.PENDING),)), NOW) == Nothing()


def test_a_loaded_shard_is_cleaned_even_while_a_job_runs():
    assert next_step(replace(READY, loaded=True, jobs=(job("a", JobStatus.IN_PROGRESS),)), NOW) == Clean()


def test_nothing_to_ask_is_loaded_without_a_job():
    assert next_step(Observed(dataset=PreparedDataset(None, "rows-x.parquet", 0)), NOW) == Load(None)


def test_one_job_seen_twice_is_no_second_one():
    running, dead = job("a", JobStatus.IN_PROGRESS), job("a", JobStatus.FAILED)
    assert next_step(replace(READY, jobs=(running, running)), NOW) == Wait(running)
    assert next_step(replace(READY, jobs=(dead, dead)), NOW) == Submit(1, frozenset({"a"}))


def test_a_ready_dataset_is_submitted_as_the_first_attempt():
    assert next_step(READY, NOW) == Submit(1, frozenset())


@pytest.mark.parametrize("status", [JobStatus.CREATED, JobStatus.PENDING, JobStatus.IN_PROGRESS, JobStatus.UNKNOWN])
def test_a_job_that_may_still_run_is_awaited(status):
    alive = job("a", status)
    assert next_step(replace(READY, jobs=(alive,), attempts=(attempt(outcome=Outcome.JOB, job_id="a"),)), NOW) == Wait(
        alive
    )


def test_a_job_nobody_recorded_belongs_to_the_attempt_that_did_not_know_it():
    alive = job("b", JobStatus.CREATED)
    dead = job("a", JobStatus.FAILED, minutes_ago=30)
    seen = replace(
        READY,
        jobs=(dead, alive),
        attempts=(attempt(1, outcome=Outcome.JOB, job_id="a"), attempt(2, known=("a",))),
    )
    assert next_step(seen, NOW) == Wait(alive, attempt=2)


def test_an_attempt_without_a_job_is_looked_at_again_until_settle_has_passed_twice():
    young = replace(READY, attempts=(attempt(seconds_ago=10),))
    assert next_step(young, NOW) == LookAgain(1, NOW + timedelta(seconds=30))
    late = replace(READY, attempts=(attempt(seconds_ago=235),))
    assert next_step(late, NOW) == LookAgain(1, NOW + timedelta(seconds=5))
    over = replace(READY, attempts=(attempt(seconds_ago=241),))
    assert next_step(over, NOW) == DeclareLost(1)


def test_a_lost_or_refused_attempt_is_followed_by_the_next():
    for outcome in (Outcome.LOST, Outcome.REFUSED):
        assert next_step(replace(READY, attempts=(attempt(outcome=outcome),)), NOW) == Submit(2, frozenset())


def test_a_job_that_shows_up_after_its_attempt_was_declared_lost_is_still_awaited():
    late = job("a", JobStatus.PENDING)
    assert next_step(replace(READY, jobs=(late,), attempts=(attempt(outcome=Outcome.LOST),)), NOW) == Wait(late)


def test_a_completed_job_is_loaded():
    done = job("a", JobStatus.COMPLETED)
    assert next_step(replace(READY, jobs=(done,)), NOW) == Load(done)


def test_of_two_jobs_the_older_is_kept():
    older, younger = job("b", JobStatus.PENDING, minutes_ago=5), job("a", JobStatus.PENDING, minutes_ago=4)
    assert next_step(replace(READY, jobs=(younger, older)), NOW) == CancelYounger(older, (younger,))
    done = replace(older, status=JobStatus.COMPLETED)
    assert next_step(replace(READY, jobs=(younger, done)), NOW) == CancelYounger(done, (younger,))


def test_a_failed_job_is_followed_by_another_attempt_as_long_as_they_last():
    dead = job("a", JobStatus.FAILED)
    recorded = attempt(outcome=Outcome.JOB, job_id="a")
    assert next_step(replace(READY, jobs=(dead,), attempts=(recorded,)), NOW) == Submit(2, frozenset({"a"}))
    both = (dead, job("b", JobStatus.FAILED, minutes_ago=1, error="INTERNAL: boom"))
    action = next_step(replace(READY, jobs=both, attempts=(recorded, attempt(2, outcome=Outcome.JOB, job_id="b"))), NOW)
    assert action == GiveUp("INTERNAL: boom", cancelled=False, job=both[1])


def test_a_job_that_failed_through_our_fault_is_not_tried_again():
    dead = job("a", JobStatus.FAILED, error="INVALID_ARGUMENT: no such model")
    action = next_step(replace(READY, jobs=(dead,), attempts=(attempt(outcome=Outcome.JOB, job_id="a"),)), NOW)
    assert action == GiveUp("INVALID_ARGUMENT: no such model", cancelled=False, job=dead)


def test_a_cancelled_job_frees_its_items():
    dead = job("a", JobStatus.CANCELED)
    action = next_step(replace(READY, jobs=(dead,), attempts=(attempt(outcome=Outcome.JOB, job_id="a"),)), NOW)
    assert action == GiveUp("the job was cancelled", cancelled=True, job=dead)


def test_a_job_refused_for_good_is_given_up():
    refused = replace(attempt(outcome=Outcome.REFUSED_FOR_GOOD), reason="no")
    assert next_step(replace(READY, attempts=(refused,)), NOW) == GiveUp("no", cancelled=False, job=None)


def test_no_attempt_is_made_while_another_is_unresolved_beside_a_dead_job():
    seen = replace(
        READY,
        jobs=(job("a", JobStatus.FAILED),),
        attempts=(attempt(1, outcome=Outcome.JOB, job_id="a"), attempt(2, known=("a",))),
    )
    assert isinstance(next_step(seen, NOW), LookAgain)
