"""Make and widen answer tables in PostgreSQL, from any number of processes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from vision_batch.errors import SchemaConflictError
from vision_batch.warehouse.jobs import JobsTable
from vision_batch.warehouse.protocol import JOBS_TABLE, KEY, Column, ColumnType, TableSpec
from vision_batch.warehouse.tables import (
    QUESTIONS,
    kept_columns,
    literal,
    missing_columns,
    name_taken,
    quoted,
    sql_type,
)

Connection = psycopg.Connection[tuple[Any, ...]]

#: The database's names of types.
TYPES: dict[ColumnType, str] = {
    "string": "text",
    "integer": "bigint",
    "number": "double precision",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp with time zone",
    "json": "jsonb",
}

#: Longer names are cut by PostgreSQL: two tables would become one.
MAX_NAME_BYTES = 63

_FOUND_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
"""

_FOUND_KINDS = """
SELECT c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname IN (%s, %s)
"""

_UNIQUE_KEYS = """
SELECT array_agg(a.attname::text) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
WHERE n.nspname = %s AND c.relname = %s AND i.indisunique AND i.indpred IS NULL GROUP BY i.indexrelid
"""


def check(db: Connection, spec: TableSpec) -> None:
    """Refuse what cannot be made of the table that is there, if any.

    :raises SchemaConflictError: says why.
    """
    _refuse_what_cannot_be(db, spec)
    missing_columns(spec, found_columns(db, spec), _wanted(spec))
    jobs_table(db, spec).missing(_columns_of(db, spec, JOBS_TABLE))


def ensure(db: Connection, spec: TableSpec, *, with_view: bool, table_clause: str = "") -> list[str]:
    """Create what is missing of the table, its columns, its question, its view; return what was changed.

    Usually nothing is, and then nothing is locked: a report that reads the table for hours holds nobody up.

    :param table_clause: what follows the columns of a new table.
    """
    _refuse_what_cannot_be(db, spec)
    found = found_columns(db, spec)
    if _is_complete(db, spec, found, with_view=with_view):
        return kept_columns(spec, found)
    _execute(db, f"SELECT pg_advisory_xact_lock(hashtext({literal(f'vision_batch {spec.schema}')}))")
    if with_view:
        _lock_view(db, spec)
    changes = _ensure_columns(db, spec, table_clause)
    jobs_table(db, spec).ensure(_columns_of(db, spec, JOBS_TABLE))
    _note_question(db, spec)
    if with_view:
        _replace_view(db, spec)
    return changes


def found_columns(db: Connection, spec: TableSpec) -> dict[str, str]:
    """Return the type of each column of the table, by name; nothing if there is no table."""
    return _columns_of(db, spec, spec.table)


def jobs_table(db: Connection, spec: TableSpec) -> JobsTable:
    """Return the table of jobs beside the answers."""

    def execute(sql: str) -> list[tuple[Any, ...]]:
        done = db.execute(sql.encode())
        return done.fetchall() if done.description else []

    return JobsTable(spec.schema, qualified(spec, JOBS_TABLE), execute, TYPES)


def has_jobs_table(db: Connection, spec: TableSpec) -> bool:
    """Say whether jobs have been kept there yet."""
    return bool(_columns_of(db, spec, JOBS_TABLE))


def lock_jobs(db: Connection, spec: TableSpec) -> None:
    """Let nobody else add jobs until this transaction ends."""
    _execute(db, f"SELECT pg_advisory_xact_lock(hashtext({literal(f'vision_batch jobs {spec.schema}')}))")


def qualified(spec: TableSpec, name: str) -> str:
    """Return a name of the table's schema, quoted."""
    return f"{quoted(spec.schema)}.{quoted(name)}"


def _columns_of(db: Connection, spec: TableSpec, name: str) -> dict[str, str]:
    return dict(db.execute(_FOUND_COLUMNS, [spec.schema, name]).fetchall())


def _refuse_what_cannot_be(db: Connection, spec: TableSpec) -> None:
    """Refuse what would lose answers or what is somebody else's, before anything is asked."""
    for name in (spec.schema, spec.view):
        if len(name.encode()) > MAX_NAME_BYTES:
            raise SchemaConflictError(
                f"the name {name!r} has {len(name.encode())} bytes; PostgreSQL allows {MAX_NAME_BYTES}: "
                "give destination.table a shorter name"
            )
    encoding = db.info.parameter_status("server_encoding")
    if encoding not in ("UTF8", "SQL_ASCII"):
        raise SchemaConflictError(f"the database holds texts as {encoding}; answers need one with the encoding UTF8")
    kinds: dict[str, str] = dict(db.execute(_FOUND_KINDS, [spec.schema, spec.table, spec.view]).fetchall())
    if kinds.get(spec.table, "r") not in ("r", "p"):
        raise name_taken(spec, spec.table, "a view")
    if kinds.get(spec.view, "v") != "v":
        raise name_taken(spec, spec.view, "a table")
    if spec.table in kinds:
        keys = db.execute(_UNIQUE_KEYS, [spec.schema, spec.table]).fetchall()
        if not any(sorted(names) == sorted(KEY) for (names,) in keys):
            raise SchemaConflictError(
                f"{spec.name} has no primary key of {' and '.join(KEY)}, so answers cannot be merged into it: "
                "give it one, or the answers another table"
            )


