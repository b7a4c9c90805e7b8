"""Claim a plan's items, so that nobody else asks about them; adopt open shards that need somebody."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from vision_batch.enrichment.candidates import KeySet
from vision_batch.enrichment.identity import shard_key
from vision_batch.enrichment.plan import SettledItem, is_below
from vision_batch.enrichment.spending import price_of
from vision_batch.enrichment.stored import stored_question
from vision_batch.shards.folder import OpenShard, OpenShards, OpenState, Unannounced, WorkFolder
from vision_batch.shards.records import ManifestItem
from vision_batch.shards.waiting import Waiting, after_claim
from vision_batch.steps.budget import judged, refuse
from vision_batch.steps.crash import crash_point
from vision_batch.steps.plan import settled_items
from vision_batch.steps.plan_file import PlanFile, read_plan
from vision_batch.steps.resources import Resources

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claimed:
    """Name the shards a run has to bring forward.

    :param shards: keys of new and adopted shards, sorted.
    :param dropped: planned items that somebody else claimed or settled since the plan.
    :param waiting: items of small days that wait for more.
    """

    shards: tuple[str, ...]
    new: int
    adopted: int
    dropped: int
    waiting: int


def claim(
    resources: Resources, plan_uri: str, partitions: Sequence[str], run_id: str, *, approved: bool = False
) -> Claimed:
    """Swap the planned shards into ``open.json``, minus what was claimed or settled since the plan.

    Also returns every open shard that an earlier try of the run has claimed, every one with items of the run's
    partitions, and every one without a new event for ``limits.adopt_after``. Safe to call again: the same items make
    the same shard.

    The destination's table is made, or widened, before.

    :param approved: whether a person let the plan go above the budget.
    :raises BudgetExceededError: if nobody did, and it does, or would since other runs have claimed. Nothing is claimed.
    """
    work = resources.work()
    for change in resources.warehouse().ensure_table(resources.table()):
        log.info("Table %s: %s.", resources.declaration.destination.table, change)
    planned = read_plan(work, plan_uri)
    before = work.open_shards()
    with KeySet() as taken:
        claiming = _Claiming(resources, planned, run_id, taken, approved=approved)
        claiming.see(before)
        after = work.change_open(claiming.change).shards
    crash_point("after_claim")
    # Also those whose first swap has arrived without its reply, which the repeated one found there.
    made = {key: after[key] for key in claiming.tried if key in after and after[key].run_id == run_id}
    new = made.keys() - before.keys()
    adopted = {
        key
        for key, shard in after.items()
        if key not in new
        and (
            shard.run_id == run_id
            or set(shard.partitions) & set(partitions)
            or _is_orphan(work, shard, resources.declaration.limits.adopt_after)
        )
    }
    waiting = claiming.waiting.total()
    dropped = planned.items - sum(sum(shard.partitions.values()) for shard in made.values()) - waiting
    claimed = Claimed(tuple(sorted(new | adopted)), len(new), len(adopted), dropped, waiting)
    log.info("Claimed: %s", claimed)
    return claimed


class _Claiming:
    """Make claims of a plan's shards, one after another, as often as ``open.json`` has to be swapped.

    What is settled is looked up anew for each swap: between two tries another run may have opened a shard, loaded and
    closed it, and then the answers alone tell of it.

    :param taken: gets the items of open shards. None is ever taken out: a shard that is closed meanwhile has settled
        its items later than they were looked up here, or lets them wait.
    """

    def __init__(self, resources: Resources, planned: PlanFile, run_id: str, taken: KeySet, *, approved: bool) -> None:
        self._resources, self._planned, self._run_id, self._approved = resources, planned, run_id, approved
        self._work = resources.work()
        self._taken, self._seen = taken, set[str]()
        self.made: dict[str, OpenShard] = {}
        self.tried: set[str] = set()
        self.waiting: Counter[str] = Counter()
        self._waiting_tokens: Counter[str] = Counter()
        self._waiting_least: Counter[str] = Counter()
        self._led: set[str] = set()

    def see(self, shards: OpenShards) -> None:
        """Learn what open shards ask; their manifests are read once."""
        for key in shards.keys() - self._seen:
            self._seen.add(key)
            if shards[key].question_key == self._resources.declaration.question_key():
                self._taken.add(self._work.shard(key).item_keys())

    def change(self, found: OpenState) -> OpenState:
        """Return the state with the plan's shards in it."""
        self.see(found.shards)
        self.made, self._led = {}, set()
        self.waiting, self._waiting_tokens, self._waiting_least = Counter(), Counter(), Counter()
        self._tokens: list[list[int | None]] = []
        self._wait(self._free(self._planned.waiting))
        for items in self._planned.each_shard():
            free = self._free(items)
            leading = [item for item in free if not self._planned.rides(item)]
            # A whole one was looked at by the plan, which may send it because it is full.
            if len(free) < len(items) and is_below(leading, self._planned.floor_tokens):
                self._wait(leading)
            elif leading:
                self._make(free)
                self._led.update(item.partition for item in leading)
        self._stay_within_budget(found.shards)
        crash_point("before_claim")
        # A run with another question says nothing about the days that wait for the declared one.
        if not self._resources.declaration.own:
            return replace(found, shards={**found.shards, **self.made})
        moments = [each for each in (found.planned_until, self._planned.planned_until) if each is not None]
        return OpenState(
            {**found.shards, **self.made},
            self._all_waiting(found),
            self._all_unannounced(found),
            max(moments, default=None),  # a run that is done again does not move it back
        )

    def _free(self, items: Sequence[ManifestItem]) -> list[ManifestItem]:
        """Leave out what others have claimed or settled since the plan."""
        known = settled_items(self._resources, (item.item_key for item in items))
        taken = self._taken.among(item.item_key for item in items)
        return [item for item in items if item.item_key not in taken and not _settled_since(item, known)]

    def _make(self, items: list[ManifestItem]) -> None:
        key, items = _never_closed(self._resources, self._work, items)
        self.tried.add(key)
        self.made[key] = _entry(self._resources, key, items, self._run_id)
        self._tokens.append([item.tokens for item in items])
        self._work.shard(key).write_manifest(items, stored_question(self._resources.declaration))
        crash_point("after_manifest")

    def _stay_within_budget(self, shards: OpenShards) -> None:
        """Refuse to claim what other runs, which have claimed since the plan, have left no budget for."""
        if self._approved or not self.made.keys() - shards.keys():
            return
        price = price_of(self._tokens, self._resources.model, self._resources.unit_price)
        others = {key: entry for key, entry in shards.items() if key not in self.made}
        verdict = judged(self._resources, price.cost, others)
        if verdict is not None:
            refuse(verdict, instead="Clear the task plan: what is left is planned and priced anew")

    def _wait(self, items: Sequence[ManifestItem]) -> None:
        self.waiting.update(item.partition for item in items)
        for item in items:
            self._waiting_tokens[item.partition] += item.tokens or 0
            self._waiting_least[item.partition] += item.least_tokens

    def _all_waiting(self, found: OpenState) -> dict[str, Waiting]:
        """Return the partitions that wait now: those that the plan knew nothing of, and the ones with items left."""
        planned, now = self._planned, datetime.now(UTC)
        left: dict[str, Waiting] = {}
        for name in sorted({*self.waiting, *planned.left, *planned.unlisted}):
            count = self.waiting[name] + planned.left.get(name, 0)
            left[name] = Waiting(now, count, self._waiting_tokens[name], self._waiting_least[name], planned.name)
        return after_claim(found.waiting, left, seen=planned.waiting_before, looked_at=planned.partitions)

    def _all_unannounced(self, found: OpenState) -> dict[str, Unannounced]:
        """Return the partitions to announce when they are complete: those before, and those of the new shards."""
        unannounced = dict(found.unannounced)
        for name in {name for shard in self.made.values() for name in shard.partitions}:
            before = unannounced.get(name, Unannounced())
            # A plan that is claimed late does not forget what was listed since.
            own = self._planned.listed_at if name in self._planned.partitions else None
            listed_at = max((each for each in (own, before.listed_at) if each is not None), default=None)
            unannounced[name] = Unannounced(self._run_id if name in self._led else before.run_id, listed_at)
        return unannounced


