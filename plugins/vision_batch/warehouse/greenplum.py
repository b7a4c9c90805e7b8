"""Keep answers in Greenplum: copied to a temporary table, then delete using and insert in one transaction.

Experimental: its statements run on PostgreSQL, of which Greenplum is made; nobody has run it on Greenplum yet.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from vision_batch.warehouse.postgres import Connection, Dialect, PostgresWarehouse
from vision_batch.warehouse.postgres_rows import copy_in
from vision_batch.warehouse.postgres_tables import qualified
from vision_batch.warehouse.protocol import KEY, LoadCounts, TableSpec
from vision_batch.warehouse.replacing import STAGED, replace_by_key
from vision_batch.warehouse.server import ServerConfig
from vision_batch.warehouse.tables import quoted

#: Answers to one item lie together: a lookup by item and the view move no rows between segments.
DISTRIBUTED = "DISTRIBUTED BY (item_key)"


def greenplum_warehouse(server: ServerConfig) -> PostgresWarehouse:
    """Return the destination; nothing is connected yet."""
    return PostgresWarehouse(server, dialect=dialect(DISTRIBUTED))


def dialect(distributed: str) -> Dialect:
    """Return what differs from PostgreSQL.

    :param distributed: the clause that PostgreSQL does not have; empty to run there.
    """

    def write(db: Connection, spec: TableSpec, answers: pa.Table) -> LoadCounts:
        return _replace(db, spec, answers, distributed)

    return Dialect("Greenplum", write, table_clause=distributed)


def _replace(db: Connection, spec: TableSpec, answers: pa.Table, distributed: str) -> LoadCounts:
    """Replace rows while readers see the old ones; the lock is the one that Greenplum's DELETE takes anyway."""
    table = qualified(spec, spec.table)

    def execute(sql: str) -> list[tuple[Any, ...]]:
        done = db.execute(sql.encode())
        return done.fetchall() if done.description else []

    execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
    execute(f"CREATE TEMPORARY TABLE {STAGED} (LIKE {table}) ON COMMIT DROP {distributed}")
    json = [column.name for column in spec.columns if column.type == "json"]
    copy_in(db, f"pg_temp.{STAGED}", answers, keys=KEY, json=json)
    execute(f"ANALYZE {STAGED}")
    values = {name: f"{STAGED}.{quoted(name)}" for name in answers.column_names}
    return replace_by_key(execute, spec, table, given=answers.num_rows, values=values)
