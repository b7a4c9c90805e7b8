"""Hold the items of a plan in a temporary table on local disk, and give them back in order, cut into shards.

The memory of a plan does not grow with its items: SQLite keeps a few megabytes of the table and writes the rest to the
folder for temporary files, about 400 bytes for each item to ask and 100 for each other. Nothing is left there.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from vision_batch.enrichment.declaration import Limits
from vision_batch.enrichment.plan import (
    Extent,
    PlannedItem,
    SettledItem,
    Shard,
    cut,
    in_step,
    listed_content,
    measure,
    next_attempt,
    request_bytes,
)
from vision_batch.enrichment.source import Item
from vision_batch.errors import DuplicateItemError

#: What SQLite keeps of a table in memory.
CACHE_KIBIBYTES = 16_384

_SCHEMA = """
CREATE TABLE items (
    item_key TEXT PRIMARY KEY, place INTEGER, attempt INTEGER, partition TEXT, uri TEXT, etag TEXT,
    size_bytes INTEGER, modified_at TEXT, variables TEXT, content TEXT, request_bytes INTEGER
) WITHOUT ROWID
"""
#: Copies stand behind the first of them, so that they come into one shard, where they are one request.
_IN_ORDER = """
CREATE TABLE ordered AS
WITH copies AS (
    SELECT content, min(printf('%08d', place) || item_key) AS first, count(*) AS members
    FROM items WHERE attempt IS NOT NULL AND content IS NOT NULL GROUP BY content HAVING count(*) > 1
)
SELECT items.*, coalesce(members, 1) AS members FROM items LEFT JOIN copies USING (content)
WHERE attempt IS NOT NULL
ORDER BY coalesce(first, printf('%08d', place) || item_key), place, item_key
"""
_REQUESTS = "SELECT content, request_bytes FROM ordered ORDER BY rowid"
_SIDE = "SELECT * FROM ordered WHERE (request_bytes * :items > members * :bytes) = :heavy ORDER BY rowid"


class KeySet:
    """Hold any number of item keys on local disk."""

    def __init__(self) -> None:
        self._db = _open("CREATE TABLE keys (item_key TEXT PRIMARY KEY) WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, keys: Iterable[str]) -> None:
        """Add keys; those that are there already are no error."""
        self._db.executemany("INSERT OR IGNORE INTO keys VALUES (?)", ((key,) for key in keys))

    def among(self, keys: Iterable[str]) -> frozenset[str]:
        """Return those of ``keys`` that it holds."""
        query = "SELECT item_key FROM keys WHERE item_key IN (SELECT value FROM json_each(?))"
        return frozenset(key for (key,) in self._db.execute(query, (json.dumps(list(keys)),)))


class Candidates:
    """Take a plan's items; tell which are to be asked, and give these back in shards, the same from any order.

    It counts items that are ``settled``, those of them that are ``used_up`` without an answer, and ``claimed`` ones.

    :param partitions: in the order in which they are asked; items of others come last.
    :param asked: those of them that have to be right; ``None`` for all. An item of another whose key was added before
        is left out, and counted as ``moved``.
    """

    def __init__(self, partitions: Sequence[str], limits: Limits, *, asked: Collection[str] | None = None) -> None:
        self._places = {partition: place for place, partition in enumerate(partitions)}
        self._limits, self._asked = limits, asked
        self._db = _open(_SCHEMA)
        self.settled = self.used_up = self.claimed = self.moved = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, items: Iterable[Item], *, settled: Mapping[str, SettledItem], claimed: Iterable[str] = ()) -> None:
        """Add items.

        :param settled: what the destination holds of them, by item key.
        :param claimed: keys of those that open shards ask.
        :raises DuplicateItemError: if one of them, or one added before, has the same key.
        """
        taken, last = frozenset(claimed), ""
        items = self._without_moved(items)

        def rows() -> Iterator[tuple[Any, ...]]:
            nonlocal last
            for item in items:
                last = item.item_key
                yield self._row(item, settled.get(item.item_key), claimed=item.item_key in taken)

        try:
            self._db.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows())
        except sqlite3.IntegrityError:
            raise DuplicateItemError(f"item key {last!r} is there twice; every item needs a key of its own") from None

    def forget(self, partition: str) -> None:
        """Take out what is to be asked of a partition."""
        self._db.execute("DELETE FROM items WHERE partition = ?", (partition,))

    def _without_moved(self, items: Iterable[Item]) -> Iterable[Item]:
        if self._asked is None:
            return items
        found = list(items)
        query = "SELECT item_key FROM items WHERE item_key IN (SELECT value FROM json_each(?))"
        seen = {key for (key,) in self._db.execute(query, (json.dumps([item.item_key for item in found]),))}
        kept: list[Item] = []
        for item in found:
            if item.item_key in seen and item.partition not in self._asked:
                self.moved += 1
                continue
            seen.add(item.item_key)
            kept.append(item)
        return kept

    def _row(self, item: Item, known: SettledItem | None, *, claimed: bool) -> tuple[Any, ...]:
        attempt = None if claimed else next_attempt(item, known, self._limits)
        settled = attempt is None and not claimed
        self.claimed += claimed
        self.settled += settled
        self.used_up += settled and known is not None and not known.is_final
        if attempt is None:
            return (item.item_key, *[None] * 10)
        return (
            item.item_key,
            self._places.get(item.partition, len(self._places)),
            attempt,
            item.partition,
            None if item.uri == item.item_key else item.uri,
            item.etag,
            item.size_bytes,
            item.modified_at.isoformat(),
            json.dumps(dict(item.variables), ensure_ascii=False) if item.variables else None,
            listed_content(item),
            request_bytes(item),
        )

    def shards(self) -> Iterator[Shard]:
        """Yield the items to ask as shards within the limits, the same ones from any order of adding.

        Shards are filled partition by partition, unless that would take more than one shard above the least there
        can be, and one run may send them all: then large images are mixed with small ones.
        """
        self._db.execute("DROP TABLE IF EXISTS ordered")
        self._db.execute(_IN_ORDER)
        extent = measure(map(tuple, self._db.execute(_REQUESTS)), self._limits)
        fewest = extent.fewest_shards(self._limits)
        mix = extent.shards > fewest + 1 and fewest <= self._limits.max_shards_per_run
        in_order = map(_planned, self._db.execute("SELECT * FROM ordered ORDER BY rowid"))
        yield from cut(self._mixed(extent) if mix else in_order, self._limits)

    def _mixed(self, extent: Extent) -> Iterator[PlannedItem]:
        heavy, light = (
            self._db.execute(_SIDE, {"items": extent.items, "bytes": extent.bytes, "heavy": heavy})
            for heavy in (True, False)
        )
        return in_step(map(_unit, heavy), map(_unit, light), extent)


def _unit(row: sqlite3.Row) -> tuple[PlannedItem, int]:
    return _planned(row), row["members"]


def _planned(row: sqlite3.Row) -> PlannedItem:
    item = Item(
        item_key=row["item_key"],
        uri=row["uri"] or row["item_key"],
        partition=row["partition"],
        etag=row["etag"],
        size_bytes=row["size_bytes"],
        modified_at=datetime.fromisoformat(row["modified_at"]),
        variables=json.loads(row["variables"]) if row["variables"] else {},
    )
    return PlannedItem(item, row["attempt"], content=row["content"])


def _open(schema: str) -> sqlite3.Connection:
    """Open a database of its own without a name: SQLite deletes it when it is closed, or the process ends."""
    db = sqlite3.connect("", isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    db.execute(schema)
    db.execute("BEGIN")
    return db
