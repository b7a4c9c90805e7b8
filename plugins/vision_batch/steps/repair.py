"""Find the images of other days that were asked without an answer and may be asked again."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from vision_batch.enrichment.candidates import KeySet
from vision_batch.enrichment.plan import PlannedItem
from vision_batch.enrichment.repair import Riders
from vision_batch.errors import DuplicateItemError, InputError
from vision_batch.steps.listing import items_named
from vision_batch.steps.resources import Resources

log = logging.getLogger(__name__)

#: How many images one plan may ask again besides its own days: those asked last come first.
MOST_ITEMS = 10_000


def find_riders(resources: Resources, partitions: Collection[str], claimed: KeySet) -> Riders:
    """Return what may ride along with a run's jobs: unsettled images of other partitions, as far as they are as asked.

    An image that was overwritten is a new one, and one that is gone stays as it is. Runs with another question than
    the declared one take nothing along.

    :param partitions: the run's own.
    :param claimed: keys of items that open shards ask.
    """
    limits, deadline = resources.declaration.limits, resources.declaration.repair.deadline
    rows = {} if not resources.declaration.own else _unsettled_rows(resources, {*partitions}, claimed)
    found = list(_as_asked(resources, rows))
    oldest: datetime | None = min((rows[each.item.item_key]["asked_at"] for each in found), default=None)
    is_due = deadline is not None and oldest is not None and datetime.now(UTC) - oldest > deadline
    return Riders(found, partitions=partitions, limits=limits, due_since=oldest if is_due else None)


def _unsettled_rows(resources: Resources, partitions: Collection[str], claimed: KeySet) -> Mapping[str, dict[str, Any]]:
    """Return the destination's rows by item key."""
    most = resources.declaration.limits.max_attempts
    rows = resources.warehouse().unsettled(resources.table(), MOST_ITEMS, max_attempts=most).to_pylist()
    taken = claimed.among(row["item_key"] for row in rows)
    return {row["item_key"]: row for row in rows if row["partition"] not in partitions and row["item_key"] not in taken}


def _as_asked(resources: Resources, rows: Mapping[str, dict[str, Any]]) -> Iterator[PlannedItem]:
    uris: dict[str, dict[str, str]] = defaultdict(dict)
    for key, row in rows.items():
        uris[row["partition"]][key] = row["image_uri"]
    for partition, members in uris.items():
        try:
            found = list(items_named(resources, partition, members))
        except (InputError, DuplicateItemError) as error:  # an old list must not keep a new day from being asked
            log.warning("%d images of %s cannot be asked again: %s", len(members), partition, error)
            continue
        for item in found:
            row = rows[item.item_key]
            if row["input_id"] == item.input_id:
                yield PlannedItem(item, row["attempt"] + 1)
