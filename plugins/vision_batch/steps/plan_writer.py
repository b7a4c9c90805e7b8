"""Write a plan's folder, a shard at a time."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vision_batch.enrichment.plan import PlannedItem, Shard, Tokens, Turn, copies_in
from vision_batch.enrichment.repair import Riders
from vision_batch.enrichment.source import Item
from vision_batch.shards.records import ManifestItem, items_to_parquet
from vision_batch.steps.plan_file import shard_uri
from vision_batch.steps.resources import Resources


class PlanWriter:
    """Write shards, those who ride along included, and count what is in them."""

    def __init__(self, resources: Resources, riders: Riders) -> None:
        self._resources, self._riders = resources, riders
        self._work = resources.work()
        self.uri = f"{self._work.folder}/plans/{secrets.token_hex(8)}"
        self.shards = self.planned = self.copied = self.repair = self.repair_tokens = self.waiting = 0
        self.left: Counter[str] = Counter()

    def write(self, turns: Iterable[tuple[Turn, Shard]]) -> Iterator[list[int | None]]:
        """Write each shard that is sent or waits; yield the tokens of those that are sent."""
        for turn, shard in turns:
            if turn is Turn.LATER:
                self.left.update(planned.item.partition for planned in shard)
            elif turn is Turn.WAITS:
                self.waiting = len(shard)
                self._write(f"{self.uri}/waiting.parquet", shard)
            else:
                full = self._boarded(shard)
                self._write(shard_uri(self.uri, self.shards), full)
                self.shards += 1
                self.planned += len(full)
                self.copied += copies_in(full)
                again = [planned.tokens or 0 for planned in full if planned.attempt > 1]
                self.repair += len(again)
                self.repair_tokens += sum(again)
                yield [planned.tokens for planned in full]

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the file that makes it a plan."""
        counts = {"shards": self.shards, "planned": self.planned, "waiting": self.waiting, "left": self.left}
        body = json.dumps({"version": 1, **counts, **record}, indent=2) + "\n"
        self._work.store.create(f"{self.uri}/plan.json", body.encode())

    def _boarded(self, shard: Shard) -> Shard:
        """Return a shard with those who ride along in it, and what they cost."""
        boarded = self._riders.board(shard)
        tokens = tokens_at_most(self._resources, [planned.item for planned in boarded])
        return (*shard, *(planned.costing(tokens[planned.item.item_key]) for planned in boarded))

    def _write(self, uri: str, shard: Shard) -> None:
        self._work.store.create(uri, items_to_parquet(list(map(_manifest_item, shard))))


def _manifest_item(planned: PlannedItem) -> ManifestItem:
    item = planned.item
    return ManifestItem(
        item_key=item.item_key,
        uri=item.uri,
        input_id=item.input_id,
        partition=item.partition,
        etag=item.etag,
        size_bytes=item.size_bytes,
        modified_at=item.modified_at,
        attempt=planned.attempt,
        variables=item.variables,
        tokens=planned.tokens,
        least_tokens=planned.least_tokens,
    )


def tokens_at_most(resources: Resources, items: Sequence[Item]) -> dict[str, Tokens | None]:
    """Return what requests cost, by item key."""
    from vision_batch.steps.price import tokens_of  # noqa: PLC0415 - heavy

    return tokens_of(resources, items)
