"""Make, widen and name tables in a DuckDB file."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import duckdb

from vision_batch.warehouse.jobs import JobsTable
from vision_batch.warehouse.protocol import JOBS_TABLE, Column, ColumnType, TableSpec
from vision_batch.warehouse.tables import (
    QUESTIONS,
    kept_columns,
    literal,
    missing_columns,
    name_taken,
    quoted,
    selected,
    sql_type,
)

#: The database's names of types.
TYPES: dict[ColumnType, str] = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "json": "JSON",
}


def refuse_taken_names(db: duckdb.DuckDBPyConnection, spec: TableSpec) -> None:
    """Refuse to write into somebody's view, or to put the view where somebody's table is."""
    found = db.execute(
        "SELECT view_name, 'a view' FROM duckdb_views() WHERE database_name = current_database() "
        "AND lower(schema_name) = lower($schema) AND lower(view_name) = lower($table) "
        "UNION ALL SELECT table_name, 'a table' FROM duckdb_tables() WHERE database_name = current_database() "
        "AND lower(schema_name) = lower($schema) AND lower(table_name) = lower($view)",
        {"schema": spec.schema, "table": spec.table, "view": spec.view},
    ).fetchall()
    for name, kind in found:
        raise name_taken(spec, name, kind)


def ensure_columns(db: duckdb.DuckDBPyConnection, spec: TableSpec) -> list[str]:
    """Make the table, or the columns that it lacks; return what was changed, and what was kept."""
    found, table = found_columns(db, spec), qualified(db, spec, spec.table)
    wanted = wanted_columns(spec)
    if not found:
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in wanted.items())
        db.execute(f"CREATE SCHEMA IF NOT EXISTS {_schema(db, spec)}")
        db.execute(f"CREATE TABLE {table} ({columns})")
        db.execute(f"COMMENT ON TABLE {table} IS {literal(spec.comment)}")
        _comment(db, table, spec.columns)
        return [f"created {spec.name}"]
    missing = missing_columns(spec, found, wanted)
    for column in missing:
        db.execute(f"ALTER TABLE {table} ADD COLUMN {quoted(column.name)} {wanted[column.name]}")
    _comment(db, table, missing)
    return [*(f"added column {column.name}" for column in missing), *kept_columns(spec, found)]


def wanted_columns(spec: TableSpec) -> dict[str, str]:
    """Return the type of each column of the answers."""
    return {column.name: sql_type(TYPES, column.type) for column in spec.columns}


def jobs_table(db: duckdb.DuckDBPyConnection, spec: TableSpec) -> JobsTable:
    """Return the table of jobs beside a table of answers."""
    name = qualified(db, spec, JOBS_TABLE)
    return JobsTable(spec.schema, name, lambda sql: db.execute(sql).fetchall(), TYPES)


def found_columns(db: duckdb.DuckDBPyConnection, spec: TableSpec, table: str = "") -> dict[str, str]:
    """Return the type of each column by its name in lower case, as DuckDB compares names."""
    rows = db.execute(
        "SELECT lower(column_name), data_type FROM duckdb_columns() WHERE database_name = current_database() "
        "AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?)",
        [spec.schema, table or spec.table],
    ).fetchall()
    return dict(rows)


def selected_columns(spec: TableSpec, found: Collection[str]) -> str:
    """Return what to select for all columns of the answers, absent ones as NULL."""
    return selected(
        spec,
        found,
        lambda column: f"t.{quoted(column.name)}",
        lambda column: f"CAST(NULL AS {sql_type(TYPES, column.type)}) AS {quoted(column.name)}",
    )


def _comment(db: duckdb.DuckDBPyConnection, table: str, columns: Sequence[Column]) -> None:
    for column in columns:
        db.execute(f"COMMENT ON COLUMN {table}.{quoted(column.name)} IS {literal(column.comment)}")


def note_question(db: duckdb.DuckDBPyConnection, spec: TableSpec) -> None:
    """Keep the full text of a question, and whether it is the declaration's own."""
    questions = qualified(db, spec, QUESTIONS)
    db.execute(f"CREATE TABLE IF NOT EXISTS {questions} (table_name VARCHAR, question_key VARCHAR, own BOOLEAN)")
    db.execute(f"ALTER TABLE {questions} ADD COLUMN IF NOT EXISTS question VARCHAR")
    db.execute(
        f"MERGE INTO {questions} q USING (SELECT ? AS table_name, ? AS question_key, ? AS own, ? AS question) n "
        "USING (table_name, question_key) "
        "WHEN MATCHED THEN UPDATE SET own = q.own OR n.own, question = n.question WHEN NOT MATCHED THEN INSERT BY NAME",
        [spec.table, spec.question_key, spec.own, spec.question],
    )


def replace_view(db: duckdb.DuckDBPyConnection, spec: TableSpec) -> None:
    """Show, per item, the newest answer to this question, else its newest row.

    The view's body names tables without their schema, so that it also works in a copy or under another alias.
    """
    db.execute(f"USE {_schema(db, spec)}")
    db.execute(
        f"CREATE OR REPLACE VIEW {qualified(db, spec, spec.view)} AS "
        f"SELECT * FROM {quoted(spec.table)} WHERE question_key IN "
        f"(SELECT question_key FROM {quoted(QUESTIONS)} WHERE own AND table_name = {literal(spec.table)}) "
        "QUALIFY row_number() OVER (PARTITION BY item_key ORDER BY "
        f"(question_key = {literal(spec.question_key)} AND status = 'answered') DESC, asked_at DESC) = 1"
    )


def _schema(db: duckdb.DuckDBPyConnection, spec: TableSpec) -> str:
    """Return the schema's name with the database's, which may be the same word."""
    database = db.execute("SELECT current_database()").fetchall()[0][0]
    return f"{quoted(database)}.{quoted(spec.schema)}"


def qualified(db: duckdb.DuckDBPyConnection, spec: TableSpec, name: str) -> str:
    """Return a table's name with its schema's and its database's."""
    return f"{_schema(db, spec)}.{quoted(name)}"
