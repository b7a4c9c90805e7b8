"""Decide what a shard needs next. Pure: fed what was observed and the time, returns an action.

The states are tested in this order, so that a shard found after any crash has one way forward::

    closed ──────────────────────────────────────────────► Nothing
    loaded ──────────────────────────────────────────────► Clean
    nothing to ask, or a job COMPLETED ──────────────────► Load
    a job CREATED, PENDING, IN_PROGRESS or not understood ► Wait   (two such jobs: CancelYounger first)
    an attempt whose outcome is not known ───────────────► LookAgain, later DeclareLost
    a recorded job that the service does not know ───────► LookAgain, later GiveUp
    every job FAILED or CANCELED, or refused ────────────► Submit the next attempt, or GiveUp
    dataset READY ───────────────────────────────────────► Submit
    claimed ─────────────────────────────────────────────► Prepare
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from vision_batch.service.types import Job, JobStatus

#: How long a submitted job may stay invisible in the service's lists before its absence means anything.
SETTLE = timedelta(seconds=120)


class Outcome(StrEnum):
    """Say how one attempt at the paid call ended."""

    UNKNOWN = "unknown"
    JOB = "job"
    REFUSED = "refused"
    REFUSED_FOR_GOOD = "refused_for_good"
    LOST = "lost"


@dataclass(frozen=True)
class Attempt:
    """Remember that a paid call was about to be made.

    :param number: counts from 1.
    :param known_jobs: job ids of the dataset that were there before; a job not among them is this attempt's.
    :param job_id: the attempt's job, once known.
    :param reason: the service's words, for an attempt that was refused.
    """

    number: int
    made_at: datetime
    known_jobs: frozenset[str]
    outcome: Outcome = Outcome.UNKNOWN
    job_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class PreparedDataset:
    """Name the one dataset of a shard.

    :param dataset_id: ``None`` if nothing is to be asked: every item was rejected, copied or released.
    :param rows_name: the file in the shard's folder that says what became of each item.
    :param folder_id: the service's folder that it is in; ``None`` where a version before did not write that down.
    """

    dataset_id: str | None
    rows_name: str
    requests: int
    folder_id: str | None = None


@dataclass(frozen=True)
class Observed:
    """Hold everything a decision rests on, as read just now."""

    closed: bool = False
    loaded: bool = False
    dataset: PreparedDataset | None = None
    attempts: tuple[Attempt, ...] = ()
    jobs: tuple[Job, ...] = ()
    max_jobs: int = 2
    settle: timedelta = SETTLE
    salvage: bool = False


@dataclass(frozen=True)
class Nothing:
    """Do nothing: the shard is closed."""


@dataclass(frozen=True)
class Clean:
    """Delete the remote datasets and close the shard."""


@dataclass(frozen=True)
class Load:
    """Load the answers of a job, or of no job if nothing had to be asked."""

    job: Job | None


@dataclass(frozen=True)
class CancelYounger:
    """Cancel jobs that only a broken fence can have made, then wait for the one kept."""

    keep: Job
    cancel: tuple[Job, ...]


@dataclass(frozen=True)
class Wait:
    """Wait for a job.

    :param attempt: the attempt whose job this is and does not know it yet, if any.
    """

    job: Job
    attempt: int | None = None


@dataclass(frozen=True)
class LookAgain:
    """Read the service's lists again, not before a time."""

    attempt: int
    not_before: datetime


@dataclass(frozen=True)
class DeclareLost:
    """Record that an attempt made no job."""

    attempt: int


@dataclass(frozen=True)
class Submit:
    """Make the paid call, as attempt ``number``, behind the fence."""

    number: int
    known_jobs: frozenset[str]


@dataclass(frozen=True)
class GiveUp:
    """Settle the shard's requests as failed: no further attempt is allowed, or the dead job has rows to salvage.

    :param cancelled: a person cancelled the job; its items are free to be asked again.
    """

    reason: str
    cancelled: bool
    job: Job | None


@dataclass(frozen=True)
class Prepare:
    """Make the shard's dataset."""


