"""Find out what has to be asked, without changing anything but a plan file in the work folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from vision_batch.enrichment.candidates import Candidates, KeySet
from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.plan import SettledItem, take_turns
from vision_batch.enrichment.repair import Riders
from vision_batch.enrichment.spending import Price, Verdict, price_of
from vision_batch.shards.folder import OpenShards, OpenState, WorkFolder
from vision_batch.shards.waiting import waiting_record
from vision_batch.steps.budget import judged
from vision_batch.steps.listing import Listing
from vision_batch.steps.partitions import Missed, missed_partitions, partitions_before
from vision_batch.steps.plan_writer import PlanWriter, tokens_at_most
from vision_batch.steps.repair import find_riders
from vision_batch.steps.resources import Resources
from vision_batch.store.proof import prove_conditional_writes

log = logging.getLogger(__name__)

#: How many items are listed and looked up in the destination at once.
LOOKUP_ROWS = 20_000


@dataclass(frozen=True)
class PlanSummary:
    """Count what a plan found.

    :param uri: the plan's folder; :func:`vision_batch.steps.claim.claim` takes it.
    :param partitions: those asked for.
    :param missed: those before them that are taken along because the schedule stood still.
    :param more_missed: whether there are more of these than one run takes along.
    :param left: items beyond ``limits.max_shards_per_run``: the next run asks them, whatever its partitions.
    :param waiting: items of days too small for a job; they ride along with a later run.
    :param copied: planned items whose listing proves that they are copies of others in their shard; they cost nothing.
    :param price: what the shards cost at most.
    :param repair: planned items that are asked again, because they have no answer.
    :param repair_tokens: what these cost at most.
    :param repair_waiting: items of other days without an answer, which found no job to ride along with.
    :param used_up: settled items without an answer, which have been asked ``limits.max_attempts`` times.
    :param moved: items of other days than the run's own whose key a newer day has too; they are left out.
    :param skipped: other days than the run's own that could not be listed, and why; they are tried again by later runs.
    :param budget: what the declared budget says to the price; ``None`` without one.
    """

    uri: str
    partitions: tuple[str, ...]
    listed: int
    settled: int
    claimed: int
    left: int
    waiting: int
    planned: int
    copied: int
    shards: int
    price: Price
    repair: int
    repair_tokens: int
    repair_waiting: int
    used_up: int
    missed: tuple[str, ...] = ()
    more_missed: bool = False
    moved: int = 0
    skipped: Mapping[str, str] = field(default_factory=dict)
    budget: Verdict | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values."""
        budget = None if self.budget is None else self.budget.as_dict()
        names = {"partitions": list(self.partitions), "missed": list(self.missed)}
        return {**asdict(self), **names, "price": self.price.as_dict(), "budget": budget}


def plan(
    resources: Resources,
    partitions: Sequence[str],
    *,
    flush: bool = False,
    newest_first: bool = False,
    scheduled: datetime | None = None,
) -> PlanSummary:
    """List the items of partitions, subtract settled and claimed ones, cut the rest into shards.

    Taken along are partitions that wait for more, ``lookback`` days, and other partitions' items without an answer;
    not so by a run that asks another question than the declared one.

    :param partitions: oldest first; that is the order in which they are asked where one run cannot ask all.
    :param flush: let nothing wait.
    :param newest_first: ask the last partitions first.
    :param scheduled: when the data interval of a run by schedule begins: the partitions since the last such run are
        taken along, which a pause has left out.
    :raises DuplicateItemError: if a source gives one key twice.
    :raises SchemaConflictError: if the destination's columns contradict the declaration.
    :raises AuthenticationError: if there is something to ask and the service does not let us in.
    :raises ConnectionInputError: if the budget is in money, whose price is not known.
    """
    declaration = resources.declaration
    work = resources.work()
    state = work.open_state()
    missed = _missed(declaration, state, scheduled)
    asked = [*missed.partitions, *partitions]
    own = _own(declaration, asked, state, newest_first=newest_first)
    looked_at = [*own, *(each for each in _looked_back_at(declaration, asked) if each not in own)]
    listed_at = datetime.now(UTC)
    resources.warehouse().check_table(resources.table())
    with Candidates(looked_at, declaration.limits, asked=frozenset(partitions)) as found:
        listing = Listing(resources, looked_at, partitions)
        riders, repair_alone = _collect(resources, found, listing, own, state)
        packs = declaration.own and declaration.pack.min_tokens > 0 and not flush and not repair_alone
        floor_tokens = declaration.pack.min_tokens if packs else 0
        turns = take_turns(
            found.shards(),
            limits=declaration.limits,
            tokens=partial(tokens_at_most, resources),
            floor_tokens=floor_tokens,
        )
        writer = PlanWriter(resources, riders)
        price = price_of(writer.write(turns), resources.model, resources.unit_price)
    if writer.shards and resources.service_config is not None:
        _prove_access(resources)
    record = {
        "partitions": [each for each in looked_at if each not in listing.skipped],
        "own": [each for each in own if each not in listing.skipped],
        "listed_at": listed_at.isoformat(),
        "waiting_before": waiting_record({each: state.waiting[each] for each in looked_at if each in state.waiting}),
        "floor_tokens": floor_tokens,
        "repair_alone": repair_alone,
        "planned_until": missed.until and missed.until.isoformat(),
        "unlisted": [each for each in missed.partitions if each in listing.skipped],
    }
    writer.finish(record)
    summary = PlanSummary(
        uri=writer.uri,
        partitions=tuple(partitions),
        listed=listing.listed,
        settled=found.settled,
        claimed=found.claimed,
        left=writer.left.total(),
        waiting=writer.waiting,
        planned=writer.planned,
        copied=writer.copied,
        shards=writer.shards,
        price=price,
        repair=writer.repair,
        repair_tokens=writer.repair_tokens,
        repair_waiting=len(riders.keys),
        used_up=found.used_up,
        missed=missed.partitions,
        more_missed=bool(missed.partitions) and missed.until != scheduled,
        moved=found.moved,
        skipped=listing.skipped,
        budget=judged(resources, price.cost, state.shards),
    )
    log.info("Plan: %s", summary.as_dict())
    return summary


