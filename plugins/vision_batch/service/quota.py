"""Count what the service's own lists leave of its quotas, whoever used them. Pure.

Limits: AI Studio, "Quotas and limits": 10 batch runs an hour, 100 a day, 100 datasets, 5 GB each, 300 GB in all.
How the windows are cut is not documented: rolling ones are assumed, the stricter reading of fixed ones.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta

from vision_batch.errors import InputError
from vision_batch.service.types import Dataset, Job

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class QuotaLimits:
    """Hold the quotas of a folder; the defaults are the documented ones."""

    jobs_per_hour: int = 10
    jobs_per_day: int = 100
    datasets: int = 100
    dataset_bytes: int = 5 * 10**9
    total_bytes: int = 300 * 10**9


DEFAULT_LIMITS = QuotaLimits()

#: Less than this lets no shard through: a job, and a dataset with its result.
_LEAST = {"jobs_per_hour": 1, "jobs_per_day": 1, "datasets": 2}


def checked_quota(name: str, limit: object) -> tuple[str, int]:
    """Return a quota that a person gave.

    :raises InputError: if there is none of that name, or nothing could be done within it.
    """
    names = [each.name for each in fields(QuotaLimits)]
    if name not in names:
        raise InputError(f"the names {', '.join(names)}")
    least = _LEAST.get(name, 1_000_000)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < least:
        raise InputError(f"{name} of {least} or more")
    return name, limit


#: Long ago: since when there has been room, if the lists show no time at which there was none.
ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class QuotaVerdict:
    """Say how many jobs may be made now, and when the next one may if none.

    :param next_free_at: ``None`` while there is room, or if no wait helps because a limit is 0.
    """

    free: int
    next_free_at: datetime | None


@dataclass(frozen=True)
class DatasetRoom:
    """Say how many datasets and bytes may be added now."""

    free: int
    free_bytes: int

    def holds(self, datasets: int, size_bytes: int) -> bool:
        """Tell whether so many datasets of so many bytes in all fit in."""
        return datasets <= self.free and size_bytes <= self.free_bytes


@dataclass(frozen=True)
class Needed:
    """Say what a wait is for, in terms of the service's own lists: all of it has to be there.

    :param jobs: jobs that may be made now.
    :param datasets: datasets that may be added now.
    :param size_bytes: bytes that may be added now.
    :param new_jobs: jobs made after ``since``, by whomever.
    :param since: by the service's clock, in seconds since the epoch.
    """

    jobs: int = 0
    datasets: int = 0
    size_bytes: int = 0
    new_jobs: int = 0
    since: float = 0.0

    def as_dict(self) -> dict[str, float]:
        """Return plain values, to be stored."""
        return asdict(self)

    def missing(self, jobs: Sequence[Job], datasets: Sequence[Dataset], now: datetime, limits: QuotaLimits) -> str:
        """Return what is still not there, in words; an empty text if all of it is."""
        room = dataset_room(datasets, limits)
        made = sum(job.created_at.timestamp() > self.since for job in jobs)
        found = (
            ("jobs allowed now", job_room(jobs, now, limits).free, self.jobs),
            ("datasets free", room.free, self.datasets),
            ("bytes free", room.free_bytes, self.size_bytes),
            ("jobs started meanwhile", made, self.new_jobs),
        )
        return ", ".join(f"{there} of {needed} {what}" for what, there, needed in found if there < needed)


def job_room(jobs: Iterable[Job], now: datetime, limits: QuotaLimits = DEFAULT_LIMITS) -> QuotaVerdict:
    """Return how many jobs the hour and the day leave.

    :param jobs: every job of the folder; failed and cancelled ones count.
    :param now: by the service's clock, as the jobs' times are.
    """
    made = sorted(job.created_at for job in jobs)
    free = None
    waits: list[datetime] = []
    for window, limit in _windows(limits):
        recent = [time for time in made if now - time < window]
        left = max(0, limit - len(recent))
        free = left if free is None else min(free, left)
        if left == 0 and limit > 0:
            waits.append(recent[-limit] + window)
    if free or limits.jobs_per_hour <= 0 or limits.jobs_per_day <= 0:
        return QuotaVerdict(free or 0, None)
    return QuotaVerdict(0, max(waits))


def jobs_made(jobs: Iterable[Job], now: datetime, limits: QuotaLimits) -> list[tuple[str, int, int]]:
    """Return for the hour and the day its name, the jobs made in it, and its limit."""
    made = [job.created_at for job in jobs]
    return [
        (word, sum(now - time < window for time in made), limit)
        for word, (window, limit) in zip(("hour", "day"), _windows(limits), strict=True)
    ]


def dataset_room(datasets: Iterable[Dataset], limits: QuotaLimits = DEFAULT_LIMITS) -> DatasetRoom:
    """Return how many datasets and bytes the folder leaves.

    :param datasets: every dataset of the folder; results and ones being deleted count.
    """
    found = list(datasets)
    used = sum(dataset.size_bytes for dataset in found)
    return DatasetRoom(max(0, limits.datasets - len(found)), max(0, limits.total_bytes - used))


def next_job_at(jobs: Iterable[Job], now: datetime, limits: QuotaLimits, turn: int = 0) -> datetime | None:
    """Return when a job may be made if ``turn`` others are made before it, each as soon as it may be.

    :return: ``None`` if no wait helps, because a limit is 0.
    """
    made = sorted(job.created_at for job in jobs)
    at = now
    for _ in range(turn + 1):
        for window, limit in _windows(limits):
            if limit <= 0:
                return None
            if len(made) >= limit:
                at = max(at, made[-limit] + window)
        insort(made, at)
    return at


def job_room_since(jobs: Iterable[Job], now: datetime, limits: QuotaLimits, spare: int) -> datetime:
    """Return a time since when there has always been room for all but ``spare`` of the jobs that may be made now.

    Room grows only when a job leaves a window, and by one at most. There may have been room for longer.
    """
    left = sorted((job.created_at + window for job in jobs for window, _ in _windows(limits)), reverse=True)
    past = [time for time in left if time <= now]
    return past[spare] if spare < len(past) else ALWAYS


def _windows(limits: QuotaLimits) -> tuple[tuple[timedelta, int], ...]:
    return (_HOUR, limits.jobs_per_hour), (_DAY, limits.jobs_per_day)
