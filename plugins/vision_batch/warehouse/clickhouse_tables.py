"""Make and widen answer tables in ClickHouse, from any number of processes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from vision_batch.errors import SchemaConflictError
from vision_batch.warehouse.jobs import JobsTable
from vision_batch.warehouse.protocol import JOBS_TABLE, KEY, ColumnType, TableSpec
from vision_batch.warehouse.tables import QUESTIONS, kept_columns, missing_columns, name_taken, sql_type

_TYPES: dict[ColumnType, str] = {
    "string": "Nullable(String)",
    "integer": "Nullable(Int64)",
    "number": "Nullable(Float64)",
    "boolean": "Nullable(Bool)",
    "date": "Nullable(Date32)",
    "timestamp": "Nullable(DateTime64(6, 'UTC'))",
    "json": "Nullable(String)",
}

#: ARGUMENT_OUT_OF_BOUND: names become file names, so how long they may be is the server's to say.
_OUT_OF_BOUND = 69

#: What rows are sorted and versioned by cannot be null.
_ALWAYS_THERE = {**dict.fromkeys(KEY, "String"), "asked_at": "DateTime64(6, 'UTC')"}


def check(db: Client, spec: TableSpec) -> None:
    """Refuse what cannot be made of the table that is there, if any.

    :raises SchemaConflictError: says why.
    """
    _refuse_taken_names(db, spec)
    missing_columns(spec, found_columns(db, spec), wanted_columns(spec))
    jobs_table(db, spec).missing(_columns_of(db, spec, JOBS_TABLE))


def ensure(db: Client, spec: TableSpec, *, with_view: bool) -> list[str]:
    """Create what is missing of the table, its columns, its question, its view; return what was changed."""
    _refuse_taken_names(db, spec)
    try:
        changes = _ensure_columns(db, spec)
        jobs = jobs_table(db, spec)
        if jobs.missing(found := _columns_of(db, spec, JOBS_TABLE)):
            jobs.ensure(found)
        _note_question(db, spec)
        if with_view and not _view_is_right(db, spec):
            _replace_view(db, spec)
    except DatabaseError as error:
        if error.code != _OUT_OF_BOUND:
            raise
        raise SchemaConflictError(
            f"the name {spec.view!r} is too long for ClickHouse: give destination.table a shorter name ({error})"
        ) from error
    return changes


def found_columns(db: Client, spec: TableSpec) -> dict[str, str]:
    """Return the type of each column of the table, by name; nothing if there is no table."""
    return _columns_of(db, spec, spec.table)


def wanted_columns(spec: TableSpec) -> Mapping[str, str]:
    """Return the type that each column has to have, by name."""
    return {
        column.name: _ALWAYS_THERE.get(column.name) or sql_type(_TYPES, column.type, list_of="Array({})")
        for column in spec.columns
    }


def quoted(name: str) -> str:
    """Quote a name."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """Quote a text."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def jobs_table(db: Client, spec: TableSpec) -> JobsTable:
    """Return the table of jobs beside the answers."""

    def execute(sql: str) -> Sequence[Sequence[Any]]:
        if sql.startswith("SELECT"):
            return rows_of(db, sql)
        db.command(sql)
        return []

    return JobsTable(
        spec.schema,
        qualified(spec, JOBS_TABLE),
        execute,
        _TYPES,
        quote=quoted,
        literal=literal,
        created="CREATE TABLE IF NOT EXISTS {name} ({columns}) ENGINE = ReplacingMergeTree ORDER BY job_id",
        widened="ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {column}",
        key_type="String",
        comment_on=False,
        final=" FINAL",
    )


def has_jobs_table(db: Client, spec: TableSpec) -> bool:
    """Say whether jobs have been kept there yet."""
    return bool(_columns_of(db, spec, JOBS_TABLE))


def qualified(spec: TableSpec, name: str) -> str:
    """Return a name of the table's database, quoted."""
    return f"{quoted(spec.schema)}.{quoted(name)}"


def rows_of(db: Client, sql: str) -> Sequence[Sequence[Any]]:
    """Return what a query finds."""
    return db.query(sql).result_rows


