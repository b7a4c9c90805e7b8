"""Say what is the same of an answer table in every database: quoting, missing columns, refusals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from vision_batch.errors import ReconcileError, SchemaConflictError
from vision_batch.warehouse.protocol import (
    ELEMENTS,
    KEY,
    UNSETTLED,
    UNSETTLED_STATUSES,
    Column,
    ColumnType,
    TableSpec,
)

if TYPE_CHECKING:
    import pyarrow as pa

#: The table that says which questions the tables of a schema hold, and whether they were the declaration's own.
QUESTIONS = "vision_batch_questions"

#: How many rows go to a database, or come from it, at once.
BATCH_ROWS = 10_000


def quoted(name: str) -> str:
    """Quote a name as standard SQL does."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text as standard SQL does."""
    return "'" + text.replace("'", "''") + "'"


def sql_type(types: Mapping[ColumnType, str], column_type: ColumnType, list_of: str = "{}[]") -> str:
    """Return a column's type in a database's words."""
    return list_of.format(types[ELEMENTS[column_type]]) if column_type in ELEMENTS else types[column_type]


def unsettled_rows(limit: int, max_attempts: int, quote: Callable[[str], str] = quoted) -> tuple[str, str]:
    """Return what is selected of rows ``t`` that may be asked again, and the rest of the query, from ``AND`` on."""
    columns = ", ".join(f"t.{quote(name)}" for name in UNSETTLED)
    statuses = ", ".join(map(literal, UNSETTLED_STATUSES))
    return columns, (
        f"AND t.status IN ({statuses}) AND t.attempt < {max_attempts:d} "
        f"ORDER BY t.asked_at DESC, t.item_key LIMIT {limit:d}"
    )


def selected(
    spec: TableSpec, found: Collection[str], read: Callable[[Column], str], nothing: Callable[[Column], str]
) -> str:
    """Return what is selected to read whole rows.

    :param found: the columns that the table has; one of an earlier version may lack some.
    :param read: gives the expression for a column, ``nothing`` the one for a column that is not there.
    """
    return ", ".join(read(column) if column.name in found else nothing(column) for column in spec.columns)


def missing_columns(spec: TableSpec, found: Mapping[str, str], wanted: Mapping[str, str]) -> list[Column]:
    """Return the columns that a table does not have yet.

    :param found: the type of each column that is there, by name.
    :param wanted: the type that each column of ``spec`` has to have, by name.
    :raises SchemaConflictError: if a column is there with another type.
    """
    for column in spec.columns:
        there, declared = found.get(column.name), wanted[column.name]
        if there not in (None, declared):
            raise SchemaConflictError(
                f"column {column.name!r} of {spec.name} is {there}, but the declaration makes it {declared}: "
                "give the field another name, or the answers another table"
            )
    return [column for column in spec.columns if column.name not in found]


def kept_columns(spec: TableSpec, found: Collection[str]) -> list[str]:
    """Say which columns a table has that no field is declared for; they are never taken away."""
    declared = {column.name.lower() for column in spec.columns}
    return [
        f"column {name} stays, empty in new rows: the declaration has no field for it"
        for name in sorted(found)
        if name.lower() not in declared
    ]


def name_taken(spec: TableSpec, name: str, kind: str) -> SchemaConflictError:
    """Return the refusal to touch what somebody else made."""
    return SchemaConflictError(
        f"{spec.schema}.{name} is {kind} that was made by somebody else: "
        f"rename it, or give destination.table another name than {spec.name}"
    )


def in_key_order(answers: pa.Table) -> pa.Table:
    """Return answers sorted by key, so that writers of the same rows take them in the same order.

    :raises ReconcileError: if two answers have one key, which is a mistake of ours.
    """
    ordered = answers.sort_by([(name, "ascending") for name in KEY])
    keys = list(zip(*(ordered.column(name).to_pylist() for name in KEY), strict=True))
    repeated = {key for key, following in pairwise(keys) if key == following}
    if repeated:
        raise ReconcileError(f"{len(repeated)} keys have more than one answer each, such as {min(repeated)!r}")
    return ordered


def reconcile(spec: TableSpec, *, given: int, settled: int) -> None:
    """Compare the answers of a batch with the rows that the table has for them, before anything is committed.

    :raises ReconcileError: if they differ.
    """
    if given != settled:
        raise ReconcileError(f"{given} answers were loaded into {spec.name}, but it has {settled} rows for them")
