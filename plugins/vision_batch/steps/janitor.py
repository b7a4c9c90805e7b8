"""Tidy up after runs that died: close what is over, delete what is left on the service, tell what remains."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from vision_batch.errors import ShardVersionError, VisionBatchError
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import Dataset
from vision_batch.shards.folder import OpenShard, WorkFolder
from vision_batch.shards.waiting import Waiting
from vision_batch.steps.clean import clean
from vision_batch.steps.datasets import INSTALL_LABEL, dataset_name, delete_dataset
from vision_batch.steps.observe import own_results
from vision_batch.steps.plan import claimed_items
from vision_batch.steps.repair import find_riders
from vision_batch.steps.resources import Resources

log = logging.getLogger(__name__)

#: How long plan files are kept for people to look at; nothing else reads them after the claim.
KEEP_PLANS = timedelta(days=7)


@dataclass(frozen=True)
class Remaining:
    """Describe a shard that is still open.

    :param problem: why it could not be looked at, if so.
    """

    shard: str
    items: int
    idle_hours: float
    problem: str | None = None


@dataclass(frozen=True)
class Tidied:
    """Tell what the janitor did and what it left.

    :param closed: shards that were over and are closed now.
    :param deleted: remote datasets of closed shards.
    :param unknown: remote datasets of ours whose shard has no folder; they are left for a person to look at.
    :param remaining: open shards; a run over any of their partitions goes on with them.
    :param flush_since: since when the oldest of what a run should send now has waited: a small day for longer than
        ``pack.max_wait``, or an image without an answer for longer than ``repair.deadline``. ``None``: nothing has.
    """

    closed: tuple[str, ...]
    deleted: tuple[str, ...]
    unknown: tuple[str, ...]
    remaining: tuple[Remaining, ...]
    waiting_items: int = 0
    flush_since: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        report = asdict(self)
        since = self.flush_since and self.flush_since.astimezone(UTC).isoformat()
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in report.items()}
        return {**plain, "flush_since": since}


def tidy(resources: Resources) -> Tidied:
    """Close the shards that are over, delete the datasets of closed ones, report the rest.

    Touches this install's datasets of this enrichment only, and none that an open shard may need: datasets are
    listed before the claims, and the claims are read again before each delete.
    """
    work = resources.work()
    with resources.service() as service:
        datasets = _ours(resources, service.list_datasets(name_pattern=resources.declaration.name))
        closed, remaining = _close_idle(resources, work)
        deleted, unknown = _delete_left(resources, work, service, datasets)
    _delete_old_plans(work)
    waiting = work.open_state().waiting
    tidied = Tidied(
        tuple(closed),
        tuple(deleted),
        tuple(unknown),
        tuple(remaining),
        waiting_items=sum(entry.items for entry in waiting.values()),
        flush_since=_flush_since(resources, work, waiting),
    )
    log.info("Janitor of %s: %s", resources.declaration.name, tidied.as_dict())
    return tidied


def _flush_since(resources: Resources, work: WorkFolder, waiting: Mapping[str, Waiting]) -> datetime | None:
    latest = datetime.now(UTC) - resources.declaration.pack.max_wait
    # One without items could not be listed; no job is missing for it.
    overdue = [entry.since for entry in waiting.values() if entry.items and entry.since < latest]
    if resources.declaration.repair.deadline is not None:
        with claimed_items(work, work.open_shards(), resources.declaration.question_key()) as claimed:
            asked_at = find_riders(resources, (), claimed).due_since
        overdue += [] if asked_at is None else [asked_at]
    return min(overdue, default=None)


def _ours(resources: Resources, found: Sequence[Dataset]) -> list[tuple[str, Dataset]]:
    """Pick this install's source datasets of this enrichment, each with its shard's key."""
    install = resources.work().install_id()
    name = re.compile(re.escape(dataset_name(install, resources.declaration.name, "")) + r"([0-9a-f]{20})")
    return [
        (match[1], dataset)
        for dataset in found
        if (match := name.fullmatch(dataset.name)) and dataset.labels.get(INSTALL_LABEL) == install
    ]


def _close_idle(resources: Resources, work: WorkFolder) -> tuple[list[str], list[Remaining]]:
    """Close what is over among the open shards that nobody has touched for ``limits.adopt_after``."""
    closed: list[str] = []
    remaining: list[Remaining] = []
    for key, entry in sorted(work.open_shards().items()):
        idle = _idle(work, entry)
        problem: str | None = None
        if idle > resources.declaration.limits.adopt_after:
            try:
                if clean(resources, key).closed:
                    closed.append(key)
                    continue
            except VisionBatchError as error:  # one sick shard must not keep the others from being tidied
                problem = f"{type(error).__name__}: {error}"
                log.exception("Shard %s could not be tidied.", key)
        hours = round(idle.total_seconds() / 3600, 1)
        remaining.append(Remaining(key, sum(entry.partitions.values()), hours, problem))
    return closed, remaining


def _idle(work: WorkFolder, entry: OpenShard) -> timedelta:
    last = work.shard(entry.key).last_event_at() or entry.claimed_at
    return datetime.now(UTC) - max(last, entry.claimed_at)


def _delete_left(
    resources: Resources, work: WorkFolder, service: SyncAIStudioClient, datasets: Sequence[tuple[str, Dataset]]
) -> tuple[list[str], list[str]]:
    """Delete datasets of closed shards, such as a slow worker makes after another has closed its shard."""
    deleted: list[str] = []
    unknown: list[str] = []
    for key, dataset in datasets:
        if key in work.open_shards():
            continue
        if work.shard(key).closed() is None:
            unknown.append(dataset.dataset_id)
            continue
        try:
            results = own_results(resources.for_shard(key), work.shard(key), service, dataset.dataset_id)
        except ShardVersionError as error:
            log.warning("Dataset %s is left to another version: %s", dataset.dataset_id, error)
            continue
        for dataset_id in (*results, dataset.dataset_id):
            delete_dataset(service, dataset_id)
        deleted.append(dataset.dataset_id)
    return deleted, unknown


def _delete_old_plans(work: WorkFolder) -> None:
    oldest = datetime.now(UTC) - KEEP_PLANS
    for info in work.store.list(f"{work.folder}/plans/"):
        if info.modified_at < oldest:
            work.store.delete(info.uri)
