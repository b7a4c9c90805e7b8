"""Find the partitions that can be announced: whatever was listed of them is settled, and their answers are good."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice

from vision_batch.enrichment.gate import gate_problems
from vision_batch.enrichment.plan import next_attempt
from vision_batch.errors import DuplicateItemError, InputError
from vision_batch.shards.folder import OpenState, Unannounced
from vision_batch.steps.listing import items_of
from vision_batch.steps.plan import LOOKUP_ROWS, settled_items
from vision_batch.steps.resources import Resources

log = logging.getLogger(__name__)

#: Says which of some other runs have announced what they were to (true), and which have failed to (false). Those that
#: are still at it are left out.
HaveAnnounced = Callable[[Collection[str]], Mapping[str, bool]]


@dataclass(frozen=True)
class Rows:
    """Hold what the destination has of a partition.

    :param counts: rows by status.
    :param asked_at: when the last of them was asked.
    """

    counts: Mapping[str, int]
    asked_at: datetime

    @property
    def digest(self) -> str:
        """Return a text that is another one as soon as an answer is loaded."""
        text = f"{sorted(self.counts.items())} {self.asked_at.astimezone(UTC).isoformat()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Looked:
    """Say what a look at a partition's source and rows found.

    :param complete: whether each image is settled that the last listing showed and that is still there.
    :param used_up: images without an answer whose attempts are used up.
    """

    complete: bool
    used_up: int = 0


def rows_of(resources: Resources, partitions: Collection[str]) -> dict[str, Rows]:
    """Return the rows of those partitions that have any."""
    found: dict[str, Rows] = {}
    for row in resources.warehouse().counts(resources.table(), sorted(partitions)).to_pylist():
        before = found.get(row["partition"], Rows({}, row["asked_at"]))
        counts = {**before.counts, row["status"]: row["n"]}
        found[row["partition"]] = Rows(counts, max(before.asked_at, row["asked_at"]))
    return found


def busy(resources: Resources, state: OpenState) -> frozenset[str]:
    """Return the partitions of which items are asked, or wait to be.

    A shard is open until it is cleaned. From when it is loaded it asks nothing more, and what it has left waits.
    """
    key, work = resources.declaration.question_key(), resources.work()
    taken = set(state.waiting)
    for shard in state.shards.values():
        folder = work.shard(shard.key)
        if shard.question_key == key and folder.loaded() is None:
            taken.update(shard.partitions)
        taken.update(folder.left())
    return frozenset(taken)


def waiting_items(resources: Resources, state: OpenState) -> dict[str, int]:
    """Return how many items wait, by partition, those of shards that are over and not cleaned yet among them."""
    found = Counter({partition: entry.items for partition, entry in state.waiting.items()})
    for key in state.shards:
        found.update({partition: left.items for partition, left in resources.shard(key).left().items()})
    return dict(found)


def candidates(resources: Resources, state: OpenState, run_id: str) -> dict[str, Unannounced]:
    """Return the partitions of which answers may have come since they were announced, and nothing is asked now.

    What a run has written down as its own to announce is also among them if more of it has begun to wait since:
    nobody else announces it.
    """
    taken = busy(resources, state)
    return {
        partition: entry
        for partition, entry in state.unannounced.items()
        if partition not in taken or entry.announced_by == run_id
    }


def look_at(resources: Resources, partition: str, listed_at: datetime | None) -> Looked:
    """List a partition once more and look its images up. Images that came after ``listed_at`` are not counted."""
    limits, used_up = resources.declaration.limits, 0
    listing = iter(items_of(resources, partition))
    while items := list(islice(listing, LOOKUP_ROWS)):
        settled = settled_items(resources, [item.item_key for item in items])
        for item in items:
            known = settled.get(item.item_key)
            if next_attempt(item, known, limits) is None:
                used_up += known is not None and not known.is_final
            elif listed_at is None or item.modified_at <= listed_at:
                log.info("%s is not complete: %s has no answer yet.", partition, item.item_key)
                return Looked(complete=False)
    return Looked(complete=True, used_up=used_up)


@dataclass
class Announcing:
    """Collect what a run announces.

    :param ready: partitions that are complete and good enough.
    :param held: what is wrong with the answers of complete ones that are not.
    :param looked: partitions that are not ready, with the digest of their rows.
    :param used_up: images without an answer whose attempts are used up, by partition.
    """

    ready: set[str] = field(default_factory=set)
    held: dict[str, str] = field(default_factory=dict)
    looked: dict[str, str] = field(default_factory=dict)
    used_up: dict[str, int] = field(default_factory=dict)


def announce(
    resources: Resources,
    found: Mapping[str, Unannounced],
    rows: Mapping[str, Rows],
    *,
    run_id: str,
    partitions: Collection[str],
) -> Announcing:
    """Say which partitions a run announces, and make sure that no other run does, too.

    A retry of the run's last task announces the same ones again, because the first try did not come so far.

    :param found: the candidates.
    :param partitions: the run's own, which are looked at even if nothing has changed since the last look.
    """
    announcing = Announcing()
    for partition, entry in sorted(found.items()):
        if entry.announced_by == run_id:
            announcing.ready.add(partition)
        elif entry.announced_by is None and partition in rows:
            digest = rows[partition].digest
            if digest != entry.seen or partition in partitions:
                _look(resources, partition, entry, rows[partition], announcing)
    _record(resources, found, announcing, run_id)
    return announcing


def settle_others(resources: Resources, run_id: str, have_announced: HaveAnnounced) -> OpenState:
    """Forget partitions that other runs have announced, take over those that they have failed to; return the state."""
    work = resources.work()
    state = work.open_state()
    others = {entry.announced_by for entry in state.unannounced.values()} - {None, run_id}
    known = have_announced(sorted(filter(None, others))) if others else {}
    if not known:
        return state

    def change(state: OpenState) -> OpenState:
        entries: dict[str, Unannounced] = {}
        for partition, entry in state.unannounced.items():
            told = known.get(entry.announced_by or "")
            if told is None:
                entries[partition] = entry
            elif not told:
                entries[partition] = replace(entry, announced_by=None)
        return replace(state, unannounced=entries)

    return work.change_open(change)


def _look(resources: Resources, partition: str, entry: Unannounced, rows: Rows, announcing: Announcing) -> None:
    problems = "; ".join(gate_problems(resources.declaration.gate, rows.counts))
    if problems:
        announcing.held[partition] = problems
        announcing.looked[partition] = rows.digest
        return
    try:
        looked = look_at(resources, partition, entry.listed_at)
    except (InputError, DuplicateItemError) as error:  # another day's list must not keep this one from being announced
        announcing.held[partition] = f"its list is wrong: {error}"
        return
    if looked.complete:
        announcing.ready.add(partition)
        announcing.used_up.update({partition: looked.used_up} if looked.used_up else {})
    else:
        announcing.looked[partition] = rows.digest


def _record(resources: Resources, found: Mapping[str, Unannounced], announcing: Announcing, run_id: str) -> None:
    """Write down who announces what; leave out what somebody else has claimed or announced meanwhile.

    What is written down as this run's is its own: an earlier swap of it may have arrived, and its reply been lost.
    """
    mine: set[str] = set()

    def change(state: OpenState) -> OpenState:
        free = candidates(resources, state, run_id)
        same = {name for name, entry in free.items() if entry == found.get(name)}
        written = {name for name, entry in free.items() if entry.announced_by == run_id}
        mine.clear()
        mine.update(announcing.ready & (same | written))
        looked = {name: replace(found[name], seen=announcing.looked[name]) for name in announcing.looked.keys() & same}
        announced = {name: replace(state.unannounced[name], announced_by=run_id) for name in mine}
        return replace(state, unannounced={**state.unannounced, **looked, **announced})

    resources.work().change_open(change)
    announcing.ready &= mine
