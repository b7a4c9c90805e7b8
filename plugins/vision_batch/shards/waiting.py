"""Decide which partitions wait for a later run, whoever else claims or closes at the same time. Pure.

An entry of ``waiting`` in ``open.json`` says: list this partition again, some of its items are asked by nobody. Only
who has listed the partition after the entry was written may take it out, because nobody else knows what it stands for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from vision_batch.shards.folder import Left, Waiting


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
