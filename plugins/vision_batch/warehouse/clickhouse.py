"""Keep answers in ClickHouse: inserted as one block for each shard; of one key the newest answer counts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import clickhouse_connect
import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from vision_batch.errors import AuthenticationError, ServiceUnavailableError
from vision_batch.warehouse.clickhouse_tables import (
    check,
    ensure,
    found_columns,
    has_jobs_table,
    jobs_table,
    literal,
    qualified,
    quoted,
    rows_of,
    wanted_columns,
)
from vision_batch.warehouse.protocol import BILLED, COUNTS, KEY, SETTLED, UNSETTLED, LoadCounts, TableSpec, arrow_schema
from vision_batch.warehouse.server import ServerConfig
from vision_batch.warehouse.tables import in_key_order, reconcile, selected, unsettled_rows

#: What of the driver's options a connection may set.
_OPTIONS = frozenset(
    {
        "ca_cert", "client_cert", "client_cert_key", "compress", "connect_timeout", "http_proxy", "https_proxy",
        "secure", "send_receive_timeout", "server_host_name", "verify",
    }
)  # fmt: skip

#: What ClickHouse's Date32 can hold.
_FIRST_DAY, _LAST_DAY = date(1900, 1, 1), date(2299, 12, 31)

#: AUTHENTICATION_FAILED, ACCESS_DENIED, UNKNOWN_USER, UNKNOWN_DATABASE.
_REFUSED = frozenset({516, 497, 192, 81})


@dataclass(frozen=True)
class ClickHouseWarehouse:
    """Read and write a ClickHouse server over HTTP, from any number of processes.

    Lookups send what they look for as a temporary table: a balancer in front has to keep a session on one server.
    """

    server: ServerConfig

    def check_table(self, spec: TableSpec) -> None:
        """Compare the table that is there, if any, with what answers need."""
        with self._connected() as db:
            check(db, spec)

    def ensure_table(self, spec: TableSpec) -> list[str]:
        """Create the table and missing columns; make the view prefer this question if it is the declaration's own."""
        with self._connected() as db:
            return ensure(db, spec, with_view=spec.own)

    def settled(self, spec: TableSpec, keys: pa.Table) -> pa.Table:
        """Look up what is known of items."""
        columns = "t.item_key, t.input_id, t.status, t.attempt"
        return self._looked_up(spec, f"SELECT {columns}", "", keys, arrow_schema(SETTLED))

    def unsettled(self, spec: TableSpec, limit: int, *, max_attempts: int) -> pa.Table:
        """Look up what may be asked again."""
        columns, rest = unsettled_rows(limit, max_attempts, quoted)
        return self._looked_up(spec, f"SELECT {columns}", rest, None, arrow_schema(UNSETTLED))

    def by_content(self, spec: TableSpec, wanted: pa.Table) -> pa.Table:
        """Look up answers to equal content."""
        (by,) = wanted.column_names
        rest = f"AND t.status = 'answered' ORDER BY t.{by}, t.asked_at, t.item_key LIMIT 1 BY t.{by}"
        return self._looked_up(spec, "SELECT {columns}", rest, wanted, spec.arrow_schema())

    def load(self, spec: TableSpec, answers: pa.Table, jobs: pa.Table | None = None) -> LoadCounts:
        """Insert answers as one block, which readers see whole or not at all, then the jobs."""
        answers = in_key_order(answers)
        with self._connected() as db:
            ensure(db, spec, with_view=False)
            counts = _insert(db, spec, answers) if answers.num_rows else LoadCounts(0, 0, 0)
            jobs_table(db, spec).add(jobs)
        return counts

    def billed(self, spec: TableSpec, enrichment: str, since: datetime) -> pa.Table:
        """Read what jobs are billed."""
        with self._connected() as db:
            if not has_jobs_table(db, spec):
                return arrow_schema(BILLED).empty_table()
            return jobs_table(db, spec).billed(enrichment, since)

    def counts(self, spec: TableSpec, partitions: Sequence[str]) -> pa.Table:
        """Count rows by partition and status."""
        wanted = pa.table({"partition": pa.array(list(partitions), pa.string())})
        select = "SELECT t.`partition`, t.status, toInt64(count()) AS n, max(t.asked_at)"
        rest = "GROUP BY t.`partition`, t.status ORDER BY t.`partition`, t.status"
        return self._looked_up(spec, select, rest, wanted, arrow_schema(COUNTS))

    def answers(self, spec: TableSpec, *, every_question: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield rows of the table, as the server sends them."""
        with self._connected() as db:
            if not (found := found_columns(db, spec)):
                return
            where = "" if every_question else f"WHERE t.question_key = {literal(spec.question_key)}"
            query = f"SELECT {_selected(spec, found)} FROM {qualified(spec, spec.table)} AS t FINAL {where}"
            with db.query_arrow_stream(query, use_strings=True) as batches:
                for batch in batches:
                    yield batch.cast(spec.arrow_schema())

    def _looked_up(
        self, spec: TableSpec, select: str, rest: str, wanted: pa.Table | None, schema: pa.Schema
    ) -> pa.Table:
        where = f"WHERE t.question_key = {literal(spec.question_key)}"
        with self._connected() as db:
            there = found_columns(db, spec)
            if not there or (wanted is not None and wanted.column_names[0] not in there):
                return schema.empty_table()
            if wanted is not None:
                _send(db, "wanted", wanted)
                name = quoted(wanted.column_names[0])
                where += f" AND t.{name} IN (SELECT {name} FROM wanted)"
            select = select.format(columns=_selected(spec, there))
            found: pa.Table = db.query_arrow(
                f"{select} FROM {qualified(spec, spec.table)} AS t FINAL {where} {rest}", use_strings=True
            )
        return found.rename_columns(schema.names).cast(schema) if found.num_rows else schema.empty_table()

    @contextmanager
    def _connected(self) -> Iterator[Client]:
        with _errors_translated(self.server.host):
            client = clickhouse_connect.get_client(
                host=self.server.host,
                port=self.server.port,
                username=self.server.user,
                password=self.server.password or "",
                database=self.server.database,
                client_name="vision_batch",
                **self.server.chosen_options(_OPTIONS),
            )
            with client:
                yield client


def _insert(db: Client, spec: TableSpec, answers: pa.Table) -> LoadCounts:
    """Insert answers as one block."""
    _send(db, "batch", answers.select([*KEY, "asked_at"]))
    known, newer = _compared(db, spec, ">")
    table = pa.table(list(map(_fitted, answers.columns)), names=answers.schema.names)
    whole = {"min_insert_block_size_rows": answers.num_rows, "min_insert_block_size_bytes": 0}
    exact = {"async_insert": 0, "insert_deduplicate": 0, "max_insert_block_size": answers.num_rows}
    db.insert_arrow(qualified(spec, spec.table), table.combine_chunks(), settings={**whole, **exact})
    _, settled = _compared(db, spec, ">=")
    reconcile(spec, given=answers.num_rows, settled=settled)
    return LoadCounts(inserted=answers.num_rows - known, updated=known - newer, kept=newer)


def _selected(spec: TableSpec, found: Collection[str]) -> str:
    kinds = wanted_columns(spec)
    return selected(
        spec,
        found,
        lambda column: f"t.{quoted(column.name)} AS {quoted(column.name)}",
        lambda column: f"defaultValueOfTypeName({literal(kinds[column.name])}) AS {quoted(column.name)}",
    )


def _send(db: Client, name: str, rows: pa.Table) -> None:
    """Keep rows in a table of this session."""
    kinds = ["DateTime64(6, 'UTC')" if pa.types.is_timestamp(field.type) else "String" for field in rows.schema]
    columns = ", ".join(f"{quoted(field.name)} {kind}" for field, kind in zip(rows.schema, kinds, strict=True))
    db.command(f"CREATE TEMPORARY TABLE {name} ({columns})")
    if rows.num_rows:
        db.insert_arrow(name, rows)


def _compared(db: Client, spec: TableSpec, sign: str) -> tuple[int, int]:
    """Count the batch's keys that the table has, and those whose time there compares so to the batch's."""
    keys = ", ".join(KEY)
    ((known, compared),) = rows_of(
        db,
        f"SELECT count(), countIf(t.asked_at {sign} b.asked_at) FROM "
        f"(SELECT {keys}, asked_at FROM {qualified(spec, spec.table)} FINAL "
        f"WHERE ({keys}) IN (SELECT {keys} FROM batch)) "
        f"AS t INNER JOIN batch AS b ON {' AND '.join(f't.{key} = b.{key}' for key in KEY)}",
    )
    return int(known), int(compared)


def _fitted(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Leave out days that ClickHouse cannot hold; the text of the answer has them."""
    if not pa.types.is_date32(column.type):
        return column
    holds = pc.and_(pc.greater_equal(column, pa.scalar(_FIRST_DAY)), pc.less_equal(column, pa.scalar(_LAST_DAY)))
    fitted: pa.ChunkedArray[Any] = pc.if_else(holds, column, pa.scalar(None, pa.date32()))
    return fitted


@contextmanager
def _errors_translated(host: str) -> Iterator[None]:
    """Turn the driver's errors into ours, which say whether a retry can help."""
    try:
        yield
    except DatabaseError as error:
        if error.code in _REFUSED:
            raise AuthenticationError(f"ClickHouse at {host}: {error}") from error
        if isinstance(error, OperationalError):
            raise ServiceUnavailableError(f"ClickHouse at {host}: {error}") from error
        raise
