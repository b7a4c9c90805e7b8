"""Decide what is asked, cut it into shards, say which of them are sent. Pure, and in the memory of two shards."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import NamedTuple, Protocol

from vision_batch.enrichment.declaration import Limits
from vision_batch.enrichment.source import Item

#: Base64 makes a request larger than its image; prompt and JSON around it are small beside that.
REQUEST_OVERHEAD_BYTES = 16_384

_PLAIN_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class SettledItem:
    """Say what the destination holds of an item."""

    input_id: str
    status: str
    attempt: int

    @property
    def is_final(self) -> bool:
        """Tell whether the item is settled however often it was asked."""
        return self.status in {"answered", "rejected"}


class Tokens(NamedTuple):
    """Bound what asking an item costs.

    :param most: what it is priced with.
    :param least: what is certain to be billed: a job's minimum charge is filled with that.
    """

    most: int
    least: int


@dataclass(frozen=True)
class PlannedItem:
    """Ask an item, for the ``attempt``-th time.

    :param tokens: what it costs at most, 0 for a copy; ``None`` if that is not known, or if it cannot be sent.
    :param least_tokens: what it costs at least.
    :param content: the same text for items that are one request; ``None`` where only reading them would tell.
    """

    item: Item
    attempt: int
    tokens: int | None = None
    content: str | None = None
    least_tokens: int = 0

    def costing(self, tokens: Tokens | None) -> PlannedItem:
        """Return it with what it costs; ``None`` if it cannot be sent."""
        most, least = (None, 0) if tokens is None else tokens
        return replace(self, tokens=most, least_tokens=least)


Shard = tuple[PlannedItem, ...]


class Turn(StrEnum):
    """Say what becomes of a shard in this run."""

    NOW = "now"
    #: It is a small day's, and rides along with a later run.
    WAITS = "waits"
    #: It is one more than a run may make.
    LATER = "later"


@dataclass(frozen=True)
class Extent:
    """Say how much there is to ask.

    :param bytes: of its requests, where items of proven equal content are one.
    :param shards: as many as filling them in order makes.
    """

    items: int
    bytes: int
    shards: int

    def fewest_shards(self, limits: Limits) -> int:
        """Return the number of shards that no way of cutting can go below."""
        return max(-(-self.items // limits.max_rows_per_shard), -(-self.bytes // limits.max_bytes_per_shard))


class _Filling:
    """Fill one shard after another, in the order in which items come."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._items = self._bytes = 0
        self._content: str | None = None
        self.extent = Extent(0, 0, 0)

    def begins_shard(self, content: str | None, request_bytes: int) -> bool:
        """Put one item in; tell whether it is the first of a new shard. Copies in one shard need no bytes."""
        more = 0 if content is not None and content == self._content else request_bytes
        full = self._items >= self._limits.max_rows_per_shard or self._bytes + more > self._limits.max_bytes_per_shard
        begins = full or not self._items
        if begins:
            self._items = self._bytes = 0
        size = request_bytes if begins else more
        self._items, self._bytes, self._content = self._items + 1, self._bytes + size, content
        before = self.extent
        self.extent = Extent(before.items + 1, before.bytes + more, before.shards + begins)
        return begins


def measure(requests: Iterable[tuple[str | None, int]], limits: Limits) -> Extent:
    """Return how much there is to ask.

    :param requests: content and bytes of each item in order, copies one after another.
    """
    filling = _Filling(limits)
    for content, size in requests:
        filling.begins_shard(content, size)
    return filling.extent


def cut(items: Iterable[PlannedItem], limits: Limits) -> Iterator[Shard]:
    """Fill shards in the order of the items, copies one after another, and yield each as it is full."""
    filling = _Filling(limits)
    shard: list[PlannedItem] = []
    for planned in items:
        if filling.begins_shard(planned.content, request_bytes(planned.item)) and shard:
            yield tuple(shard)
            shard = []
        copy = shard and planned.content is not None and planned.content == shard[-1].content
        shard.append(replace(planned, tokens=0) if copy else planned)
    if shard:
        yield tuple(shard)