Action = Nothing | Clean | Load | CancelYounger | Wait | LookAgain | DeclareLost | Submit | GiveUp | Prepare

#: google.rpc codes of a failed job that say the request itself is wrong: asking again cannot help.
OUR_FAULT = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "PERMISSION_DENIED", "OUT_OF_RANGE"})


def next_step(seen: Observed, now: datetime) -> Action:
    """Return the one action that brings a shard to its next state."""
    if seen.closed:
        return Nothing()
    if seen.loaded:
        return Clean()
    if seen.dataset is None:
        return Prepare()
    if seen.dataset.dataset_id is None:
        return Load(None)
    return _with_jobs(seen, now)


def _with_jobs(seen: Observed, now: datetime) -> Action:
    jobs = sorted({job.job_id: job for job in seen.jobs}.values(), key=lambda job: (job.created_at, job.job_id))
    done = [job for job in jobs if job.status is JobStatus.COMPLETED]
    alive = [job for job in jobs if not job.status.is_terminal]
    if done:
        return CancelYounger(done[0], tuple(alive)) if alive else Load(done[0])
    if len(alive) > 1:
        return CancelYounger(alive[0], tuple(alive[1:]))
    if alive:
        return Wait(alive[0], _attempt_of(alive[0], seen.attempts))
    for attempt in seen.attempts:
        if attempt.outcome is Outcome.UNKNOWN and not _jobs_of(attempt, seen):
            return _look_again(attempt, seen, now) or DeclareLost(attempt.number)
        if attempt.outcome is Outcome.JOB and attempt.job_id not in {job.job_id for job in jobs}:
            return _look_again(attempt, seen, now) or _gone(attempt)
    return _after_the_dead(seen, jobs)


def _look_again(attempt: Attempt, seen: Observed, now: datetime) -> LookAgain | None:
    """Return when to look for an attempt's job again, or ``None`` if it would have been there by now."""
    given_up_at = attempt.made_at + 2 * seen.settle
    return LookAgain(attempt.number, min(given_up_at, now + seen.settle / 4)) if now < given_up_at else None


def _gone(attempt: Attempt) -> GiveUp:
    """Give up a job that was accepted, and so is paid, and of which nothing is left; it is not made again here."""
    reason = f"the service does not know job {attempt.job_id} any more, nor its result: were they deleted?"
    return GiveUp(reason, cancelled=False, job=None)


def _after_the_dead(seen: Observed, jobs: Sequence[Job]) -> Action:
    last = jobs[-1] if jobs else None
    if last is not None and last.status is JobStatus.CANCELED:
        return GiveUp("the job was cancelled", cancelled=True, job=last)
    for attempt in seen.attempts:
        if attempt.outcome is Outcome.REFUSED_FOR_GOOD:
            return GiveUp(attempt.reason or "the service refused the job", cancelled=False, job=last)
    if last is not None and _is_over(last, len(jobs), seen):
        return GiveUp(last.error or "the job failed and the service gave no reason", cancelled=False, job=last)
    number = max((attempt.number for attempt in seen.attempts), default=0) + 1
    return Submit(number, frozenset(job.job_id for job in jobs))


def _is_over(last: Job, jobs: int, seen: Observed) -> bool:
    """Tell whether a failed job is the shard's last one."""
    salvageable = seen.salvage and last.result_dataset_id is not None
    return salvageable or jobs >= seen.max_jobs or error_code(last) in OUR_FAULT


def error_code(job: Job) -> str:
    """Return the google.rpc code name that a failed job's error starts with, or an empty string."""
    return (job.error or "").partition(":")[0].strip()


def _attempt_of(job: Job, attempts: Sequence[Attempt]) -> int | None:
    for attempt in attempts:
        if attempt.outcome is Outcome.UNKNOWN and job.job_id not in attempt.known_jobs:
            return attempt.number
    return None


def _jobs_of(attempt: Attempt, seen: Observed) -> list[Job]:
    others = {other.job_id for other in seen.attempts if other.number != attempt.number}
    return [job for job in seen.jobs if job.job_id not in attempt.known_jobs | others]
