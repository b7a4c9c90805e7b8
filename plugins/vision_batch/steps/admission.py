"""Read what a turn rests on: the claims of every enrichment beside, the service's own lists. Writes nothing.

The decisions are :mod:`vision_batch.service.admission`'s.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from vision_batch.enrichment.plan import request_bytes
from vision_batch.enrichment.stored import settle_of
from vision_batch.errors import QuotaExceededError
from vision_batch.service.admission import Claim, Folder, NotYet, Stage, WaitForRoom, admit_dataset, admit_job, give_way
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import Dataset, Job, JobStatus
from vision_batch.shards.folder import OpenShard, ShardFolder, WorkFolder
from vision_batch.shards.state import Attempt, Outcome
from vision_batch.steps.datasets import INSTALL_LABEL, dataset_name, is_ours
from vision_batch.steps.resources import Resources

log = logging.getLogger(__name__)

#: Waiting claims beyond so many are not looked at one by one: what they wait for is far away.
NEAR = 50

#: A refusal for quota that does not say when to come back: after two polls, then twice that, and so on up to this.
LONGEST_PAUSE = timedelta(minutes=30)

_OURS = re.compile(r"vb-[0-9a-f]{6}-(?P<enrichment>.+)-[0-9a-f]{20}")
_RESULT = "foundation_models_batch_task_id"


def dataset_turn(resources: Resources, key: str, service: SyncAIStudioClient) -> WaitForRoom | None:
    """Return what a shard has to wait for before it makes its dataset; ``None`` if it may."""
    folder, name = _look(resources, key, service, Stage.WAITING)
    return _told(admit_dataset(folder, name, service.service_time()), folder, resources)


def keep_dataset(resources: Resources, key: str, service: SyncAIStudioClient) -> WaitForRoom | None:
    """Return what a shard has to wait for that took the last room with its dataset; ``None`` if it keeps it."""
    folder, name = _look(resources, key, service, Stage.PREPARING)
    return _told(give_way(folder, name), folder, resources)


def job_turn(resources: Resources, key: str, service: SyncAIStudioClient) -> WaitForRoom | None:
    """Return what a shard has to wait for before it makes its job; ``None`` if it may."""
    folder, name = _look(resources, key, service, Stage.READY)
    return _told(admit_job(folder, name, service.service_time()), folder, resources)


def after_refusal(resources: Resources, error: QuotaExceededError, refusals: int = 0) -> NotYet:
    """Return when to come back after the service refused for quota what its lists had room for.

    :param refusals: how many there were before this one, in a row.
    """
    polls = timedelta(seconds=2 * resources.declaration.limits.poll_interval_seconds)
    pause = error.retry_after or min(polls * 2 ** min(refusals, 16), LONGEST_PAUSE)
    return NotYet(datetime.now(UTC) + pause, str(error))


def who_holds(datasets: Iterable[Dataset], install: str) -> str:
    """Say whose datasets fill the folder."""
    counts: Counter[str] = Counter()
    others: list[Dataset] = []
    for dataset in datasets:
        mark = dataset.labels.get(INSTALL_LABEL)
        match = _OURS.fullmatch(dataset.name)
        if mark == install and match:
            counts[f"of {match['enrichment']}"] += 1
        elif mark:
            counts["of other installs"] += 1
        elif _RESULT in dataset.labels:
            counts["results of jobs"] += 1
        else:
            others.append(dataset)
    found = [f"{number} {what}" for what, number in sorted(counts.items())]
    if others:
        oldest = min(others, key=lambda dataset: dataset.created_at)
        found.append(f"{len(others)} made by others (the oldest: {oldest.name!r} of {oldest.created_at:%Y-%m-%d})")
    return ", ".join(found) or "nothing"


def _told(wait: WaitForRoom | None, folder: Folder, resources: Resources) -> WaitForRoom | None:
    """Log why a shard waits; where datasets fill the folder, say whose they are and what a person can do."""
    if wait is None:
        return None
    if wait.needed.datasets or wait.needed.size_bytes:
        holders = who_holds(folder.datasets, resources.work().install_id())
        reason = f"{wait.reason}. It holds {holders}; what nobody needs can be deleted in the service's console"
        wait = replace(wait, reason=reason)
    log.info("Waiting: %s", wait)
    return wait


def _look(resources: Resources, key: str, service: SyncAIStudioClient, stage: Stage) -> tuple[Folder, str]:
    """Read the claims, then the lists, then how far each claim is.

    :param stage: how far the shard is that asks: it has just been looked at.
    """
    work = resources.work()
    entries = sorted(_claims_beside(resources, work), key=lambda each: each.entry.claimed_at)
    datasets, jobs = service.list_datasets(), service.list_jobs()
    lists = _Lists(work.install_id(), datasets, jobs)
    mine = next((each for each in entries if each.is_of(work, key)), None)
    claims = [_own_claim(resources, key, mine, lists, stage)]
    near = NEAR
    for each in entries:
        if each is not mine and (claim := _claim(each, lists, look=near > 0)) is not None:
            claims.append(claim)
            near -= claim.stage is Stage.WAITING
    prepared = resources.declaration.limits.max_prepared_shards
    return Folder(tuple(claims), tuple(jobs), tuple(datasets), service.limits(), prepared), claims[0].shard


@dataclass(frozen=True)
class _Open:
    """An open shard of any enrichment."""

    work: WorkFolder
    entry: OpenShard
    max_bytes: int

    @property
    def name(self) -> str:
        return f"{self.work.enrichment}/{self.entry.key}"

    def is_of(self, work: WorkFolder, key: str) -> bool:
        return (self.work.enrichment, self.entry.key) == (work.enrichment, key)


class _Lists:
    """The service's lists, by what is looked for."""

    def __init__(self, install: str, datasets: Sequence[Dataset], jobs: Sequence[Job]) -> None:
        self.install = install
        self.job_ids = {job.job_id for job in jobs}
        self._named: dict[str, list[Dataset]] = defaultdict(list)
        self._asking: dict[str, list[Job]] = defaultdict(list)
        for dataset in datasets:
            self._named[dataset.name].append(dataset)
        for job in jobs:
            self._asking[job.source_dataset_id].append(job)

    def datasets(self, enrichment: str, key: str) -> list[Dataset]:
        name = dataset_name(self.install, enrichment, key)
        return [each for each in self._named.get(name, ()) if is_ours(each, name, self.install)]

    def is_asked(self, dataset_id: str) -> bool:
        """Tell whether a job of a dataset runs, is done, or was cancelled: no other will be made."""
        jobs = sorted(self._asking.get(dataset_id, ()), key=lambda job: job.created_at)
        over = bool(jobs) and jobs[-1].status is JobStatus.CANCELED
        return over or any(job.status is not JobStatus.FAILED for job in jobs)