def in_step(
    heavy: Iterator[tuple[PlannedItem, int]], light: Iterator[tuple[PlannedItem, int]], extent: Extent
) -> Iterator[PlannedItem]:
    """Mix large images with small ones, so that bytes and items come in the same proportion from first to last.

    Then no shard is full of the one and nearly empty of the other, and each closed shard lacks at most three requests
    of what there is most of. For requests of up to 1/3(n + 1) of a shard that makes n + 1 shards where n are the least.

    :param heavy: items of more bytes than the mean, each with how many there are of its content, one after another.
    :param light: the others.
    """
    sides = {True: heavy, False: light}
    heads = {side: next(items, None) for side, items in sides.items()}
    ahead = 0
    while True:
        side = heads[False] is None or (ahead <= 0 and heads[True] is not None)
        if (head := heads[side]) is None:
            return
        planned, members = head
        yield planned
        yield from (copy for copy, _ in islice(sides[side], members - 1))
        ahead += request_bytes(planned.item) * extent.items - members * extent.bytes
        heads[side] = next(sides[side], None)


#: Counts items, by key; ``None`` for those that cannot be sent.
CountTokens = Callable[[Sequence[Item]], Mapping[str, Tokens | None]]


def take_turns(
    shards: Iterable[Shard],
    *,
    limits: Limits,
    tokens: CountTokens | None = None,
    floor_tokens: int = 0,
) -> Iterator[tuple[Turn, Shard]]:
    """Say of each shard whether it is sent now. Only the last one can be too small for that.

    :param tokens: counts items, by key; called for each shard that this run may send. Needed with a floor only.
    :param floor_tokens: the last shard waits if it is not certain to be billed so many; 0 lets nothing wait.
    """
    coming = iter(shards)
    following = next(coming, None)
    number = 0
    while following is not None:
        shard, following = following, next(coming, None)
        number += 1
        if number > limits.max_shards_per_run:
            yield Turn.LATER, shard
            continue
        counted = shard if tokens is None else _counted(shard, tokens)
        small = following is None and is_below(counted, floor_tokens)
        yield Turn.WAITS if small else Turn.NOW, counted


def _counted(shard: Shard, tokens: CountTokens) -> Shard:
    """Write to each item what it costs; copies cost nothing, and that is known."""
    counts = tokens([planned.item for planned in shard if planned.tokens is None])
    return tuple(
        planned if planned.tokens is not None else planned.costing(counts.get(planned.item.item_key))
        for planned in shard
    )


def copies_in(shard: Shard) -> int:
    """Return how many items of a shard are known to be copies of another one in it."""
    return sum(planned.tokens == 0 for planned in shard)


class Counted(Protocol):
    """What has tokens: planned items, and items of a manifest."""

    @property
    def tokens(self) -> int | None:
        """Return the tokens at most; ``None`` if they are not known, or if nothing will be sent."""

    @property
    def least_tokens(self) -> int:
        """Return the tokens at least."""


def is_below(shard: Sequence[Counted], floor_tokens: int) -> bool:
    """Tell whether a shard is too small to be paid for now. One that costs nothing is not.

    What it costs at most says nothing about that: the longest answers do not come, and the floor would be billed
    without being used.
    """
    return any(item.tokens for item in shard) and sum(item.least_tokens for item in shard) < floor_tokens


def next_attempt(item: Item, known: SettledItem | None, limits: Limits) -> int | None:
    """Return for the how-manieth time an item is to be asked, or ``None`` if it is settled."""
    if known is None or known.input_id != item.input_id:
        return 1
    if known.is_final or known.attempt >= limits.max_attempts:
        return None
    return known.attempt + 1


class Stored(Protocol):
    """What lies in storage: items, and items of a manifest."""

    @property
    def size_bytes(self) -> int:
        """Return the size of the image as it is."""


def request_bytes(item: Stored) -> int:
    """Return an estimate of an item's request in the dataset: its image as it is, in base64."""
    return item.size_bytes * 4 // 3 + REQUEST_OVERHEAD_BYTES


def listed_content(item: Item) -> str | None:
    """Return what tells an item's request from others, if its listing does: a plain MD5 as ETag, and the size.

    ETags of parts, ``<md5>-<parts>``, and of files say nothing about content.
    """
    if item.etag is None or not _PLAIN_MD5.fullmatch(item.etag):
        return None
    return request_content(item, item.etag)


def request_content(item: Item, digest: str) -> str:
    """Return what tells an item's request from others, by the digest of its image."""
    said = json.dumps(item.variables, ensure_ascii=False, sort_keys=True) if item.variables else ""
    return f"{digest} {item.size_bytes} {said}"