def _missed(declaration: Declaration, state: OpenState, scheduled: datetime | None) -> Missed:
    """Return what a run by schedule takes along because there was a pause before it; before the first one was none."""
    if scheduled is None or not declaration.own:
        return Missed()
    if state.planned_until is None:
        return Missed(until=scheduled)
    return missed_partitions(
        max(state.planned_until, declaration.start - timedelta(microseconds=1)),
        scheduled,
        cron=declaration.schedule,
        timezone=declaration.timezone,
        key_format=declaration.source.partition_format,
    )


def _own(declaration: Declaration, partitions: Sequence[str], state: OpenState, *, newest_first: bool) -> list[str]:
    """Return the run's partitions and those that wait, in the order in which they are asked."""
    asked = dict.fromkeys(reversed(partitions) if newest_first else partitions)
    waiting = sorted(state.waiting, key=lambda name: (state.waiting[name].since, name))
    return [*asked, *(name for name in waiting if declaration.own and name not in asked)]


def _looked_back_at(declaration: Declaration, partitions: Sequence[str]) -> list[str]:
    """Return the days before a run's partitions that are listed again, for images that came late."""
    return partitions_before(
        partitions,
        declaration.lookback if declaration.own else 0,
        cron=declaration.schedule,
        timezone=declaration.timezone,
        key_format=declaration.source.partition_format,
    )


def _collect(
    resources: Resources, found: Candidates, listing: Listing, own: Sequence[str], state: OpenState
) -> tuple[Riders, bool]:
    """List all partitions and look their items up, a few thousand at once.

    The open shards were read before: what is neither in one of them nor settled now is asked by nobody.

    :return: the items that may ride along, and whether these make a job of their own.
    """
    coming = iter(listing)
    work, question_key = resources.work(), resources.declaration.question_key()
    with claimed_items(work, state.shards, question_key) as claimed:
        riders = find_riders(resources, own, claimed)
        while items := list(islice(coming, LOOKUP_ROWS)):
            keys = [item.item_key for item in items]
            settled = settled_items(resources, keys)
            found.add(riders.others(items, settled), settled=settled, claimed=claimed.among(keys))
        for partition in listing.skipped:
            found.forget(partition)
        repair_alone = riders.make_a_job
        if repair_alone:
            leaving = riders.leave()
            found.add(leaving, settled=settled_items(resources, (item.item_key for item in leaving)))
    return riders, repair_alone


def settled_items(resources: Resources, item_keys: Iterable[str]) -> dict[str, SettledItem]:
    """Look up in the destination what is known of each item, by item key."""
    import pyarrow as pa

    wanted = pa.table({"item_key": pa.array(list(item_keys), pa.string())})
    if not wanted.num_rows:
        return {}
    found = resources.warehouse().settled(resources.table(), wanted)
    return {row["item_key"]: SettledItem(row["input_id"], row["status"], row["attempt"]) for row in found.to_pylist()}


def claimed_items(work: WorkFolder, shards: OpenShards, question_key: str) -> KeySet:
    """Return the keys of all items that open shards ask this question about; they are on disk until it is closed."""
    claimed = KeySet()
    for key, shard in shards.items():
        if shard.question_key == question_key:
            claimed.add(work.shard(key).item_keys())
    return claimed


def _prove_access(resources: Resources) -> None:
    """Try service and work folder, for free: what is wrong is better found now than after hours of preparing."""
    work = resources.work()
    prove_conditional_writes(work.store, work.folder)
    with resources.service() as service:
        service.list_datasets(name_pattern=resources.declaration.name)
