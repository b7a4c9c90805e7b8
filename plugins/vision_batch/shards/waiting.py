"""Decide which partitions wait for a later run, whoever else claims or closes at the same time. Pure.

An entry of ``waiting`` in ``open.json`` says: list this partition again, some of its items are asked by nobody. Only
who has listed the partition after the entry was written may take it out, because nobody else knows what it stands for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from vision_batch.shards.records import ManifestItem


@dataclass(frozen=True)
class Waiting:
    """Describe a partition of which items wait for a later run: too few for a job, too many for a run, or left over.

    :param since: when it began to wait.
    :param tokens: what its counted items cost at most.
    :param least_tokens: what they cost at least: they wait until that, with others', fills a job.
    :param noted_by: the plan whose claim, or the shard whose end wrote it last. An entry that was written again is
        another one, even if it counts the same.
    """

    since: datetime
    items: int
    tokens: int
    least_tokens: int = 0
    noted_by: str = ""


@dataclass(frozen=True)
class Left:
    """Count a partition's items in a shard that were neither asked nor settled: they wait once it is closed."""

    items: int
    tokens: int
    least_tokens: int


def after_claim(
    found: Mapping[str, Waiting],
    left: Mapping[str, Waiting],
    *,
    seen: Mapping[str, Waiting],
    looked_at: Collection[str],
) -> dict[str, Waiting]:
    """Return what waits when a plan is claimed. To claim it again changes nothing.

    :param found: what waits now.
    :param left: what the plan leaves to later runs, each entry with a name of its own in ``noted_by``.
    :param seen: what waited before the plan listed anything.
    :param looked_at: the partitions that it listed.
    """
    waiting = {name: each for name, each in found.items() if name not in looked_at or each != seen.get(name)}
    for name, entry in left.items():
        if (newer := waiting.get(name)) is not None:
            waiting[name] = _both(newer, entry)
        else:
            waiting[name] = replace(entry, since=found[name].since) if name in found else entry
    return waiting


def after_close(
    found: Mapping[str, Waiting], left: Mapping[str, Left], *, noted_by: str, now: datetime
) -> dict[str, Waiting]:
    """Return what waits when a shard is closed that has not asked all of its items.

    :param left: these, by partition.
    """
    waiting = dict(found)
    for name, more in left.items():
        before = found.get(name, Waiting(now, 0, 0))
        waiting[name] = Waiting(
            before.since,
            before.items + more.items,
            before.tokens + more.tokens,
            before.least_tokens + more.least_tokens,
            noted_by,
        )
    return waiting


def _both(newer: Waiting, left: Waiting) -> Waiting:
    """Return an entry for what two runs leave, which may be the same items; nobody has seen it yet."""
    return Waiting(
        min(newer.since, left.since),
        max(newer.items, left.items),
        max(newer.tokens, left.tokens),
        max(newer.least_tokens, left.least_tokens),
        left.noted_by,
    )


def waiting_record(waiting: Mapping[str, Waiting]) -> dict[str, Any]:
    """Return entries by partition as plain JSON values."""
    return {
        name: {**asdict(each), "since": each.since.astimezone(UTC).isoformat()}
        for name, each in sorted(waiting.items())
    }


def waiting_from_record(record: Mapping[str, Mapping[str, Any]]) -> dict[str, Waiting]:
    """Read what :func:`waiting_record` wrote; what a later version has added to it is passed over."""
    return {name: _waiting(entry) for name, entry in record.items()}


def _waiting(entry: Mapping[str, Any]) -> Waiting:
    known = {each.name: entry[each.name] for each in fields(Waiting) if each.name in entry}
    return Waiting(**{**known, "since": datetime.fromisoformat(entry["since"])})


def left_record(left: Mapping[str, Left] | None) -> dict[str, Any]:
    """Return the part of a shard's last record that says what it leaves; none if it leaves nothing."""
    return {"left": {name: asdict(each) for name, each in sorted(left.items())}} if left else {}


def left_from_record(record: Mapping[str, Any]) -> dict[str, Left]:
    """Read what :func:`left_record` wrote into a record."""
    return {
        name: Left(entry["items"], entry["tokens"], entry["least_tokens"])
        for name, entry in record.get("left", {}).items()
    }


def left_of(items: Iterable[ManifestItem]) -> dict[str, Left]:
    """Count items by partition."""
    left: dict[str, Left] = {}
    for item in items:
        before = left.get(item.partition, Left(0, 0, 0))
        tokens, least = before.tokens + (item.tokens or 0), before.least_tokens + item.least_tokens
        left[item.partition] = Left(before.items + 1, tokens, least)
    return left
