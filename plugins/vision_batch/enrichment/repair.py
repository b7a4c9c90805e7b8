"""Let items that were asked without an answer ride along with jobs that leave anyway. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime

from vision_batch.enrichment.declaration import Limits
from vision_batch.enrichment.plan import PlannedItem, SettledItem, next_attempt, request_bytes
from vision_batch.enrichment.source import Item


class Riders:
    """Hold items of other partitions than a run's own, to be asked again with its jobs.

    :param items: with their attempt; the first ones board first.
    :param partitions: the run's own, whose items make jobs however often they were asked.
    :param due_since: when the item was asked that has waited longest, if that is so long ago that they may make a job.
    """

    def __init__(
        self,
        items: Iterable[PlannedItem],
        *,
        partitions: Collection[str],
        limits: Limits,
        due_since: datetime | None = None,
    ) -> None:
        self._items = {planned.item.item_key: planned for planned in items}
        self._partitions = frozenset(partitions)
        self._limits = limits
        self._due_since = due_since

    @property
    def due_since(self) -> datetime | None:
        """Return since when they have waited, if that is so long that they are to be asked by a job of their own."""
        return self._due_since if self._items else None

    @property
    def make_a_job(self) -> bool:
        """Tell whether they are to be asked even if no other job leaves."""
        return self.due_since is not None

    @property
    def keys(self) -> frozenset[str]:
        """Return the keys of those that have not boarded."""
        return frozenset(self._items)

    def leave(self) -> list[Item]:
        """Return all of them, to be asked like any others."""
        leaving = [planned.item for planned in self._items.values()]
        self._items.clear()
        return leaving

    def others(self, listed: Iterable[Item], settled: Mapping[str, SettledItem]) -> Iterator[Item]:
        """Yield the listed items that make jobs; those that may only ride along are passed over.

        :param settled: what the destination holds of them, by item key.
        """
        for item in listed:
            if item.partition in self._partitions:
                self._items.pop(item.item_key, None)
                yield item
            elif (next_attempt(item, settled.get(item.item_key), self._limits) or 1) == 1:
                yield item

    def board(self, shard: Collection[PlannedItem]) -> list[PlannedItem]:
        """Return those that find room in a shard; they ride in no other one. One that costs nothing makes no job."""
        if not any(planned.tokens for planned in shard):
            return []
        room = self._limits.max_rows_per_shard - len(shard)
        room_bytes = self._limits.max_bytes_per_shard - sum(request_bytes(planned.item) for planned in shard)
        boarded: list[PlannedItem] = []
        for planned in [*self._items.values()]:
            size = request_bytes(planned.item)
            if len(boarded) < room and size <= room_bytes:
                boarded.append(self._items.pop(planned.item.item_key))
                room_bytes -= size
        return boarded
