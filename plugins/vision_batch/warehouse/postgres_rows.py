"""Bring Arrow tables into PostgreSQL, as its COPY wants them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import psycopg
import pyarrow as pa
from pyarrow import csv

from vision_batch.warehouse.arrow_rows import REPLACEMENT, without_zeros
from vision_batch.warehouse.tables import BATCH_ROWS, quoted


def copy_in(
    db: psycopg.Connection[Any],
    table: str,
    rows: pa.Table,
    *,
    keys: Collection[str],
    json: Collection[str] = (),
) -> int:
    """Copy rows into a table, a few thousand in memory at once; return how many the database counts.

    Texts are quoted and nulls are not, so that an empty text stays one.

    :param table: its name, quoted.
    :param keys: columns in which a zero byte is refused by the database, not replaced.
    :param json: columns that hold JSON.
    """
    names = ", ".join(map(quoted, rows.column_names))
    options = csv.WriteOptions(include_header=False, quoting_style="needed")
    statement = f"COPY {table} ({names}) FROM STDIN (FORMAT csv)"
    with db.cursor() as cursor:
        with cursor.copy(statement.encode()) as copy:
            for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
                columns = [
                    column if name in keys else _fitted(column, is_json=name in json)
                    for name, column in zip(batch.schema.names, batch.columns, strict=True)
                ]
                sink = pa.BufferOutputStream()
                csv.write_csv(pa.record_batch(columns, names=batch.schema.names), sink, options)
                copy.write(memoryview(sink.getvalue()))
        return cursor.rowcount


def _fitted(column: pa.Array[Any], *, is_json: bool) -> pa.Array[Any]:
    """Return a column as COPY can read it: no zeros in texts, lists as texts."""
    if pa.types.is_list(column.type):
        return pa.array(list(map(_array_text, column.to_pylist())), pa.string())
    return without_zeros(column, is_json=is_json) if pa.types.is_string(column.type) else column


def _array_text(values: Sequence[Any] | None) -> str | None:
    """Return a list as PostgreSQL writes an array."""
    if values is None:
        return None
    return "{" + ",".join("NULL" if value is None else _element_text(value) for value in values) + "}"


def _element_text(value: Any) -> str:
    text = str(value).replace("\0", REPLACEMENT).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
