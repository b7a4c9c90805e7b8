"""Make and widen answer tables in Redshift. Names are compared without case, as Redshift does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vision_batch.errors import SchemaConflictError
from vision_batch.warehouse.jobs import JobsTable
from vision_batch.warehouse.protocol import JOBS_TABLE, KEY, Column, TableSpec
from vision_batch.warehouse.redshift_rows import TEXT, TYPES, cut, table_type
from vision_batch.warehouse.tables import QUESTIONS, kept_columns, missing_columns, name_taken, quoted

#: Carries out a statement and returns its rows, if it has any.
Execute = Callable[[str], Sequence[Sequence[Any]]]

#: The table whose lock writers hold. Nobody reads it, so nobody who reads waits for a writer, nor a writer for him.
LOCK = "vision_batch_lock"

#: The longest name. https://docs.aws.amazon.com/redshift/latest/dg/r_names.html
MAX_NAME_BYTES = 127


def literal(text: str) -> str:
    """Quote a text; Redshift takes a backslash as the beginning of an escape."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def qualified(spec: TableSpec, name: str) -> str:
    """Return a name of the table's schema, quoted."""
    return f"{quoted(spec.schema)}.{quoted(name)}"


def found_columns(execute: Execute, spec: TableSpec) -> dict[str, str]:
    """Return the type of each column of the table, by name; nothing if there is no table."""
    return _columns_of(execute, spec, spec.table)


def jobs_table(execute: Execute, spec: TableSpec) -> JobsTable:
    """Return the table of jobs beside the answers."""
    name, created = qualified(spec, JOBS_TABLE), "CREATE TABLE {name} ({columns}) DISTSTYLE ALL"
    return JobsTable(spec.schema, name, execute, TYPES, literal=lambda text: literal(cut(text)), created=created)


def has_jobs_table(execute: Execute, spec: TableSpec) -> bool:
    """Say whether jobs have been kept there yet."""
    return bool(_columns_of(execute, spec, JOBS_TABLE))


def has_lock(execute: Execute, spec: TableSpec) -> bool:
    """Say whether there is something to lock."""
    return bool(_columns_of(execute, spec, LOCK))


def make_lock(execute: Execute, spec: TableSpec) -> None:
    """Make the schema and what writers lock; another writer may do the same at once."""
    if not execute(f"SELECT 1 FROM pg_namespace WHERE lower(nspname) = lower({literal(spec.schema)})"):
        execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(spec.schema)}")
    execute(f"CREATE TABLE IF NOT EXISTS {qualified(spec, LOCK)} (nothing integer)")


def left_over(execute: Execute, spec: TableSpec, *, with_view: bool) -> list[str] | None:
    """Return which columns are left over, or ``None`` if something is missing: column, question or view.

    :raises SchemaConflictError: if it cannot be made.
    """
    _refuse_what_cannot_be(execute, spec)
    found = found_columns(execute, spec)
    if not found or missing_columns(spec, found, _wanted(spec)) or not _is_noted(execute, spec):
        return None
    if jobs_table(execute, spec).missing(_columns_of(execute, spec, JOBS_TABLE)):
        return None
    return kept_columns(spec, found) if not with_view or _view_is_right(execute, spec, found) else None


def ensure(execute: Execute, spec: TableSpec, *, with_view: bool) -> list[str]:
    """Create what is missing, under the lock; return what was changed, and which columns are left over."""
    if (kept := left_over(execute, spec, with_view=with_view)) is not None:
        return kept
    if with_view:
        _drop_narrow_view(execute, spec)
    changes = _ensure_columns(execute, spec)
    jobs_table(execute, spec).ensure(_columns_of(execute, spec, JOBS_TABLE))
    if not _is_noted(execute, spec):
        _note_question(execute, spec)
    if with_view and not _view_is_right(execute, spec, found := found_columns(execute, spec)):
        _replace_view(execute, spec, found)
    return changes


def _wanted(spec: TableSpec) -> dict[str, str]:
    return {column.name: table_type(column) for column in spec.columns}


def _columns_of(execute: Execute, spec: TableSpec, name: str) -> dict[str, str]:
    rows = execute(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)::text FROM pg_attribute a "
        "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE lower(n.nspname) = lower({literal(spec.schema)}) AND lower(c.relname) = lower({literal(name)}) "
        "AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
    return {str(column): str(kind) for column, kind in rows}


