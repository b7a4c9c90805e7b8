"""What another version of the project left in the work folder: keys it did not know are no reason to stop."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vision_batch import __version__
from vision_batch.enrichment.reader import load_declaration
from vision_batch.enrichment.stored import stored_question
from vision_batch.errors import ShardVersionError
from vision_batch.shards.folder import OpenState, Unannounced
from vision_batch.shards.records import (
    Fate,
    ManifestItem,
    RowRecord,
    items_from_parquet,
    items_to_parquet,
    rows_from_parquet,
    rows_to_parquet,
)
from vision_batch.shards.waiting import Waiting
from vision_batch.steps.resources import Resources

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ITEM = ManifestItem("a", "file:///a", "v1", "2026-11-24", None, 5, NOW, variables={"x": "1"})

#: Whose keys are names that people choose.
FREE = {"added_models", "variables"}


@pytest.fixture
def resources(project: Path, tmp_path: Path) -> Resources:
    environ = {"VISION_BATCH_WORK": f"file://{tmp_path}/work"}
    path = project / "include" / "enrichments" / "photo_quality.yaml"
    resources = Resources(load_declaration(path, include_folder=project / "include", environ=environ))
    resources.shard("s1").write_manifest([ITEM], stored_question(resources.declaration))
    return resources


def changed(resources: Resources, change: Callable[[dict[str, Any]], None]) -> Resources:
    """Change the shard's question.json as another version would have written it."""
    path = Path(resources.shard("s1").uri.removeprefix("file://")) / "question.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    return resources


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield a declaration's part and all that are in it."""
    if isinstance(value, dict):
        yield value
        for name, inner in value.items():
            if name not in FREE:
                yield from parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner)


def test_keys_that_are_not_known_are_passed_over_at_every_depth(resources):
    def add(record: dict[str, Any]) -> None:
        found = list(parts(record))
        assert len(found) > 15
        for part in found:
            part["of_a_later_version"] = {"deep": [1]}

    assert changed(resources, add).for_shard("s1") == resources


def test_a_shard_without_a_version_is_read(resources):
    assert changed(resources, lambda record: record.pop("made_by")).for_shard("s1") == resources


def test_a_declaration_that_cannot_be_read_is_told_with_its_shard_and_both_versions(resources):
    def change(record: dict[str, Any]) -> None:
        record["made_by"] = "9.1.0"
        record["declaration"]["destination"]["type"] = "snowflake"

    with pytest.raises(ShardVersionError) as caught:
        changed(resources, change).for_shard("s1")
    assert str(caught.value) == (
        f"shard s1 was claimed by version 9.1.0; this worker has version {__version__}, which cannot read its "
        "declaration (destination.type: Input should be 'duckdb', 'postgres', 'clickhouse', 'greenplum' or 'redshift'). "
        "Next: bring every worker to version 9.1.0, or let one that has it finish the shard."
    )


def test_a_question_that_would_be_another_one_without_the_keys_is_not_asked(resources):
    def change(record: dict[str, Any]) -> None:
        del record["made_by"]
        record["question_key"] = "0" * 64  # the other version's identity has its new key in it

    with pytest.raises(ShardVersionError, match=r"shard s1 was claimed by a version that did not .* another question"):
        changed(resources, change).for_shard("s1")


def test_a_stored_declaration_that_was_edited_is_told_as_that(resources):
    with pytest.raises(ShardVersionError, match=r"question\.json in its folder was changed since: undo that\."):
        changed(resources, lambda record: record["declaration"].update(prompt="Another?")).for_shard("s1")


def test_what_a_later_version_added_to_open_shards_is_passed_over(resources):
    work = resources.work()
    state = OpenState({}, {"2026-11-23": Waiting(NOW, 2, 1400, 800)}, {"2026-11-24": Unannounced("run", NOW)})
    work.change_open(lambda _: state)
    path = Path(work.folder.removeprefix("file://")) / "open.json"
    record = json.loads(path.read_text())
    for part in (record, record["waiting"]["2026-11-23"], record["unannounced"]["2026-11-24"]):
        part["of_a_later_version"] = 1
    path.write_text(json.dumps(record))
    assert work.open_state() == state


def test_columns_that_a_later_version_added_to_a_shards_rows_are_passed_over(resources):
    row = RowRecord("a", Fate.SENT, row=0)
    assert rows_from_parquet(with_a_column(rows_to_parquet([row]))) == [row]
    path = Path(resources.shard("s1").uri.removeprefix("file://")) / "manifest.parquet"
    path.write_bytes(with_a_column(path.read_bytes()))
    assert resources.shard("s1").manifest() == [ITEM]


def test_what_an_earlier_version_did_not_count_is_certain_of_nothing(resources):
    work = resources.work()
    work.change_open(lambda _: OpenState({}, {"2026-11-23": Waiting(NOW, 2, 1400, 800)}))
    path = Path(work.folder.removeprefix("file://")) / "open.json"
    record = json.loads(path.read_text())
    del record["waiting"]["2026-11-23"]["least_tokens"]
    path.write_text(json.dumps(record))
    assert work.open_state().waiting == {"2026-11-23": Waiting(NOW, 2, 1400, 0)}

    counted = replace(ITEM, tokens=700, least_tokens=400)
    assert items_from_parquet(items_to_parquet([counted])) == [counted]
    sink = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(items_to_parquet([counted]))).drop_columns("least_tokens"), sink)
    assert items_from_parquet(sink.getvalue()) == [replace(counted, least_tokens=0)]


def with_a_column(body: bytes) -> bytes:
    table = pq.read_table(io.BytesIO(body))
    sink = io.BytesIO()
    pq.write_table(table.append_column("of_a_later_version", pa.array(["x"] * table.num_rows)), sink)
    return sink.getvalue()


def test_the_declared_question_does_not_change_by_being_stored(resources):
    other = replace(resources, declaration=resources.declaration.model_copy(update={"revision": 2, "own": False}))
    other.shard("s2").write_manifest([ITEM], stored_question(other.declaration))
    assert other.for_shard("s2") == other
