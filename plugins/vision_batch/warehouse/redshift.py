"""Keep answers in Redshift: Parquet in S3, COPY to a temporary table, then delete using and insert in one transaction.

Experimental: its driver and statements run against PostgreSQL with a stand-in for COPY; nobody has run it on Redshift.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from redshift_connector.core import Connection
from redshift_connector.error import DatabaseError

from vision_batch.warehouse.protocol import (
    BILLED,
    COUNTS,
    KEY,
    SETTLED,
    UNSETTLED,
    Column,
    ColumnType,
    LoadCounts,
    TableSpec,
    arrow_schema,
)
from vision_batch.warehouse.redshift_rows import from_staged_rows, read, staged_table, staged_type, unstaged
from vision_batch.warehouse.redshift_session import connected, transaction
from vision_batch.warehouse.redshift_tables import (
    LOCK,
    Execute,
    ensure,
    found_columns,
    has_jobs_table,
    has_lock,
    jobs_table,
    left_over,
    literal,
    make_lock,
    qualified,
)
from vision_batch.warehouse.replacing import STAGED, replace_by_key
from vision_batch.warehouse.server import ServerConfig
from vision_batch.warehouse.staging import Staging
from vision_batch.warehouse.tables import BATCH_ROWS, in_key_order, quoted, selected, unsettled_rows


@dataclass(frozen=True)
class RedshiftWarehouse:
    """Read and write a Redshift database; writers of one schema take turns, readers see whole shards.

    :param staging: a folder in S3, in the database's region, that the role of the connection's ``iam_role`` may read.
    :param busy_timeout_seconds: how long to wait for another writer; default 120.
    """

    server: ServerConfig
    staging: Staging
    busy_timeout_seconds: float = 120.0

    def check_table(self, spec: TableSpec) -> None:
        """Compare the table that is there, if any, with what answers need."""
        with connected(self.server) as db, transaction(db) as execute:
            left_over(execute, spec, with_view=False)

    def ensure_table(self, spec: TableSpec) -> list[str]:
        """Create the table and missing columns; make the view prefer this question if it is the declaration's own."""
        with connected(self.server) as db:
            if (kept := _seen_without_lock(db, spec)) is not None:
                return kept
            with self._writing(db, spec) as execute:
                return ensure(execute, spec, with_view=spec.own)

    def settled(self, spec: TableSpec, keys: pa.Table) -> pa.Table:
        """Look up what is known of items."""
        select = "SELECT t.item_key, t.input_id, t.status, t.attempt FROM {}"
        return self._looked_up(spec, select, _columns(SETTLED), keys)

    def unsettled(self, spec: TableSpec, limit: int, *, max_attempts: int) -> pa.Table:
        """Look up what may be asked again."""
        columns, rest = unsettled_rows(limit, max_attempts)
        return self._looked_up(spec, f"SELECT {columns} FROM {{}} {rest}", _columns(UNSETTLED), None)

    def by_content(self, spec: TableSpec, wanted: pa.Table) -> pa.Table:
        """Look up answers to equal content."""
        (by,) = wanted.column_names
        select = (
            "SELECT {columns} FROM (SELECT t.*, "
            f"row_number() OVER (PARTITION BY t.{by} ORDER BY t.asked_at, t.item_key) AS vision_batch_row FROM {{}} "
            "AND t.status = 'answered') AS t WHERE t.vision_batch_row = 1"
        )
        return self._looked_up(spec, select, spec.columns, wanted)

    def load(self, spec: TableSpec, answers: pa.Table, jobs: pa.Table | None = None) -> LoadCounts:
        """Bring answers in, in one transaction; what takes long happens before it."""
        answers = in_key_order(answers)
        values = {column.name: unstaged(column, STAGED) for column in spec.columns}
        with (
            connected(self.server) as db,
            self._staged(db, STAGED, answers, spec.columns),
            self._writing(db, spec) as execute,
        ):
            ensure(execute, spec, with_view=False)
            table = qualified(spec, spec.table)
            counts = replace_by_key(execute, spec, table, given=answers.num_rows, values=values)
            jobs_table(execute, spec).add(jobs)
        return counts

    def counts(self, spec: TableSpec, partitions: Sequence[str]) -> pa.Table:
        """Count rows by partition and status."""
        wanted = pa.table({"partition": pa.array(list(partitions), pa.string())})
        select = 'SELECT t."partition", t.status, count(*), max(t.asked_at) FROM {} GROUP BY 1, 2 ORDER BY 1, 2'
        return self._looked_up(spec, select, _columns(COUNTS), wanted)

    def billed(self, spec: TableSpec, enrichment: str, since: datetime) -> pa.Table:
        """Read what jobs are billed."""
        with connected(self.server) as db, transaction(db) as execute:
            if not has_jobs_table(execute, spec):
                return arrow_schema(BILLED).empty_table()
            return jobs_table(execute, spec).billed(enrichment, since)

    def answers(self, spec: TableSpec, *, every_question: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield rows of the table, through a cursor on the server."""
        with connected(self.server) as db, transaction(db) as execute:
            if not (found := found_columns(execute, spec)):
                return
            where = "" if every_question else f" WHERE t.question_key = {literal(spec.question_key)}"
            table = qualified(spec, spec.table)
            execute(f"DECLARE answers CURSOR FOR SELECT {_selected(spec, found)} FROM {table} AS t{where}")
            while rows := execute(f"FETCH FORWARD {BATCH_ROWS} FROM answers"):
                yield from from_staged_rows(rows, spec.columns, spec.arrow_schema()).to_batches()

    def _looked_up(self, spec: TableSpec, select: str, columns: Sequence[Column], wanted: pa.Table | None) -> pa.Table:
        """Carry out a query of the question's rows, or of those that have what is wanted.

        :param select: the query; ``{}`` stands for what follows its FROM, ``{columns}`` for all columns.
        :param wanted: one column of texts.
        """
        schema = arrow_schema({column.name: column.type for column in columns})
        source = f"{qualified(spec, spec.table)} AS t"
        where = f"WHERE t.question_key = {literal(spec.question_key)}"
        with connected(self.server) as db:
            with transaction(db) as execute:
                found = found_columns(execute, spec)
                if not found or (wanted is not None and not (wanted.num_rows and wanted.column_names[0] in found)):
                    return schema.empty_table()
                if wanted is None:
                    return from_staged_rows(execute(select.format(f"{source} {where}")), columns, schema)
            (name,) = wanted.column_names
            sent = pa.table({name: wanted.column(name).unique()})
            join = f"JOIN vision_batch_wanted AS w ON w.{quoted(name)} = t.{quoted(name)}"
            with self._staged(db, "vision_batch_wanted", sent, [Column(name, "string")]), transaction(db) as execute:
                query = select.format(f"{source} {join} {where}", columns=_selected(spec, found))
                return from_staged_rows(execute(query), columns, schema)

    @contextmanager
    def _staged(self, db: Connection, name: str, rows: pa.Table, columns: Sequence[Column]) -> Iterator[None]:
        """Copy rows into a temporary table of this connection."""
        kinds = ", ".join(f"{quoted(column.name)} {staged_type(column)}" for column in columns)
        dist_key = KEY[1] if KEY[1] in rows.column_names else columns[0].name
        with self.staging.holding(staged_table(rows, columns)) as uri:
            with transaction(db) as execute:
                execute(f"CREATE TEMPORARY TABLE {name} ({kinds}) DISTKEY ({quoted(dist_key)})")
                execute(f"COPY {name} FROM {literal(uri)} IAM_ROLE {self._role()} FORMAT AS PARQUET")
            yield

    def _role(self) -> str:
        role = self.server.options.get("iam_role", "default")
        return role if role == "default" else literal(role)

    @contextmanager
    def _writing(self, db: Connection, spec: TableSpec) -> Iterator[Execute]:
        """Open a transaction that begins with the lock, as its snapshot is taken by what follows."""
        with transaction(db) as execute:
            there = has_lock(execute, spec)
        if not there:
            self._make_lock(db, spec)
        with transaction(db) as execute:
            execute(f"SET statement_timeout TO {int(self.busy_timeout_seconds * 1000)}")
            execute(f"LOCK {qualified(spec, LOCK)}")
            execute("SET statement_timeout TO 0")
            yield execute

    def _make_lock(self, db: Connection, spec: TableSpec) -> None:
        try:
            with transaction(db) as execute:
                make_lock(execute, spec)
        except DatabaseError:
            with transaction(db) as execute:
                if not has_lock(execute, spec):  # else another writer was first
                    raise


def redshift_warehouse(server: ServerConfig, staging: Staging) -> RedshiftWarehouse:
    """Return the destination; nothing is connected yet."""
    return RedshiftWarehouse(server, staging)


def _seen_without_lock(db: Connection, spec: TableSpec) -> list[str] | None:
    """Look whether nothing is missing, without waiting for writers; the look under the lock tells the rest.

    A writer may drop the view while it is looked at: the server then cannot open what it has just found.
    """
    try:
        with transaction(db) as execute:
            return left_over(execute, spec, with_view=spec.own)
    except DatabaseError:
        return None


def _columns(types: Mapping[str, ColumnType]) -> list[Column]:
    return [Column(name, kind) for name, kind in types.items()]


def _selected(spec: TableSpec, found: Collection[str]) -> str:
    return selected(spec, found, read, lambda column: f"NULL AS {quoted(column.name)}")
