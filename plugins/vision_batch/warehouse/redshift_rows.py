"""Turn Arrow tables into the Parquet columns that Redshift's COPY takes, and its rows back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from vision_batch.errors import InputError
from vision_batch.warehouse.arrow_rows import from_rows, without_zeros
from vision_batch.warehouse.protocol import ELEMENTS, KEY, Column, ColumnType, Scalar
from vision_batch.warehouse.tables import quoted, sql_type

#: The longest text of Redshift. https://docs.aws.amazon.com/redshift/latest/dg/r_Character_types.html
MAX_TEXT_BYTES = 65_535

#: What stands at the end of a text that was cut.
CUT = "…"

TEXT = f"character varying({MAX_TEXT_BYTES})"

TYPES: dict[ColumnType, str] = {
    "string": TEXT,
    "integer": "bigint",
    "number": "double precision",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp with time zone",
    "json": "super",
}

#: Columns by which rows are looked up or told apart.
_FOUND_BY = frozenset({*KEY, "image_sha256", "request_key", "partition"})

#: What COPY reads as it is; everything else is staged as text and cast, as COPY of Parquet has no types for it.
_AS_IT_IS = frozenset({"string", "integer", "number", "boolean"})


def table_type(column: Column) -> str:
    """Return the type that a column of the table has."""
    return sql_type(TYPES, column.type, list_of="super")


def staged_type(column: Column) -> str:
    """Return the type of the column while it is staged."""
    return TYPES[column.type] if column.type in _AS_IT_IS else TEXT


def unstaged(column: Column, staged: str) -> str:
    """Return the expression that makes the table's value of a staged one.

    :param staged: the staged table's name.
    """
    value = f"{staged}.{quoted(column.name)}"
    if column.type in _AS_IT_IS:
        return value
    kind = table_type(column)
    return f"JSON_PARSE({value})" if kind == "super" else f"CAST({value} AS {kind})"


def read(column: Column) -> str:
    """Return the expression that reads a value of the table, named ``t``; lists and objects as JSON."""
    value = f"t.{quoted(column.name)}"
    return f"JSON_SERIALIZE({value}) AS {quoted(column.name)}" if table_type(column) == "super" else value


def staged_table(rows: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Return rows as they are staged, columns in the given order: COPY goes by position.

    Texts that are too long are cut, with a sign; lists and objects that are too long are left out.

    :raises InputError: if that would change what a row is found by.
    """
    arrays = [_staged(rows.column(column.name).combine_chunks(), column) for column in columns]
    return pa.table(arrays, names=[column.name for column in columns])


def from_staged_rows(rows: Sequence[Sequence[Any]], columns: Sequence[Column], schema: pa.Schema) -> pa.Table:
    """Return rows that were read through :func:`read`."""
    lists = {number: ELEMENTS[column.type] for number, column in enumerate(columns) if column.type in ELEMENTS}
    return from_rows([[_read(value, lists.get(n)) for n, value in enumerate(row)] for row in rows], schema)


def _staged(array: pa.Array[Any], column: Column) -> pa.Array[Any]:
    if column.name in _FOUND_BY:
        return _unchanged(array, column)
    if column.type == "string":
        return pa.array((text and cut(text) for text in without_zeros(array, is_json=False).to_pylist()), pa.string())
    if column.type in _AS_IT_IS:
        return array
    if column.type == "timestamp":
        texts = [moment and moment.isoformat(sep=" ", timespec="microseconds") for moment in array.to_pylist()]
    elif column.type == "date":
        texts = [day and day.isoformat() for day in array.to_pylist()]
    else:
        texts = array.to_pylist() if column.type == "json" else list(map(_as_json, array.to_pylist()))
        fitting = [text if text is None or len(text.encode()) <= MAX_TEXT_BYTES else None for text in texts]
        return without_zeros(pa.array(fitting, pa.string()), is_json=True)
    return pa.array(texts, pa.string())


def _unchanged(array: pa.Array[Any], column: Column) -> pa.Array[Any]:
    for text in filter(None, array.to_pylist()):
        if "\0" in text or cut(text) is not text:
            raise InputError(
                f"Redshift cannot hold the {column.name} {text[:50]!r}: found {len(text.encode())} bytes; "
                f"allowed: at most {MAX_TEXT_BYTES}, none of them zero"
            )
    return array


def cut(text: str) -> str:
    """Return a text as far as a column has room for it, with a sign where it was cut."""
    if len(text) <= MAX_TEXT_BYTES // 4 or len(body := text.encode()) <= MAX_TEXT_BYTES:
        return text
    return body[: MAX_TEXT_BYTES - len(CUT.encode())].decode(errors="ignore") + CUT


def _as_json(values: list[Any] | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False, default=lambda day: day.isoformat())


#: How the values of a list, read as JSON, become what they were.
_READERS: dict[Scalar, Callable[[Any], Any]] = {"number": float, "date": date.fromisoformat}


def _read(value: Any, element: Scalar | None) -> Any:
    if value is None or element is None:
        return value
    reader, values = _READERS.get(element), json.loads(value)
    return values if reader is None else [None if found is None else reader(found) for found in values]
