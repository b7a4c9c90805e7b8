"""Merge a shard's answers into a DuckDB table, in memory that grows with the shard and not with the table."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from vision_batch.warehouse.protocol import KEY, LoadCounts, TableSpec
from vision_batch.warehouse.tables import quoted, reconcile

#: What DuckDB may take of a worker's memory for a table of any size, beside twice the shard. It spills to disk beyond.
_MEMORY_BYTES = 256 * 1024 * 1024

#: Each thread needs memory of its own, and the statements of a load take a fraction of a second.
_THREADS = 2


def limit_memory(db: duckdb.DuckDBPyConnection, answers: pa.Table) -> None:
    """Bound what merging these answers, and the checkpoint that may follow, can take."""
    db.execute(f"SET memory_limit = '{_MEMORY_BYTES + 2 * answers.nbytes}B'; SET threads = {_THREADS}")


def merge(
    db: duckdb.DuckDBPyConnection, spec: TableSpec, table: str, answers: pa.Table, others: Sequence[str]
) -> LoadCounts:
    """Put answers into the table, in the transaction that is open; older ones do not replace newer ones.

    A newer answer is a new row, and the old row is deleted: to update every column of a row holds all new values in
    memory, and takes minutes where the plan visits rows in another order than the table's.

    :param table: its quoted name.
    :param others: columns of the table that answers do not have; a new row takes them over from the old one.
    :raises ReconcileError: if the table does not have a row for each answer then.
    """
    db.register("batch", answers)
    on = " AND ".join(f"t.{quoted(name)} = b.{quoted(name)}" for name in KEY)
    ((known, newer, last),) = db.execute(
        "SELECT count(*), count(*) FILTER (WHERE t.asked_at > b.asked_at), max(t.rowid) "
        f"FROM {table} t JOIN batch b ON {on}"
    ).fetchall()
    columns = ", ".join(["b.*", *(f"t.{quoted(name)}" for name in others)])
    rows = (
        f"SELECT {columns} FROM batch b LEFT JOIN {table} t ON {on} WHERE t.rowid IS NULL OR b.asked_at >= t.asked_at"
    )
    db.execute(f"INSERT INTO {table} BY NAME {rows if known else 'FROM batch'}")
    if known > newer:
        db.execute(f"DELETE FROM {table} t USING batch b WHERE {on} AND b.asked_at >= t.asked_at AND t.rowid <= {last}")
    ((settled,),) = db.execute(
        f"SELECT count(*) FROM {table} t JOIN batch b ON {on} WHERE t.asked_at >= b.asked_at"
    ).fetchall()
    reconcile(spec, given=answers.num_rows, settled=settled)
    db.unregister("batch")
    return LoadCounts(inserted=answers.num_rows - known, updated=known - newer, kept=newer)