def _never_closed(resources: Resources, work: WorkFolder, items: list[ManifestItem]) -> tuple[str, list[ManifestItem]]:
    """Return a shard key that is not closed yet, raising the attempt of items that a closed shard asked the same way.

    That happens when a shard was given up, or its answers were dropped from the destination by hand.
    """
    while True:
        key = key_of(resources, items)
        if work.shard(key).closed() is None:
            return key, items
        items = [replace(item, attempt=item.attempt + 1) for item in items]


def key_of(resources: Resources, items: Sequence[ManifestItem]) -> str:
    """Return the key of the shard that asks these items, in this attempt."""
    declaration = resources.declaration
    return shard_key(
        declaration.name,
        declaration.destination.identity(),
        declaration.question_key(),
        [(item.item_key, item.input_id, item.attempt) for item in items],
    )


def _settled_since(item: ManifestItem, settled: dict[str, SettledItem]) -> bool:
    found = settled.get(item.item_key)
    return found is not None and found.input_id == item.input_id and found.attempt >= item.attempt


def _entry(resources: Resources, key: str, items: Sequence[ManifestItem], run_id: str) -> OpenShard:
    partitions = dict(sorted(Counter(item.partition for item in items).items()))
    return OpenShard(key, resources.declaration.question_key(), partitions, datetime.now(UTC), run_id)


def _is_orphan(work: WorkFolder, shard: OpenShard, adopt_after: timedelta) -> bool:
    last = work.shard(shard.key).last_event_at() or shard.claimed_at
    return datetime.now(UTC) - max(last, shard.claimed_at) > adopt_after