def _claims_beside(resources: Resources, work: WorkFolder) -> Iterator[_Open]:
    """Yield the open shards of this enrichment, and of those beside that use the same connection."""
    for neighbour in work.neighbours():
        entries = neighbour.open_shards()
        if not entries:
            continue
        connection, max_bytes = resources.declaration.connection, resources.declaration.limits.max_bytes_per_shard
        if neighbour.enrichment != work.enrichment:
            declared: Mapping[str, object] = neighbour.shard(next(iter(entries))).question()["declaration"]
            if declared["connection"] != connection:
                continue
        for entry in entries.values():
            yield _Open(neighbour, entry, max_bytes)


def _own_claim(resources: Resources, key: str, mine: _Open | None, lists: _Lists, stage: Stage) -> Claim:
    work = resources.work()
    size = sum(request_bytes(item) for item in work.shard(key).manifest())
    claimed_at = datetime.now(UTC) if mine is None else mine.entry.claimed_at
    claim = Claim(f"{work.enrichment}/{key}", claimed_at, stage)
    most = resources.declaration.limits.max_bytes_per_shard
    return _with_datasets(replace(claim, size_bytes=min(size, most)), lists.datasets(work.enrichment, key))


def _claim(found: _Open, lists: _Lists, *, look: bool) -> Claim | None:
    """Return how far another shard is on its way to a job; ``None`` if it wants none any more."""
    own = lists.datasets(found.work.enrichment, found.entry.key)
    if any(lists.is_asked(dataset.dataset_id) for dataset in own):
        return None
    now = datetime.now(UTC)
    claim = Claim(found.name, found.entry.claimed_at, Stage.PREPARING if own else Stage.WAITING)
    claim = _with_datasets(replace(claim, quiet=now - claim.claimed_at, size_bytes=found.max_bytes), own)
    if not (own or look):
        return claim
    shard = found.work.shard(found.entry.key)
    events = shard.events()
    if "loaded.json" in events or "closed.json" in events:
        return None
    quiet = now - max([claim.claimed_at, *events.values()])
    if "dataset.json" not in events:
        return replace(claim, quiet=quiet)
    stage = _stage_of_prepared(shard, lists, now)
    return None if stage is None else replace(claim, stage=stage, quiet=quiet)


def _with_datasets(claim: Claim, own: Sequence[Dataset]) -> Claim:
    return replace(
        claim,
        stored_bytes=sum(dataset.size_bytes for dataset in own),
        drafted_at=max((dataset.created_at for dataset in own), default=None),
    )


def _stage_of_prepared(shard: ShardFolder, lists: _Lists, now: datetime) -> Stage | None:
    dataset = shard.dataset()
    if dataset is None or dataset.dataset_id is None or lists.is_asked(dataset.dataset_id):
        return None
    under_way = any(_is_under_way(shard, attempt, lists, now) for attempt in shard.attempts())
    return Stage.SUBMITTING if under_way else Stage.READY


def _is_under_way(shard: ShardFolder, attempt: Attempt, lists: _Lists, now: datetime) -> bool:
    """Tell whether a paid call may have made a job that is not listed yet."""
    unseen = attempt.outcome is Outcome.UNKNOWN or (
        attempt.outcome is Outcome.JOB and attempt.job_id not in lists.job_ids
    )
    return unseen and now - attempt.made_at < 2 * settle_of(shard.question())
