"""Tell what became of a run's partitions, and which can be announced."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vision_batch.enrichment.gate import gate_problems
from vision_batch.errors import FinalError
from vision_batch.shards.folder import LOADED, ShardFolder
from vision_batch.steps.announce import (
    Announcing,
    HaveAnnounced,
    Rows,
    announce,
    busy,
    candidates,
    rows_of,
    settle_others,
    waiting_items,
)
from vision_batch.steps.crash import crash_point
from vision_batch.steps.resources import Resources

log = logging.getLogger(__name__)

#: How many partitions an error names.
MOST_TOLD = 5

#: How many partitions a run's result and its asset events tell of one by one: an XCom stays below 64 kB.
MOST_LISTED = 200


@dataclass(frozen=True)
class Published:
    """Count a run's answers.

    :param partitions: rows by status, by partition, as the destination holds them now.
    :param waiting: items that wait for a fuller job, by partition.
    :param announced: rows by status of the partitions that are complete now and were not announced so; by partition.
    :param held: why the answers of other complete partitions are not good enough to be announced.
    :param used_up: images without an answer that are not asked again, by partition, as far as this run looked at it.
    """

    partitions: dict[str, dict[str, int]]
    waiting: dict[str, int]
    announced: dict[str, dict[str, int]] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    used_up: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values, of the newest partitions where there are many."""
        found = {name: _newest(value) for name, value in asdict(self).items()}
        return {**found, "rows": _sum(self.partitions), "more_partitions": _rest(self.partitions)}

    def event(self) -> dict[str, Any]:
        """Return what is told to those who wait for the table, of the newest partitions where there are many."""
        told = {"partitions": _newest(self.announced), "rows": _sum(self.announced)}
        return {**told, "more_partitions": more} if (more := _rest(self.announced)) else told


def publish(
    resources: Resources,
    partitions: Sequence[str],
    shards: Sequence[str],
    run_id: str,
    have_announced: HaveAnnounced = lambda _: {},
) -> Published:
    """Count the rows of the run's partitions, and find out which partitions this run announces.

    A partition is announced by the run after which whatever was listed of it is settled, whosever partition it is.

    :param have_announced: asked about other runs that were about to announce something.
    :raises FinalError: if a shard is still open or was given up, or if the gate refuses a partition of the run: it
        must not look green. Nothing is announced then; the next run announces what this one could have.
    """
    work = resources.work()
    _refuse_unloaded(shards, {key: problem for key in shards if (problem := _problem(work.shard(key)))})
    state = settle_others(resources, run_id, have_announced)
    found = candidates(resources, state, run_id) if resources.declaration.own else {}
    rows = rows_of(resources, {*partitions, *found})
    announcing = Announcing()
    if resources.declaration.own:
        claimed = {partition for partition, entry in found.items() if entry.run_id == run_id}
        _refuse_bad(resources, rows, {*partitions, *claimed} - busy(resources, state))
        announcing = announce(resources, found, rows, run_id=run_id, partitions=partitions)
        crash_point("after_announced")
    waits = waiting_items(resources, state)
    published = Published(
        partitions={partition: _counts(rows, partition) for partition in partitions},
        waiting={partition: waits[partition] for partition in partitions if partition in waits},
        announced={partition: _counts(rows, partition) for partition in sorted(announcing.ready)},
        held=announcing.held,
        used_up=announcing.used_up,
    )
    _log(published)
    return published


def _newest(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in sorted(found)[-MOST_LISTED:]}


def _rest(found: Mapping[str, Any]) -> int:
    return max(0, len(found) - MOST_LISTED)


def _counts(rows: Mapping[str, Rows], partition: str) -> dict[str, int]:
    return dict(rows[partition].counts) if partition in rows else {}


def _sum(partitions: Mapping[str, Mapping[str, int]]) -> int:
    return sum(sum(counts.values()) for counts in partitions.values())


def _refuse_unloaded(shards: Sequence[str], problems: Mapping[str, str]) -> None:
    if problems:
        told = "; ".join(f"{key} {problem}" for key, problem in sorted(problems.items()))
        raise FinalError(
            f"{len(problems)} of {len(shards)} shards have no answers: {told}. Nothing paid is lost: a later run goes "
            "on with open shards and asks given up items again, as often as limits.max_attempts allows"
        )


def _refuse_bad(resources: Resources, rows: Mapping[str, Rows], partitions: Collection[str]) -> None:
    """Ask the gate about each of a run's partitions that has rows and that nobody asks about any more."""
    gate = resources.declaration.gate
    looked_at = sorted(partition for partition in partitions if partition in rows)
    bad = {partition: list(gate_problems(gate, rows[partition].counts)) for partition in looked_at}
    told = [f"{partition}: {'; '.join(problems)}" for partition, problems in bad.items() if problems]
    if told:
        more = f" (and {len(told) - MOST_TOLD} more)" if len(told) > MOST_TOLD else ""
        attempts = resources.declaration.limits.max_attempts
        raise FinalError(
            f"the answers of {len(told)} of {len(looked_at)} partitions are not good enough to be announced: "
            f"{'. '.join(told[:MOST_TOLD])}{more}. Nothing is lost and nothing was announced. Images without an answer "
            f"are asked again with the next job, {attempts} times in all, and the next run announces what is good by "
            "then. If too many stay bad, change the prompt or the fields, or loosen the gate and clear this task"
        )


def _log(published: Published) -> None:
    log.info("Rows by partition and status: %s; items that wait: %s", published.partitions, published.waiting)
    for partition, counts in published.announced.items():
        log.info("%s is complete: %s", partition, counts)
    for partition, problems in published.held.items():
        log.warning("%s is not announced: %s", partition, problems)
    for partition, items in published.used_up.items():
        log.warning("%s: %d images have no answer, and no attempts left; their rows stay as they are", partition, items)


def _problem(shard: ShardFolder) -> str | None:
    """Say why a shard has no answers, or ``None`` if it has."""
    closed, loaded = shard.closed(), shard.loaded()
    if loaded is not None:
        return f"was given up: {loaded['given_up']}" if loaded.get("given_up") else None
    if closed is not None and closed["reason"] != LOADED:
        return f"was given up: {closed['reason']}"
    return None if closed is not None else "is still open, see the log of its failed task"
