"""Say why a row is what it is, or why there is none: ``vision-batch explain ENRICHMENT ITEM_KEY``. Changes nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from vision_batch.enrichment.plan import SettledItem, next_attempt
from vision_batch.enrichment.reader import find_declaration
from vision_batch.enrichment.source import Item
from vision_batch.errors import ObjectMissingError, VisionBatchError
from vision_batch.shards.folder import OpenShard, ShardFolder
from vision_batch.shards.records import ManifestItem
from vision_batch.shards.state import Outcome
from vision_batch.steps.resources import Resources
from vision_batch.steps.ways import DESTINATION, STORAGE, FindWays, environment_ways
from vision_batch.store import ObjectInfo

_OUTCOMES = {
    Outcome.UNKNOWN: "its outcome is not known yet; the service's lists are looked at again",
    Outcome.REFUSED: "the service refused it for now",
    Outcome.REFUSED_FOR_GOOD: "the service refused it for good",
    Outcome.LOST: "it made no job",
}


def run(argv: Sequence[str], find_ways: FindWays = environment_ways) -> int:
    """Print what is known of an item."""
    parser = argparse.ArgumentParser(
        prog="vision-batch explain", description="Say why a row is what it is, or why there is none. Changes nothing."
    )
    parser.add_argument("enrichment", help="its name")
    parser.add_argument("item_key", help="the item's key: its URI")
    parser.add_argument("--include", type=Path, default=Path("include"), help="folder of the declarations")
    options = parser.parse_args(argv)
    try:
        with redirect_stdout(sys.stderr):  # what libraries have to say is no explanation
            declaration = find_declaration(options.enrichment, include_folder=options.include, environ=os.environ)
            ways = find_ways(declaration, None)
            ways.tell("explain", STORAGE, DESTINATION)
            lines = list(explain(ways.resources, options.item_key))
    except (VisionBatchError, OSError) as error:
        print(f"vision-batch explain: {error}", file=sys.stderr)  # noqa: T201 - a command line prints
        return 2
    print("\n".join(lines))  # noqa: T201
    return 0


def explain(resources: Resources, item_key: str) -> Iterator[str]:
    """Yield what destination, open shards and source know of an item, and what comes next; a line each."""
    yield item_key
    rows = _rows(resources, item_key)
    claims = list(_claims(resources, item_key))
    found = _in_source(resources, item_key)
    for row in rows:
        yield f"  {_row_line(resources, row)}"
    for entry, item in claims:
        yield f"  {_claim_line(resources, entry, item)}"
    if found is not None:
        yield f"  The source has it: {found.size_bytes} bytes, written {found.modified_at:%Y-%m-%d %H:%M} UTC."
    elif rows or claims:
        yield "  The source does not have it any more."
    if rows or claims or found is not None:
        yield f"  {_next(resources, rows, claims, found)}"
    else:
        yield "  never seen: it has no row, no shard asks it, and the source does not have it."


def _rows(resources: Resources, item_key: str) -> list[dict[str, Any]]:
    """Return the item's rows, the declared question's first."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.scalar(item_key)
    found: list[dict[str, Any]] = []
    for batch in resources.warehouse().answers(resources.table(), every_question=True):
        found += batch.filter(pc.equal(batch.column("item_key"), wanted)).to_pylist()
    return sorted(found, key=lambda row: (not _is_own(resources, row), row["asked_at"]))


def _is_own(resources: Resources, row: dict[str, Any]) -> bool:
    return bool(row["question_key"] == resources.declaration.question_key())


def _row_line(resources: Resources, row: dict[str, Any]) -> str:
    which = "" if _is_own(resources, row) else f" (another question, {row['question_key'][:8]}, to {row['model']})"
    what = f"{row['status']}, attempt {row['attempt']}{which}, shard {row['shard']}, partition {row['partition']}"
    by = f"by job {row['job_id']}" if row["job_id"] else "without a job"
    if row["copied_from"]:
        by = f"copied from {row['copied_from']}, whose content is the same"
    when = f", asked {row['asked_at']:%Y-%m-%d %H:%M} UTC, loaded by run {row['run_id']}"
    why = f": {row['error']}" if row["error"] else ""
    return f"{what}: {by}{when}{why}"


def _claims(resources: Resources, item_key: str) -> Iterator[tuple[OpenShard, ManifestItem]]:
    work = resources.work()
    for key, entry in sorted(work.open_shards().items()):
        for item in work.shard(key).manifest():
            if item.item_key == item_key:
                yield entry, item


def _claim_line(resources: Resources, entry: OpenShard, item: ManifestItem) -> str:
    shard = resources.shard(entry.key)
    return (
        f"claimed by shard {entry.key} since {entry.claimed_at:%Y-%m-%d %H:%M} UTC (run {entry.run_id}), "
        f"attempt {item.attempt}: {_state(shard, item)}"
    )


def _state(shard: ShardFolder, item: ManifestItem) -> str:
    """Say how far a shard is, as far as its folder tells."""
    if shard.loaded() is not None:
        return "loaded, not cleaned yet"
    dataset = shard.dataset()
    if dataset is None:
        return "its dataset is not ready"
    fates = {record.item_key: record for record in shard.rows(dataset.rows_name)}
    record = fates[item.item_key]
    fate = f"the item is {record.fate}" + (f" ({record.detail})" if record.detail else "")
    attempts = shard.attempts()
    if not attempts:
        return f"dataset {dataset.dataset_id} is ready, no job was asked for yet; {fate}"
    last = attempts[-1]
    if last.job_id is not None:
        return f"job {last.job_id} was made at {last.made_at:%Y-%m-%d %H:%M} UTC; {fate}"
    return f"call {last.number} was made at {last.made_at:%Y-%m-%d %H:%M} UTC, {_OUTCOMES[last.outcome]}; {fate}"


def _in_source(resources: Resources, item_key: str) -> ObjectInfo | None:
    source = resources.declaration.source
    if source.key_column is not None or source.variables or not item_key.startswith(source.prefixes()):
        return None
    try:
        return resources.source_store().info(item_key)
    except ObjectMissingError:
        return None


def _next(
    resources: Resources,
    rows: Sequence[dict[str, Any]],
    claims: Sequence[tuple[OpenShard, ManifestItem]],
    found: ObjectInfo | None,
) -> str:
    """Say what comes next for the item."""
    key = resources.declaration.question_key()
    if any(entry.question_key == key for entry, _ in claims):
        return "Next: the run that claimed it, or any later run over its partition, goes on with the shard."
    if found is None:
        return "Next: nothing; it is not asked again unless the source has it."
    own = next((row for row in rows if _is_own(resources, row)), None)
    item = Item(found.uri, found.uri, "", found.etag, found.size_bytes, found.modified_at)
    known = SettledItem(own["input_id"], own["status"], own["attempt"]) if own is not None else None
    attempt = next_attempt(item, known, resources.declaration.limits)
    used = f"{known.attempt if known else 0} of {resources.declaration.limits.max_attempts} attempts are used"
    if attempt is None:
        has_answer = known is None or known.is_final
        return "Next: nothing; it is settled." if has_answer else f"Next: nothing; it has no answer, and {used}."
    if attempt > 1:
        return f"Next: a run over its partition, or any job with room for it, asks it as attempt {attempt}: {used}."
    because = "it has not been asked" if own is None else "the image has changed since"
    return f"Next: the next run over its partition asks it, as attempt {attempt}: {because}."