def _columns_of(db: Client, spec: TableSpec, name: str) -> dict[str, str]:
    where = f"database = {literal(spec.schema)} AND table = {literal(name)}"
    return {str(name): str(kind) for name, kind in rows_of(db, f"SELECT name, type FROM system.columns WHERE {where}")}


def _refuse_taken_names(db: Client, spec: TableSpec) -> None:
    names = f"{literal(spec.table)}, {literal(spec.view)}"
    where = f"database = {literal(spec.schema)} AND name IN ({names})"
    for name, engine, order in rows_of(db, f"SELECT name, engine, sorting_key FROM system.tables WHERE {where}"):
        if name == spec.view and engine != "View":
            raise name_taken(spec, spec.view, "a table")
        if name == spec.table and engine.endswith("View"):
            raise name_taken(spec, spec.table, "a view")
        if name == spec.table and not (engine.endswith("ReplacingMergeTree") and order == ", ".join(KEY)):
            raise SchemaConflictError(
                f"{spec.name} is a {engine} ordered by ({order}), but answers need a ReplacingMergeTree ordered by "
                f"({', '.join(KEY)}): give destination.table another name"
            )


def _ensure_columns(db: Client, spec: TableSpec) -> list[str]:
    found, wanted, table = found_columns(db, spec), wanted_columns(spec), qualified(spec, spec.table)
    lines = {
        column: f"{quoted(column.name)} {wanted[column.name]} COMMENT {literal(column.comment)}"
        for column in spec.columns
    }
    if not found:
        db.command(f"CREATE DATABASE IF NOT EXISTS {quoted(spec.schema)}")
        db.command(
            f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(lines.values())}) ENGINE = ReplacingMergeTree(asked_at) "
            f"ORDER BY ({', '.join(KEY)}) COMMENT {literal(spec.comment)}"
        )
        return [f"created {spec.name}"]
    missing = missing_columns(spec, found, wanted)
    for column in missing:
        db.command(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {lines[column]}")
    return [*(f"added column {column.name}" for column in missing), *kept_columns(spec, found)]


def _note_question(db: Client, spec: TableSpec) -> None:
    questions = qualified(spec, QUESTIONS)
    db.command(
        f"CREATE TABLE IF NOT EXISTS {questions} (table_name String, question_key String, own UInt8, question String) "
        "ENGINE = ReplacingMergeTree(own) ORDER BY (table_name, question_key)"
    )
    row = f"{literal(spec.table)}, {literal(spec.question_key)}, {spec.own:d}, {literal(spec.question)}"
    same = f"table_name = {literal(spec.table)} AND question_key = {literal(spec.question_key)} AND own >= {spec.own:d}"
    if not rows_of(db, f"SELECT 1 FROM {questions} WHERE {same} AND question = {literal(spec.question)} LIMIT 1"):
        db.command(f"INSERT INTO {questions} (table_name, question_key, own, question) VALUES ({row})")


def _view_is_right(db: Client, spec: TableSpec) -> bool:
    where = f"database = {literal(spec.schema)} AND name = {literal(spec.view)}"
    (text,) = [row[0] for row in rows_of(db, f"SELECT as_select FROM system.tables WHERE {where}")] or [""]
    return spec.question_key in text and _columns_of(db, spec, spec.view).keys() >= found_columns(db, spec).keys()


def _replace_view(db: Client, spec: TableSpec) -> None:
    """Show, per item, the newest answer to this question, else its newest row."""
    db.command(
        f"CREATE OR REPLACE VIEW {qualified(spec, spec.view)} AS "
        f"SELECT * FROM {qualified(spec, spec.table)} FINAL WHERE question_key IN "
        f"(SELECT question_key FROM {qualified(spec, QUESTIONS)} WHERE own AND table_name = {literal(spec.table)}) "
        f"ORDER BY item_key, ifNull(question_key = {literal(spec.question_key)} AND status = 'answered', 0) DESC, "
        "asked_at DESC LIMIT 1 BY item_key"
    )
