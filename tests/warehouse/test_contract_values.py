"""What every destination keeps of every value, and how it is looked up again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from places import FIELDS, NOON, SPEC, Place, answers, batch

from vision_batch.warehouse.protocol import UNSETTLED, Column, arrow_schema

TYPES = replace(
    SPEC,
    fields=(
        Column("text", "string"),
        Column("whole", "integer"),
        Column("real", "number"),
        Column("yes", "boolean"),
        Column("day", "date"),
        Column("object", "json"),
        Column("words", "list[string]"),
        Column("sizes", "list[integer]"),
        Column("prices", "list[number]"),
        Column("flags", "list[boolean]"),
        Column("days", "list[date]"),
    ),
)

TEXTS = {
    "empty": "",
    "quotes": "'single' \"double\" `back` \\ \\\\ %s {x} $1 :a",
    "lines": 'a\r\nb\n\\.\n\nc\td,"e"\n',
    "null": "NULL",
    "backslash n": "\\N",
    "cyrillic": "Ценник: «5 ₽»",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈",
    "json": '{"a": "\\u0000", "b": [1, null]}',
    "spaces": "  \u00a0\u200b\ufeff ",
    "a megabyte": "Я🙂\n" * 150_000,
}


def read(place: Place, spec=SPEC, *, every_question: bool = False) -> dict[str, dict]:
    """Give the rows of the table by item."""
    found = place.open().answers(spec, every_question=every_question)
    return {row["item_key"]: row for each in found for row in each.to_pylist()}


def test_texts_come_back_as_they_went_in(place: Place):
    """Among them an empty text, which is no null."""
    rows = [{"item_key": f"s3://b/{name}", "raw_text": text, "kind": text[:100]} for name, text in TEXTS.items()]
    sent = answers(SPEC, [*rows, {"item_key": "none"}])
    place.open().load(SPEC, sent)
    found = read(place)
    expected = {row["item_key"]: row for row in sent.to_pylist()}
    if place.kind == "redshift":  # it has room for 65535 bytes
        expected["s3://b/a megabyte"]["raw_text"] = TEXTS["a megabyte"].encode()[:65_532].decode(errors="ignore") + "…"
    assert found == expected
    assert {name: found[f"s3://b/{name}"]["raw_text"] for name in ("empty", "quotes")} == {
        "empty": "",
        "quotes": TEXTS["quotes"],
    }
    assert dict(place.rows(what="item_key, raw_text"))["s3://b/lines"] == TEXTS["lines"]


def test_a_zero_byte_is_kept_or_shown_as_replaced(place: Place):
    held = "\0" if place.has_zero_bytes else "\ufffd"
    spec = replace(SPEC, fields=(*FIELDS, Column("object", "json"), Column("words", "list[string]")))
    given = {"raw_text": "a\0b\0", "object": r'{"a":"\u0000","b":"\\u0000"}', "words": ["\0", "x"]}
    place.open().load(spec, answers(spec, [{"item_key": "a", **given}]))
    row = read(place, spec)["a"]
    assert (row["raw_text"], row["words"]) == (f"a{held}b{held}", [held, "x"])
    kept = row["object"].replace(" ", "").replace("\ufffd", r"\ufffd")
    assert kept == given["object"].replace(
        r'"a":"\u0000"', r'"a":"\u0000"' if place.has_zero_bytes else r'"a":"\ufffd"'
    )


def test_every_type_comes_back_as_it_went_in(place: Place):
    rows = [
        {
            "item_key": "a",
            "text": "x",
            "whole": -(2**63),
            "real": 0.1,
            "yes": False,
            "day": date(1900, 1, 1),
            "object": '{"a": [1, {"b": null}]}',
            "words": ["", "it's", 'a "b"', "c\\d", "{e,f}", "NULL", None, "ж🙂\n"],
            "sizes": [2**63 - 1, 0, None],
            "prices": [0.1, -1e300, 5e-324],
            "flags": [True, False, None],
            "days": [date(2028, 2, 29)],
            "asked_at": NOON + timedelta(microseconds=1),
            "answered_at": datetime(1970, 1, 1, tzinfo=UTC),
        },
        {"item_key": "b", "real": float("inf"), "words": [], "sizes": [], "prices": [], "flags": [], "days": []},
        {"item_key": "c", "real": -0.0, "whole": 2**53 + 1, "day": date(2299, 12, 31), "yes": True, "words": ["x"]},
    ]
    sent = answers(TYPES, rows)
    place.open().load(TYPES, sent)
    expected = {row["item_key"]: row for row in sent.to_pylist()}
    if place.kind == "clickhouse":  # it has no null lists
        for name in ("sizes", "prices", "flags", "days"):
            expected["c"][name] = []
    assert read(place, TYPES) == expected


def test_a_day_that_a_database_cannot_hold_is_left_out_not_changed(place: Place):
    days = {"first": date(1, 1, 1), "last": date(9999, 12, 31)}
    spec = replace(SPEC, fields=(Column("day", "date"),))
    place.open().load(spec, answers(spec, [{"item_key": name, "day": day} for name, day in days.items()]))
    expected = dict.fromkeys(days) if place.kind == "clickhouse" else days
    assert {name: row["day"] for name, row in read(place, spec).items()} == expected


def test_a_newer_row_takes_values_away_too(place: Place):
    warehouse = place.open()
    warehouse.load(SPEC, answers(SPEC, [{"item_key": "a", "kind": "photo", "price": 5.0}]))
    warehouse.load(SPEC, answers(SPEC, [{"item_key": "a", "status": "failed"}]))
    assert place.rows(what="kind, price, status") == [(None, None, "failed")]


def test_the_table_and_its_columns_say_what_they_are(place: Place):
    place.open().ensure_table(SPEC)
    sql = {
        "duckdb": "SELECT comment FROM duckdb_tables() UNION SELECT comment FROM duckdb_columns()",
        "clickhouse": "SELECT comment FROM system.tables UNION ALL SELECT comment FROM system.columns",
    }.get(place.kind, "SELECT description FROM pg_description")
    assert {("It's about 'photos'",), ("What it's about",), ("In roubles",)} <= set(place.query(sql))


def test_a_hundred_thousand_keys_are_looked_up(place: Place):
    warehouse = place.open()
    for start in range(0, 60_000, 20_000):
        warehouse.load(SPEC, batch(1, range(start, start + 20_000)))
    wanted = pa.table({"item_key": [f"item-{key:06d}" for key in range(10_000, 110_000)]})
    found = warehouse.settled(SPEC, wanted)
    assert found.schema.names == ["item_key", "input_id", "status", "attempt"]
    assert sorted(found.column("item_key").to_pylist()) == [f"item-{key:06d}" for key in range(10_000, 60_000)]
    assert sum(each.num_rows for each in warehouse.answers(SPEC)) == 60_000


def test_lookups_are_about_one_question_only(place: Place):
    warehouse, other = place.open(), replace(SPEC, question_key="q2")
    warehouse.load(SPEC, answers(SPEC, [{"item_key": "a", "input_id": "i", "attempt": 2, "status": "failed"}]))
    warehouse.load(other, answers(other, [{"item_key": "a", "input_id": "j"}, {"item_key": "b", "input_id": "k"}]))
    assert warehouse.settled(SPEC, pa.table({"item_key": ["a", "b", "a", "zzz"]})).to_pylist() == [
        {"item_key": "a", "input_id": "i", "status": "failed", "attempt": 2}
    ]
    assert warehouse.settled(SPEC, pa.table({"item_key": pa.array([], pa.string())})).num_rows == 0
    failed = {"partition": "d", "status": "failed", "n": 1, "asked_at": NOON}
    assert warehouse.counts(SPEC, ["d", "e"]).to_pylist() == [failed]
    assert warehouse.counts(other, ["d"]).to_pylist() == [{**failed, "status": "answered", "n": 2}]
    assert warehouse.unsettled(SPEC, 10, max_attempts=3).column("item_key").to_pylist() == ["a"]
    assert warehouse.unsettled(other, 10, max_attempts=3).num_rows == 0
    assert list(read(place)) == ["a"]
    assert sorted(read(place, other, every_question=True)) == ["a", "b"]


def test_rows_with_attempts_left_are_found_last_asked_first(place: Place):
    warehouse = place.open()
    statuses = ("answered", "invalid", "failed", "missing", "rejected")
    rows = [
        {
            "item_key": f"{status}-{attempt}",
            "status": status,
            "attempt": attempt,
            "input_id": "i",
            "image_uri": "s3://b/ü.jpg",
            "asked_at": NOON + timedelta(hours=attempt),
        }
        for status in statuses
        for attempt in (1, 2, 3)
    ]
    warehouse.load(SPEC, answers(SPEC, rows))
    found = warehouse.unsettled(SPEC, 100, max_attempts=3)
    assert found.schema == arrow_schema(UNSETTLED)
    names = [f"{status}-{attempt}" for attempt in (2, 1) for status in ("failed", "invalid", "missing")]
    sent = {row["item_key"]: {**row, "partition": "d"} for row in rows}
    assert found.to_pylist() == [{name: sent[key][name] for name in UNSETTLED} for key in names]
    assert warehouse.unsettled(SPEC, 2, max_attempts=3).column("item_key").to_pylist() == names[:2]
    assert warehouse.unsettled(SPEC, 9, max_attempts=1).num_rows == 0
    newer = [{"item_key": "failed-2", "asked_at": NOON + timedelta(hours=5)}]
    warehouse.load(SPEC, answers(SPEC, newer))
    assert warehouse.unsettled(SPEC, 9, max_attempts=3).column("item_key").to_pylist() == names[1:]


@pytest.mark.parametrize("column", ["image_sha256", "request_key"])
def test_equal_content_gives_its_oldest_answer(place: Place, column: str):
    warehouse = place.open()
    other = {"image_sha256": "request_key", "request_key": "image_sha256"}[column]
    rows = [
        {"item_key": "c", column: "h1", "kind": "later", "asked_at": NOON + timedelta(hours=1)},
        {"item_key": "b", column: "h1", "kind": "first"},
        {"item_key": "a", column: "h2", "status": "invalid"},
        {"item_key": "d", column: "h3", "kind": "unasked"},
        {"item_key": "e", other: "h4", "kind": "of a version without it"},
    ]
    warehouse.load(SPEC, answers(SPEC, rows))
    wanted = pa.table({column: ["h1", "h2", "h4", "zzz"]})
    found = warehouse.by_content(SPEC, wanted)
    assert found.schema == SPEC.arrow_schema()
    assert [(row["item_key"], row["kind"], row[other]) for row in found.to_pylist()] == [("b", "first", None)]
    assert warehouse.by_content(replace(SPEC, question_key="q2"), wanted).num_rows == 0