def _is_complete(db: Connection, spec: TableSpec, found: Mapping[str, str], *, with_view: bool) -> bool:
    if not found or missing_columns(spec, found, _wanted(spec)) or "question" not in _columns_of(db, spec, QUESTIONS):
        return False
    if jobs_table(db, spec).missing(_columns_of(db, spec, JOBS_TABLE)):
        return False
    if not db.execute(f"SELECT FROM {_noted(spec)}".encode()).fetchall():
        return False
    if not with_view:
        return True
    return _columns_of(db, spec, spec.view).keys() >= found.keys() and spec.question_key in _view_text(db, spec)


def _wanted(spec: TableSpec) -> Mapping[str, str]:
    return {column.name: sql_type(TYPES, column.type) for column in spec.columns}


def _ensure_columns(db: Connection, spec: TableSpec, table_clause: str) -> list[str]:
    found, wanted, table = found_columns(db, spec), _wanted(spec), qualified(spec, spec.table)
    if not found:
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in wanted.items())
        if not db.execute("SELECT FROM pg_namespace WHERE nspname = %s", [spec.schema]).fetchall():
            _execute(db, f"CREATE SCHEMA {quoted(spec.schema)}")
        keys = ", ".join(map(quoted, KEY))
        _execute(db, f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({keys})) {table_clause}")
        _execute(db, f"COMMENT ON TABLE {table} IS {literal(spec.comment)}")
        _comment(db, table, spec.columns)
        return [f"created {spec.name}"]
    missing = missing_columns(spec, found, wanted)
    for column in missing:
        _execute(db, f"ALTER TABLE {table} ADD COLUMN {quoted(column.name)} {wanted[column.name]}")
    _comment(db, table, missing)
    return [*(f"added column {column.name}" for column in missing), *kept_columns(spec, found)]


def _comment(db: Connection, table: str, columns: Sequence[Column]) -> None:
    for column in columns:
        _execute(db, f"COMMENT ON COLUMN {table}.{quoted(column.name)} IS {literal(column.comment)}")


def _noted(spec: TableSpec) -> str:
    """Return the FROM and WHERE that find the question as it should be noted."""
    own = " AND own" if spec.own else ""
    return (
        f"{qualified(spec, QUESTIONS)} WHERE table_name = {literal(spec.table)} "
        f"AND question_key = {literal(spec.question_key)} AND question = {literal(spec.question)}{own}"
    )


def _note_question(db: Connection, spec: TableSpec) -> None:
    """Keep the question's text; nobody else does, while the lock is held."""
    questions = qualified(spec, QUESTIONS)
    if not _columns_of(db, spec, QUESTIONS):
        _execute(
            db,
            f"CREATE TABLE {questions} (table_name text, question_key text, own boolean NOT NULL, "
            "question text NOT NULL, PRIMARY KEY (table_name, question_key))",
        )
    is_it = f"table_name = {literal(spec.table)} AND question_key = {literal(spec.question_key)}"
    _execute(db, f"UPDATE {questions} SET own = own OR {spec.own}, question = {literal(spec.question)} WHERE {is_it}")
    row = f"{literal(spec.table)}, {literal(spec.question_key)}, {spec.own}, {literal(spec.question)}"
    _execute(
        db,
        f"INSERT INTO {questions} (table_name, question_key, own, question) "
        f"SELECT {row} WHERE NOT EXISTS (SELECT FROM {questions} WHERE {is_it})",
    )


def _lock_view(db: Connection, spec: TableSpec) -> None:
    """Take the view before the table, as its readers do: in the other order we and they could wait for each other."""
    if _columns_of(db, spec, spec.view):
        _execute(db, f"ALTER VIEW {qualified(spec, spec.view)} ALTER COLUMN item_key DROP DEFAULT")  # changes nothing


def _view_text(db: Connection, spec: TableSpec) -> str:
    (text,) = db.execute("SELECT pg_get_viewdef(%s::regclass)", [qualified(spec, spec.view)]).fetchall()[0]
    return str(text)


def _replace_view(db: Connection, spec: TableSpec) -> None:
    """Show, per item, the newest answer to this question, else its newest row."""
    _execute(
        db,
        f"CREATE OR REPLACE VIEW {qualified(spec, spec.view)} AS "
        f"SELECT DISTINCT ON (item_key) * FROM {qualified(spec, spec.table)} WHERE question_key IN "
        f"(SELECT question_key FROM {qualified(spec, QUESTIONS)} WHERE own AND table_name = {literal(spec.table)}) "
        f"ORDER BY item_key, (question_key = {literal(spec.question_key)} AND status = 'answered') DESC, asked_at DESC",
    )


def _execute(db: Connection, sql: str) -> None:
    """Carry out a statement of which every name and value is quoted; bytes, because it is no constant."""
    db.execute(sql.encode())
