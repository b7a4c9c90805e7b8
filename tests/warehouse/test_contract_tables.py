"""Every destination over time: new fields, other questions, names that people choose, hands that interfere."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest
from places import FIELDS, NOON, SPEC, Place, answers, other_question

from vision_batch.errors import SchemaConflictError
from vision_batch.warehouse.protocol import Column, TableSpec

WIDER = other_question(SPEC, "q2", Column("colour", "string", "As people call it"))


def ask(place: Place, spec: TableSpec, hours: int = 0, *, status: str = "answered", **kinds: str) -> None:
    """Load one answer for each ``item=kind``."""
    asked_at = NOON + timedelta(hours=hours)
    rows = [{"item_key": item, "kind": kind, "status": status, "asked_at": asked_at} for item, kind in kinds.items()]
    place.open().load(spec, answers(spec, rows))


def current(place: Place) -> list[tuple]:
    return place.rows(what="item_key, question_key, kind", view=True)


def test_a_new_field_becomes_a_column_and_shows_in_the_view(place: Place):
    warehouse = place.open()
    warehouse.ensure_table(SPEC)
    ask(place, SPEC, a="photo")
    assert warehouse.ensure_table(WIDER) == ["added column colour"]
    assert warehouse.ensure_table(WIDER) == []
    assert place.rows(what="kind, colour", view=True) == [("photo", None)]


def test_a_field_that_only_an_overridden_run_brings_leaves_the_view_readable(place: Place):
    place.open().ensure_table(SPEC)
    ask(place, SPEC, a="photo")
    ask(place, replace(WIDER, own=False), a="drawing")
    assert current(place) == [("a", "q1", "photo")]


def test_a_removed_field_keeps_its_column_and_old_shards_can_still_be_loaded(place: Place):
    warehouse = place.open()
    warehouse.ensure_table(WIDER)
    narrow = replace(SPEC, question_key="q3")
    kept = ["column colour stays, empty in new rows: the declaration has no field for it"]
    assert warehouse.ensure_table(narrow) == warehouse.ensure_table(narrow) == kept
    ask(place, WIDER, a="of the old shard")
    ask(place, narrow, b="new")
    assert place.rows(what="item_key, colour") == [("a", None), ("b", None)]


def test_a_table_of_an_earlier_version_is_read_as_it_is_and_widened_by_the_next_load(place: Place):
    """A shard that was planned by the version before is prepared and loaded by this one."""
    place.open().ensure_table(SPEC)
    place.open().load(
        SPEC, answers(SPEC, [{"item_key": "a", "kind": "photo", "image_sha256": "h", "request_key": "r"}])
    )
    place.query(f"DROP VIEW {place.name(SPEC.schema, SPEC.view)}")
    place.query(f"ALTER TABLE {place.name(SPEC.schema, SPEC.table)} DROP COLUMN request_key")
    spec = replace(SPEC, fields=(*FIELDS, Column("sizes", "list[number]"), Column("parts", "json")))
    warehouse = place.open()
    assert warehouse.by_content(spec, pa.table({"request_key": ["r"]})).num_rows == 0
    copied = warehouse.by_content(spec, pa.table({"image_sha256": ["h"]}))
    [exported] = warehouse.answers(spec)
    for found in (copied, pa.Table.from_batches([exported])):
        assert found.schema == spec.arrow_schema()
        [row] = found.to_pylist()
        assert (row["item_key"], row["kind"], row["request_key"], row["parts"]) == ("a", "photo", None, None)
        assert not row["sizes"]
    ask(place, spec, b="drawing")
    assert place.rows(what="item_key, request_key") == [("a", None), ("b", None)]


@pytest.mark.parametrize("step", ["check_table", "ensure_table", "load"])
def test_another_type_is_refused_with_the_two_ways_out_and_changes_nothing(place: Place, step: str):
    warehouse = place.open()
    warehouse.ensure_table(SPEC)
    ask(place, SPEC, a="photo")
    other = replace(SPEC, question_key="q2", fields=(Column("extra", "date"), Column("kind", "integer"), FIELDS[1]))
    ways_out = r"column 'kind' of enrichment.photos is .*, but the declaration makes it .*: "
    with pytest.raises(
        SchemaConflictError, match=f"{ways_out}give the field another name, or the answers another table"
    ):
        warehouse.load(other, answers(other, [])) if step == "load" else getattr(warehouse, step)(other)
    assert current(place) == [("a", "q1", "photo")]
    assert warehouse.ensure_table(SPEC) == []
    assert "added column extra" in warehouse.ensure_table(replace(SPEC, fields=(*FIELDS, Column("extra", "integer"))))


def test_the_present_question_is_preferred_whatever_came_later(place: Place):
    """Old answers stay until the new question is answered; a late shard of the old one does not turn the view back."""
    warehouse = place.open()
    warehouse.ensure_table(SPEC)
    ask(place, SPEC, a="old", b="old")
    warehouse.ensure_table(WIDER)
    assert current(place) == [("a", "q1", "old"), ("b", "q1", "old")]
    ask(place, WIDER, 1, a="new")
    ask(place, SPEC, 2, a="late", b="late")
    assert current(place) == [("a", "q2", "new"), ("b", "q1", "late")]
    warehouse.ensure_table(SPEC)
    assert current(place) == [("a", "q1", "late"), ("b", "q1", "late")]


def test_without_an_answer_the_newest_row_is_shown(place: Place):
    place.open().ensure_table(SPEC)
    ask(place, SPEC, status="failed", a="nothing")
    ask(place, WIDER, 1, status="invalid", a="nothing either")
    assert current(place) == [("a", "q2", "nothing either")]


def test_overridden_runs_enter_the_view_only_when_their_question_is_declared(place: Place):
    warehouse = place.open()
    warehouse.ensure_table(SPEC)
    overridden = other_question(SPEC, "other model", own=False)
    warehouse.ensure_table(overridden)
    ask(place, overridden, 1, a="other", b="other")
    ask(place, SPEC, a="own")
    assert current(place) == [("a", "q1", "own")]
    warehouse.ensure_table(replace(overridden, own=True))
    assert current(place) == [("a", "other model", "other"), ("b", "other model", "other")]


def test_a_questions_text_is_there_once(place: Place):
    for spec in (SPEC, WIDER, replace(SPEC, own=False), SPEC, replace(SPEC, table="drawings")):
        place.open().ensure_table(spec)
        ask(place, spec, a="x")
    final = " FINAL" * (place.kind == "clickhouse")
    table = place.name("enrichment", "vision_batch_questions")
    assert place.query(f"SELECT table_name, question_key, question FROM {table}{final} ORDER BY 1, 2") == [
        ("drawings", "q1", SPEC.question),
        ("photos", "q1", SPEC.question),
        ("photos", "q2", WIDER.question),
    ]


@pytest.mark.parametrize(
    ("schema", "table"),
    [
        ("Схема\"с'`", "Фото-1; drop table x --"),
        ("order", "select"),
        ("main", "batch"),
        ("pg", "wanted"),
        ("a{b}", "100%'s \\"),
        ("d" * 60, "t" * 55),
    ],
)
def test_any_name_works(place: Place, schema: str, table: str):
    warehouse = place.open()
    odd = Column('цвет "товара"-1 %s', "string")
    fields = (Column("select", "string"), odd, Column("x" * 63, "date"))
    spec = replace(SPEC, schema=schema, table=table, fields=fields)
    assert warehouse.ensure_table(spec) == [f"created {schema}.{table}"]
    assert warehouse.ensure_table(spec) == []
    warehouse.load(spec, answers(spec, [{"item_key": "a", "select": "photo", odd.name: "ж"}]))
    assert warehouse.settled(spec, pa.table({"item_key": ["a"]})).num_rows == 1
    [counted] = warehouse.counts(spec, ["d"]).to_pylist()
    assert (counted["status"], counted["n"]) == ("answered", 1)
    assert place.rows(spec, f"{place.name('select')}, {place.name(odd.name)}", view=True) == [("photo", "ж")]


@pytest.mark.parametrize("name", ["t" * 140, "Фотографии товаров на полке " * 3], ids=["long", "long in bytes"])
def test_a_name_that_the_database_would_cut_is_refused(place: Place, name: str):
    spec = replace(SPEC, table=name)
    allows = (
        place.longest_name and rf"has 1\d\d bytes; \w+ allows {place.longest_name}: give destination.table a shorter"
    )
    if place.kind == "clickhouse" and not name.isascii():  # its names become files'
        allows = "is too long for ClickHouse: give destination.table a shorter name"
    if allows:
        with pytest.raises(SchemaConflictError, match=allows):
            place.open().ensure_table(spec)
    else:
        place.open().ensure_table(spec)
        ask(place, spec, a="photo")
        assert place.rows(spec, view=True) == [("a", "photo")]


def test_a_table_that_was_dropped_by_hand_is_made_again(place: Place):
    warehouse = place.open()
    warehouse.ensure_table(SPEC)
    ask(place, SPEC, a="photo")
    for kind, name in (("VIEW", SPEC.view), ("TABLE", SPEC.table)):
        place.query(f"DROP {kind} {place.name(SPEC.schema, name)}")
    assert warehouse.settled(SPEC, pa.table({"item_key": ["a"]})).num_rows == 0
    assert warehouse.by_content(SPEC, pa.table({"image_sha256": ["h"]})).num_rows == 0
    assert warehouse.counts(SPEC, ["d"]).num_rows == 0
    assert warehouse.unsettled(SPEC, 10, max_attempts=3).num_rows == 0
    assert list(warehouse.answers(SPEC)) == []
    ask(place, SPEC, b="drawing")
    assert place.rows() == [("b", "drawing")]
    assert warehouse.ensure_table(SPEC) == []
    assert current(place) == [("b", "q1", "drawing")]


@pytest.mark.parametrize(("ours", "message"), [("view", "photos_current is a table"), ("table", "photos is a view")])
def test_what_others_made_is_not_touched(place: Place, ours: str, message: str):
    place.query(f"CREATE {'DATABASE' if place.kind == 'clickhouse' else 'SCHEMA'} enrichment")
    engine = " ENGINE = Memory" * (place.kind == "clickhouse")
    place.query(
        f"CREATE TABLE enrichment.photos_current{engine} AS SELECT 1 AS a"
        if ours == "view"
        else "CREATE VIEW enrichment.photos AS SELECT 1 AS kind"
    )
    with pytest.raises(
        SchemaConflictError, match=rf"enrichment.{message} that was made by somebody else: rename it, or"
    ):
        place.open().ensure_table(SPEC)


def test_a_check_makes_nothing(place: Place):
    warehouse = place.open()
    warehouse.check_table(SPEC)
    assert warehouse.ensure_table(SPEC) == ["created enrichment.photos"]
    warehouse.check_table(WIDER)
    assert warehouse.ensure_table(WIDER) == ["added column colour"]
