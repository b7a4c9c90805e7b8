"""Decide who may make the next dataset and the next job of a folder. Pure: fed the claims, the lists, the time.

Claims are served in their order. Each decides for itself, so the order is kept by room: a claim goes when there is
room for it *and for everybody before it*, which makes two that decide at one moment go together or in their order.
Nobody can see whether the one before still lives. One that lives takes its turn within minutes; a claim that lets
:data:`TURN` pass loses its place to those behind it, and nothing else: it goes whenever it comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from vision_batch.service.quota import (
    ALWAYS,
    DEFAULT_LIMITS,
    Needed,
    QuotaLimits,
    dataset_room,
    job_room,
    job_room_since,
    jobs_made,
    next_job_at,
)
from vision_batch.service.types import Dataset, Job

#: How long a claim may leave room unused before those behind it no longer keep it free.
TURN = timedelta(minutes=10)

#: How long the making of a dataset keeps the place of its job. A longer one goes first when it is done.
DRAFT = timedelta(hours=1)

#: After which silence a claim that has no dataset yet is no reason any more to keep scarce room for one.
SILENCE = timedelta(days=1)

#: How many jobs may be made between an earlier claim's dataset and its job.
MAX_OVERTAKEN = 10

#: After how many polls a decision is made anew though nothing has come that it waits for: others may have gone.
LOOKS, FEW_LOOKS, MOST_LOOKS = 20, 2, 120


class Stage(StrEnum):
    """Say how far a claim is that has no job yet."""

    WAITING = "waiting"
    PREPARING = "preparing"
    READY = "ready"
    SUBMITTING = "submitting"


@dataclass(frozen=True)
class Claim:
    """Describe an open shard without a job.

    :param shard: its name among all enrichments.
    :param quiet: how long nothing was heard of it.
    :param size_bytes: what its dataset will have at most.
    :param stored_bytes: what its datasets have by now.
    :param drafted_at: when its newest dataset was made, by the service's clock.
    """

    shard: str
    claimed_at: datetime
    stage: Stage
    quiet: timedelta = timedelta(0)
    size_bytes: int = 0
    stored_bytes: int = 0
    drafted_at: datetime | None = None


@dataclass(frozen=True)
class Folder:
    """Hold everything a decision rests on, as read just now.

    :param claims: open shards without a job, of every enrichment that shares the folder.
    :param jobs: every job of the folder, whoever made it.
    :param datasets: every dataset of the folder.
    :param max_prepared: how many claims may have a dataset, or make one, before they have a job.
    """

    claims: tuple[Claim, ...]
    jobs: tuple[Job, ...]
    datasets: tuple[Dataset, ...]
    limits: QuotaLimits = DEFAULT_LIMITS
    max_prepared: int = 8


@dataclass(frozen=True)
class WaitForRoom:
    """Tell to wait.

    :param needed: what has to come; it is not there now.
    :param ahead: how many claims are served before.
    :param expected_at: when it may come, by the service's clock, if nobody else wants anything.
    :param looks: after how many polls to decide again, whatever has come.
    """

    reason: str
    needed: Needed
    ahead: int
    expected_at: datetime | None
    looks: int = LOOKS

    def __str__(self) -> str:
        place = f"Place {self.ahead + 1} in the queue"
        if self.expected_at is None:
            return f"{self.reason}. {place}."
        return f"{self.reason}. {place}, expected at {self.expected_at:%Y-%m-%d %H:%M} UTC by the service's clock."


@dataclass(frozen=True)
class NotYet:
    """Tell to come back at a time.

    :param not_before: by the clock here.
    """

    not_before: datetime
    why: str


def admit_dataset(folder: Folder, shard: str, now: datetime) -> WaitForRoom | None:
    """Decide whether a shard may make its dataset now; ``None`` means it may.

    It needs a place for the dataset and one for its result, twice its bytes, and few claims that are prepared and
    not submitted.

    :param now: by the service's clock.
    """
    mine, others = _split(folder, shard)
    prepared = _job_queue(folder, others, now)
    waiting = _before(mine, others, {Stage.WAITING})
    ahead = _dataset_queue(folder, waiting, len(prepared), now)
    # Deleted datasets leave no trace: nobody knows since when there has been room for those before.
    few = max(0, folder.max_prepared - len(prepared) - 1)
    before = [claim for claim in waiting if claim in ahead or claim.quiet <= SILENCE][:few]
    reserved = _reserved(folder, prepared)
    needed = _with(reserved, [*before, mine], folder.limits)
    if not _fits(_with(reserved, [mine], folder.limits), folder):
        return _wait_for_room(folder, needed, len(waiting))
    if len(prepared) + len(ahead) >= folder.max_prepared:
        return _wait_for_place(folder, len(prepared), len(ahead), now)
    return None if _fits(needed, folder) else _wait_for_room(folder, needed, len(before))


def give_way(folder: Folder, shard: str) -> WaitForRoom | None:
    """Decide whether a shard that has just made its dataset has to delete it; ``None`` means it keeps it.

    Claims that decide at one moment, or somebody else, may have taken the last places. Then no job could be made, for
    want of a place for its result, by anybody for ever. The youngest give way.
    """
    mine, others = _split(folder, shard)
    older = [claim for claim in others if claim.drafted_at is not None and _age(claim) < _age(mine)]
    needed = _reserved(folder, [*older, mine])
    return None if _fits(needed, folder) else _wait_for_room(folder, _with(needed, [mine], folder.limits), len(older))


def admit_job(folder: Folder, shard: str, now: datetime) -> WaitForRoom | None:
    """Decide whether a prepared shard may make its job now; ``None`` means it may.

    :param now: by the service's clock.
    """
    mine, others = _split(folder, shard)
    submitting = [claim for claim in others if claim.stage is Stage.SUBMITTING]
    queue = _job_queue(folder, others, now)
    ahead = _before(mine, queue, {Stage.PREPARING, Stage.READY})
    room = job_room(folder.jobs, now, folder.limits).free
    if room <= len(ahead) + len(submitting):
        return _wait_for_job(folder, len(ahead), len(submitting), now)
    results = len(ahead) + len(submitting) + _results_to_come(folder) + 1
    if results > dataset_room(folder.datasets, folder.limits).free:
        return _wait_for_room(folder, Needed(datasets=results), len(ahead))
    if (slow := _overtaken(folder, ahead)) is not None:
        reason = f"{slow.shard}, which was claimed earlier and is {slow.stage}, would be overtaken too often"
        return WaitForRoom(reason, _jobs_from_now(folder, 1), len(ahead), None)
    return None


def _split(folder: Folder, shard: str) -> tuple[Claim, list[Claim]]:
    """Return the claim that asks, and the others in the order in which they are served."""
    mine = [claim for claim in folder.claims if claim.shard == shard]
    others = [claim for claim in folder.claims if claim.shard != shard]
    return mine[0], sorted(others, key=_order)


def _order(claim: Claim) -> tuple[datetime, str]:
    return claim.claimed_at, claim.shard


def _age(claim: Claim) -> tuple[datetime, str]:
    return claim.drafted_at or ALWAYS, claim.shard


def _before(mine: Claim, others: Iterable[Claim], stages: set[Stage]) -> list[Claim]:
    return [claim for claim in others if claim.stage in stages and _order(claim) < _order(mine)]


def _job_queue(folder: Folder, others: Sequence[Claim], now: datetime) -> list[Claim]:
    """Return the claims that are on their way to a job, without those that let their turn pass."""
    submitting = sum(claim.stage is Stage.SUBMITTING for claim in others)
    room = job_room(folder.jobs, now, folder.limits).free - submitting
    slots = dataset_room(folder.datasets, folder.limits).free - submitting - _results_to_come(folder)

    def open_since(place: int) -> datetime:
        return job_room_since(folder.jobs, now, folder.limits, room - place - 1)

    ready = [claim for claim in others if claim.stage is Stage.READY]
    drafts = [
        claim
        for claim in others
        if claim.stage is Stage.PREPARING and claim.drafted_at is not None and now - claim.drafted_at < DRAFT
    ]
    queue = sorted([*drafts, *ready], key=_order)
    kept = _that_take_their_turn(queue, min(room, slots), open_since, now)
    return sorted([*kept, *(claim for claim in others if claim.stage is Stage.SUBMITTING)], key=_order)


def _dataset_queue(folder: Folder, waiting: Sequence[Claim], prepared: int, now: datetime) -> list[Claim]:
    """Return the claims that make their datasets first, without those that let their turn pass.

    A place gets free when a claim gets its job, so there were no more of them before than jobs made since.
    """
    made = sorted((job.created_at for job in folder.jobs), reverse=True)
    places = folder.max_prepared - prepared

    def open_since(place: int) -> datetime:
        spare = places - place - 1
        return made[spare] if spare < len(made) else ALWAYS

    return _that_take_their_turn(waiting, places, open_since, now)


def _that_take_their_turn(
    claims: Sequence[Claim], places: int, open_since: Callable[[int], datetime], now: datetime
) -> list[Claim]:
    """Leave out the claims that let their turn pass.

    :param places: how many may go now.
    :param open_since: since when the place of this number has been open.
    """
    found: list[Claim] = []
    passed = 0
    for claim in claims:
        if len(found) >= places or claim.stage is Stage.PREPARING:
            found.append(claim)
            continue
        unused = min(now - open_since(len(found)), claim.quiet)
        rounds = 1 + passed // (places - len(found))  # those behind learn a turn later that they are next
        if unused > TURN * rounds:
            passed += 1
        else:
            found.append(claim)
    return found


def _overtaken(folder: Folder, ahead: Sequence[Claim]) -> Claim | None:
    """Return the claim that enough jobs may have overtaken since its dataset was begun, those between included."""
    for place, claim in enumerate(ahead):
        if claim.drafted_at is not None:
            jobs = sum(job.created_at > claim.drafted_at for job in folder.jobs)
            if jobs + len(ahead) - place - 1 >= MAX_OVERTAKEN:
                return claim
    return None


def _reserved(folder: Folder, queue: Iterable[Claim]) -> Needed:
    """Return what results will take: of jobs that run, and of claims that are prepared or being prepared."""
    sizes = {dataset.dataset_id: dataset.size_bytes for dataset in folder.datasets}
    found = Needed(datasets=_results_to_come(folder))
    for job in folder.jobs:
        if not job.status.is_terminal:
            result = sizes.get(job.source_dataset_id, 0) - sizes.get(job.result_dataset_id or "", 0)
            found = replace(found, size_bytes=found.size_bytes + max(0, result))
    for claim in queue:
        draft = claim.stage is Stage.PREPARING
        whole = min(2 * claim.size_bytes, folder.limits.total_bytes)
        more = max(0, whole - claim.stored_bytes) if draft else claim.stored_bytes
        found = replace(found, datasets=found.datasets + 1, size_bytes=found.size_bytes + more)
    return found


def _results_to_come(folder: Folder) -> int:
    there = {dataset.dataset_id for dataset in folder.datasets}
    return sum(not job.status.is_terminal and job.result_dataset_id not in there for job in folder.jobs)


def _with(reserved: Needed, claims: Sequence[Claim], limits: QuotaLimits) -> Needed:
    """Add a dataset and its result for each claim; one that is larger than the folder waits for an empty one."""
    more = sum(min(2 * claim.size_bytes, limits.total_bytes) for claim in claims)
    return replace(reserved, datasets=reserved.datasets + 2 * len(claims), size_bytes=reserved.size_bytes + more)


def _fits(needed: Needed, folder: Folder) -> bool:
    return dataset_room(folder.datasets, folder.limits).holds(needed.datasets, needed.size_bytes)


def _wait_for_job(folder: Folder, ahead: int, submitting: int, now: datetime) -> WaitForRoom:
    turn = ahead + submitting
    used = ", ".join(
        f"{made} of {limit} in the last {word}" for word, made, limit in jobs_made(folder.jobs, now, folder.limits)
    )
    return WaitForRoom(
        f"jobs made: {used}; earlier shards that go first: {turn}",
        Needed(jobs=turn + 1),
        ahead,
        next_job_at(folder.jobs, now, folder.limits, turn),
        FEW_LOOKS if submitting else _looks(ahead),
    )


def _wait_for_place(folder: Folder, prepared: int, ahead: int, now: datetime) -> WaitForRoom:
    jobs = prepared + ahead - folder.max_prepared + 1
    return WaitForRoom(
        f"shards that are prepared, or being prepared, and have no job yet: {prepared}; earlier shards that go first: "
        f"{ahead}; {folder.max_prepared} are allowed together (limits.max_prepared_shards)",
        _jobs_from_now(folder, jobs),
        ahead,
        next_job_at(folder.jobs, now, folder.limits, jobs - 1),
        _looks(ahead),
    )


def _wait_for_room(folder: Folder, needed: Needed, ahead: int) -> WaitForRoom:
    room = dataset_room(folder.datasets, folder.limits)
    found = f"{room.free} of {folder.limits.datasets} datasets and {room.free_bytes / 10**9:.1f} GB are free"
    wanted = f"{needed.datasets} datasets" + f" and {needed.size_bytes / 10**9:.1f} GB" * (needed.size_bytes > 0)
    return WaitForRoom(
        f"the folder is full: {found}, {wanted} are needed with what earlier ones and running jobs will take",
        needed,
        ahead,
        None,
        _looks(ahead),
    )


def _jobs_from_now(folder: Folder, jobs: int) -> Needed:
    last = max((job.created_at for job in folder.jobs), default=ALWAYS)
    return Needed(new_jobs=jobs, since=last.timestamp())


def _looks(ahead: int) -> int:
    return min(max(ahead, LOOKS), MOST_LOOKS)
