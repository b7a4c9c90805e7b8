"""Tell what state a dataset, a validation or a job is in at a moment. Pure.

The durations are those of the recordings: ``batch_text_run`` for the validation and the job, the list of 28 jobs that
service-contract 2.6 describes for the failures. Nothing happens before the work behind it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from vision_batch.emulator.records import Alive, Dataset, Job, ResultPart, RowFault, Schedule

#: 12:54:57 to 12:54:58, 12:56:07 and 12:57:13: noticed, rows counted (and the dataset READY), done.
NOTICED_SECONDS = 1.0
COUNTED_SECONDS = 70.0
VALIDATED_SECONDS = 136.0
#: 12:57:58.6 to 12:58:06, 12:59:07.4 and 13:02:16.9; the result dataset was READY 20 s before the end.
PENDING_SECONDS = 7.5
STARTED_SECONDS = 68.8
RUN_SECONDS = 189.5
LAST_SECONDS = 20.0
#: An unsupported model fails in 2 to 6 s, a broken one after 9 minutes, a cancelled job ended after 6 s.
UNSUPPORTED_SECONDS = 4.0
BROKEN_SECONDS = 540.0
CANCELED_SECONDS = 6.0
#: How long a cancelled job needs to stop; not recorded.
STOP_SECONDS = 2.0
#: How long after its end a job's result may stay unseen where it is asked for; not recorded.
LATE_RESULT_SECONDS = 120.0
#: The states of a job that is alive, in their order, and the moments that end each of them; the last is the end itself.
_ORDER = get_args(Alive)
_MOMENTS = ("pending_at", "started_at", "settled_at", "finished_at")


@dataclass(frozen=True)
class ValidationView:
    """Show a validation operation."""

    modified_at: float
    counted: bool
    done: bool
    valid: bool


@dataclass(frozen=True)
class DatasetView:
    """Show a dataset: ``rows`` and ``size_bytes`` are 0 where the service leaves them out."""

    status: str
    updated_at: float
    rows: int = 0
    size_bytes: int = 0
    faults: tuple[RowFault, ...] = ()


@dataclass(frozen=True)
class JobView:
    """Show a job."""

    status: str
    result_dataset_id: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    settled: bool = False

    @property
    def over(self) -> bool:
        """Tell whether the job has ended, in whatever way."""
        return self.status in {"COMPLETED", "FAILED", "CANCELED"}


def ordinary_schedule(created_at: float) -> Schedule:
    """Return the course of a job that comes to a good end."""
    started = created_at + STARTED_SECONDS
    finished = started + RUN_SECONDS
    return Schedule(
        outcome="COMPLETED",
        pending_at=created_at + PENDING_SECONDS,
        started_at=started,
        settled_at=finished - LAST_SECONDS,
        finished_at=finished,
    )


def validation_view(dataset: Dataset, now: float) -> ValidationView:
    """Show the validation of a dataset that has one."""
    validation = dataset.validation
    assert validation is not None, dataset.dataset_id  # noqa: S101 - callers look first
    started, work = validation.started_at, validation.work
    counted_at, done_at = started + COUNTED_SECONDS, started + VALIDATED_SECONDS
    if work is not None:
        counted_at = max(counted_at, work.done_at)
        done_at = max(done_at, work.done_at)
    valid = work is not None and not work.faults and work.breakdown is None
    if work is None or now < counted_at:
        noticed = started + NOTICED_SECONDS
        return ValidationView(noticed if now >= noticed else started, counted=False, done=False, valid=False)
    if now < done_at:
        return ValidationView(counted_at, counted=True, done=False, valid=valid)
    return ValidationView(done_at, counted=True, done=True, valid=valid)


def dataset_view(dataset: Dataset, writer: Job | None, now: float) -> DatasetView:
    """Show a dataset.

    :param writer: the job whose result it is, if any.
    """
    if writer is not None:
        return _result_view(dataset, writer, now)
    validation = dataset.validation
    if validation is None:
        return DatasetView("DRAFT", dataset.updated_at)
    shown = validation_view(dataset, now)
    if not shown.counted or validation.work is None:
        return DatasetView("VALIDATING", max(dataset.updated_at, validation.started_at))
    work = validation.work
    changed = max(validation.started_at + COUNTED_SECONDS, work.done_at, dataset.updated_at)
    if not shown.valid:
        return DatasetView("INVALID", changed, faults=tuple(work.faults))
    return DatasetView("READY", changed, rows=work.total_rows, size_bytes=work.parquet_bytes)


def _result_view(dataset: Dataset, writer: Job, now: float) -> DatasetView:
    ready_at = settled_at(writer)
    if ready_at is None or now < ready_at:
        return DatasetView("DRAFT", dataset.updated_at)
    size = sum(file.size_bytes for file in dataset.files)
    return DatasetView("READY", max(ready_at, dataset.updated_at), size_bytes=size)


def settled_at(job: Job) -> float | None:
    """Return when the rows of a job are all decided, or ``None`` while that is open."""
    if job.schedule.settled_at is None or job.work is None or job.held is not None:
        return None
    return max(job.schedule.settled_at, job.work.done_at)


def finished_at(job: Job) -> float | None:
    """Return when a job ends by itself, or ``None`` while its work is not done or it is held."""
    plan = job.schedule
    if job.held is not None:
        return None
    if plan.settled_at is None:
        return plan.finished_at
    settled = settled_at(job)
    return None if settled is None else settled + (plan.finished_at - plan.settled_at)


def is_late(job: Job, part: ResultPart, now: float) -> bool:
    """Tell whether a scenario keeps a part of a job's result from being seen yet."""
    late = job.scenarios.get("late_result")
    if late is None or late.get("part", "name") != part:
        return False
    end = finished_at(job)
    return end is None or now < end + float(late.get("seconds", LATE_RESULT_SECONDS))


def job_view(job: Job, now: float) -> JobView:
    """Show a job."""
    plan, end = job.schedule, finished_at(job)
    started = plan.started_at if _has_come(job, "IN_PROGRESS", plan.started_at, now) else None
    if job.canceled_at is not None and now >= job.canceled_at and (end is None or job.canceled_at < end):
        if started is not None and started > job.canceled_at:
            started = None
        return JobView("CANCELED", started_at=started, finished_at=job.canceled_at)
    result = job.result_dataset_id if _has_come(job, "PENDING", plan.pending_at, now) else None
    settled = settled_at(job)
    is_settled = settled is not None and now >= settled
    if end is not None and now >= end:
        if job.work is not None and job.work.status is not None:
            return JobView("FAILED", None, started, end, settled=is_settled)
        return JobView(plan.outcome, result, started, end, settled=is_settled)
    if started is not None:
        return JobView("IN_PROGRESS", result, started, settled=is_settled)
    return JobView("PENDING" if result is not None else "CREATED", result)


def released(job: Job, now: float) -> Job:
    """Return a held job that goes on: what is still to come is later by the time that it was held too long."""
    if job.held is None:
        return job
    plan = job.schedule
    ahead = {name: getattr(plan, name) for name in _MOMENTS[_ORDER.index(job.held) :]}
    ahead = {name: moment for name, moment in ahead.items() if moment is not None}
    late = max(0.0, now - min(ahead.values()))
    moved = plan.model_copy(update={name: moment + late for name, moment in ahead.items()})
    return job.model_copy(update={"held": None, "schedule": moved})


def _has_come(job: Job, state: Alive, moment: float | None, now: float) -> bool:
    allowed = job.held is None or _ORDER.index(state) <= _ORDER.index(job.held)
    return allowed and moment is not None and now >= moment