def _refuse_what_cannot_be(execute: Execute, spec: TableSpec) -> None:
    for name in (spec.schema, spec.view):
        if len(name.encode()) > MAX_NAME_BYTES:
            raise SchemaConflictError(
                f"the name {name!r} has {len(name.encode())} bytes; Redshift allows {MAX_NAME_BYTES}: "
                "give destination.table a shorter name"
            )
    names = f"lower({literal(spec.table)}), lower({literal(spec.view)})"
    kinds = execute(
        "SELECT lower(c.relname::text), c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE lower(n.nspname) = lower({literal(spec.schema)}) AND lower(c.relname) IN ({names})"
    )
    for name, kind in kinds:
        if name == spec.table.lower() and kind == "v":
            raise name_taken(spec, spec.table, "a view")
        if name == spec.view.lower() and kind != "v":
            raise name_taken(spec, spec.view, "a table")


def _ensure_columns(execute: Execute, spec: TableSpec) -> list[str]:
    found, wanted, table = found_columns(execute, spec), _wanted(spec), qualified(spec, spec.table)
    if not found:
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in wanted.items())
        sort_keys = ", ".join(map(quoted, KEY))
        execute(f"CREATE TABLE {table} ({columns}) DISTKEY (item_key) SORTKEY ({sort_keys})")
        execute(f"COMMENT ON TABLE {table} IS {literal(spec.comment)}")
        _comment(execute, table, spec.columns)
        return [f"created {spec.name}"]
    missing = missing_columns(spec, found, wanted)
    for column in missing:
        execute(f"ALTER TABLE {table} ADD COLUMN {quoted(column.name)} {wanted[column.name]}")
    _comment(execute, table, missing)
    return [*(f"added column {column.name}" for column in missing), *kept_columns(spec, found)]


def _comment(execute: Execute, table: str, columns: Iterable[Column]) -> None:
    for column in columns:
        execute(f"COMMENT ON COLUMN {table}.{quoted(column.name)} IS {literal(column.comment)}")


def _is_it(spec: TableSpec) -> str:
    return f"table_name = {literal(spec.table)} AND question_key = {literal(spec.question_key)}"


def _is_noted(execute: Execute, spec: TableSpec) -> bool:
    if "question" not in _columns_of(execute, spec, QUESTIONS):
        return False
    own = " AND own" if spec.own else ""
    same = f"{_is_it(spec)} AND question = {literal(spec.question)}{own}"
    return bool(execute(f"SELECT 1 FROM {qualified(spec, QUESTIONS)} WHERE {same}"))


def _note_question(execute: Execute, spec: TableSpec) -> None:
    questions, own = qualified(spec, QUESTIONS), str(spec.own).lower()
    if not _columns_of(execute, spec, QUESTIONS):
        execute(
            f"CREATE TABLE {questions} (table_name {TEXT}, question_key {TEXT}, own boolean, question {TEXT}) "
            "DISTSTYLE ALL"
        )
    if execute(f"SELECT 1 FROM {questions} WHERE {_is_it(spec)}"):
        execute(
            f"UPDATE {questions} SET own = (own OR {own}), question = {literal(spec.question)} WHERE {_is_it(spec)}"
        )
    else:
        row = f"{literal(spec.table)}, {literal(spec.question_key)}, {own}, {literal(spec.question)}"
        execute(f"INSERT INTO {questions} (table_name, question_key, own, question) VALUES ({row})")


def _view_is_right(execute: Execute, spec: TableSpec, found: dict[str, str]) -> bool:
    where = f"lower(schemaname) = lower({literal(spec.schema)}) AND lower(viewname) = lower({literal(spec.view)})"
    ((text,),) = execute(f"SELECT definition::text FROM pg_views WHERE {where}") or [("",)]
    return spec.question_key in str(text) and _columns_of(execute, spec, spec.view).keys() >= found.keys()


def _drop_narrow_view(execute: Execute, spec: TableSpec) -> None:
    """Drop a view without all columns, as it cannot be replaced; rights on it have to be granted again.

    Before the table is changed: in the other order we and who reads the view could wait for each other.
    """
    there = _columns_of(execute, spec, spec.view)
    if there and not there.keys() >= found_columns(execute, spec).keys() | _wanted(spec).keys():
        execute(f"DROP VIEW {qualified(spec, spec.view)}")


def _replace_view(execute: Execute, spec: TableSpec, found: Iterable[str]) -> None:
    """Show, per item, the newest answer to this question, else its newest row."""
    columns = ", ".join(map(quoted, found))
    execute(
        f"CREATE OR REPLACE VIEW {qualified(spec, spec.view)} AS SELECT {columns} FROM ("
        f"SELECT {columns}, row_number() OVER (PARTITION BY item_key ORDER BY "
        f"CASE WHEN question_key = {literal(spec.question_key)} AND status = 'answered' THEN 0 ELSE 1 END, "
        f"asked_at DESC) AS vision_batch_row FROM {qualified(spec, spec.table)} WHERE question_key IN "
        f"(SELECT question_key FROM {qualified(spec, QUESTIONS)} WHERE own AND table_name = {literal(spec.table)})"
        ") AS numbered WHERE vision_batch_row = 1"
    )
