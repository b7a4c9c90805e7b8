"""Read what a plan has left in its folder for the claim."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from vision_batch.shards.folder import WorkFolder
from vision_batch.shards.records import ManifestItem, items_from_parquet
from vision_batch.shards.waiting import Waiting, waiting_from_record


@dataclass(frozen=True)
class PlanFile:
    """Read a plan's folder, one shard at a time.

    :param shards: how many there are.
    :param items: how many are in the shards or wait.
    :param waiting: items of small days, fewer than fill a shard.
    :param left: how many items are left to the next run, by partition.
    :param partitions: all that were looked at.
    :param own: those of them whose items make shards even if they were asked before: the run's, and those that waited.
    :param listed_at: when.
    :param floor_tokens: a shard waits if it is not certain to cost so many.
    :param repair_alone: whether items of other partitions that are asked again make shards, too.
    :param planned_until: when the last interval begins up to which the schedule is planned with it.
    :param unlisted: partitions that only it knows of, and that could not be listed.
    :param waiting_before: what waited of the partitions before they were listed.
    """

    work: WorkFolder
    uri: str
    shards: int
    items: int
    waiting: list[ManifestItem]
    left: Mapping[str, int]
    partitions: frozenset[str]
    own: frozenset[str]
    listed_at: datetime
    floor_tokens: int
    repair_alone: bool
    planned_until: datetime | None
    unlisted: list[str]
    waiting_before: Mapping[str, Waiting]

    @property
    def name(self) -> str:
        """Return a name that no other plan has."""
        return self.uri.rpartition("/")[2]

    def shard(self, number: int) -> list[ManifestItem]:
        """Return the items of one shard."""
        return items_from_parquet(self.work.store.read(shard_uri(self.uri, number)))

    def each_shard(self) -> Iterator[list[ManifestItem]]:
        """Yield the items of one shard after another."""
        yield from map(self.shard, range(self.shards))

    def rides(self, item: ManifestItem) -> bool:
        """Tell whether an item may only ride along with others."""
        return not self.repair_alone and item.attempt > 1 and item.partition not in self.own


def read_plan(work: WorkFolder, uri: str) -> PlanFile:
    """Return what a plan's folder says."""
    record = json.loads(work.store.read(f"{uri}/plan.json"))
    until = record.get("planned_until")
    return PlanFile(
        work=work,
        uri=uri,
        shards=record["shards"],
        items=record["planned"] + record["waiting"],
        waiting=items_from_parquet(work.store.read(f"{uri}/waiting.parquet")) if record["waiting"] else [],
        left=record["left"],
        partitions=frozenset(record["partitions"]),
        own=frozenset(record["own"]),
        listed_at=datetime.fromisoformat(record["listed_at"]),
        floor_tokens=record["floor_tokens"],
        repair_alone=record["repair_alone"],
        planned_until=until and datetime.fromisoformat(until),
        unlisted=record.get("unlisted", []),
        # A plan of a version that did not say so has seen nothing: what waits goes on, until it is listed again.
        waiting_before=waiting_from_record(record.get("waiting_before", {})),
    )


def shard_uri(uri: str, number: int) -> str:
    """Return the place of one shard's items in a plan's folder."""
    return f"{uri}/shard-{number}.parquet"
