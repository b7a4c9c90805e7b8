"""Keep answers in a DuckDB file: one writer at a time, merged by key in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import stamina

from vision_batch.errors import DestinationBusyError
from vision_batch.warehouse.duckdb_merge import limit_memory, merge
from vision_batch.warehouse.duckdb_tables import (
    ensure_columns,
    found_columns,
    jobs_table,
    note_question,
    qualified,
    refuse_taken_names,
    replace_view,
    selected_columns,
    wanted_columns,
)
from vision_batch.warehouse.protocol import (
    BILLED,
    COUNTS,
    JOBS_TABLE,
    SETTLED,
    UNSETTLED,
    LoadCounts,
    TableSpec,
    arrow_schema,
)
from vision_batch.warehouse.tables import BATCH_ROWS, in_key_order, missing_columns, unsettled_rows

#: What reading a table may take of a worker's memory; DuckDB would take four fifths, and spills to disk beyond it.
MEMORY_LIMIT = "1GB"

#: DuckDB locks its file against other processes only; two threads that merge one key would both insert it.
_THIS_PROCESS = threading.Lock()


@dataclass(frozen=True)
class DuckDBWarehouse:
    """Read and write a DuckDB file, from any number of processes on one machine.

    DuckDB lets one process write, and refuses others at once; they try again with jitter.

    :param path: the file; made with its folder if it is not there.
    :param busy_timeout_seconds: how long to try while another process holds the file; default 120.
    """

    path: str
    busy_timeout_seconds: float = 120.0

    def check_table(self, spec: TableSpec) -> None:
        """Compare the table that is there, if any, with what answers need."""
        if Path(self.path).exists():
            with self._connected() as db:
                refuse_taken_names(db, spec)
                missing_columns(spec, found_columns(db, spec), wanted_columns(spec))
                jobs_table(db, spec).missing(found_columns(db, spec, JOBS_TABLE))

    def ensure_table(self, spec: TableSpec) -> list[str]:
        """Create the table and missing columns; make the view prefer this question if it is the declaration's own."""
        with self._connected() as db, _transaction(db):
            refuse_taken_names(db, spec)
            changes = ensure_columns(db, spec)
            jobs_table(db, spec).ensure(found_columns(db, spec, JOBS_TABLE))
            note_question(db, spec)
            if spec.own:
                replace_view(db, spec)
        return changes

    def settled(self, spec: TableSpec, keys: pa.Table) -> pa.Table:
        """Look up what is known of items."""
        return self._looked_up(
            "SELECT t.item_key, t.input_id, t.status, t.attempt FROM {table} t "
            "SEMI JOIN wanted USING (item_key) WHERE t.question_key = ?",
            spec,
            keys,
            arrow_schema(SETTLED),
        )

    def unsettled(self, spec: TableSpec, limit: int, *, max_attempts: int) -> pa.Table:
        """Look up what may be asked again."""
        columns, rest = unsettled_rows(limit, max_attempts)
        sql = f"SELECT {columns} FROM {{table}} t WHERE t.question_key = ? {rest}"
        return self._looked_up(sql, spec, None, arrow_schema(UNSETTLED))

    def by_content(self, spec: TableSpec, wanted: pa.Table) -> pa.Table:
        """Look up answers to equal content."""
        (by,) = wanted.column_names
        return self._looked_up(
            f"SELECT {{columns}} FROM {{table}} t SEMI JOIN wanted USING ({by}) "
            "WHERE t.question_key = ? AND t.status = 'answered' "
            f"QUALIFY row_number() OVER (PARTITION BY t.{by} ORDER BY t.asked_at, t.item_key) = 1",
            spec,
            wanted,
            spec.arrow_schema(),
        )

    def load(self, spec: TableSpec, answers: pa.Table, jobs: pa.Table | None = None) -> LoadCounts:
        """Merge answers in one transaction; the view keeps the question it prefers."""
        answers = in_key_order(answers)
        with self._connected() as db:
            limit_memory(db, answers)
            with _transaction(db):
                ensure_columns(db, spec)
                jobs_table(db, spec).ensure(found_columns(db, spec, JOBS_TABLE))
                note_question(db, spec)
                others = found_columns(db, spec).keys() - {column.name.lower() for column in spec.columns}
                counts = merge(db, spec, qualified(db, spec, spec.table), answers, sorted(others))
                jobs_table(db, spec).add(jobs)
        return counts

    def counts(self, spec: TableSpec, partitions: Sequence[str]) -> pa.Table:
        """Count rows by partition and status."""
        wanted = pa.table({"partition": pa.array(list(partitions), pa.string())})
        return self._looked_up(
            'SELECT t."partition", t.status, count(*) AS n, max(t.asked_at) AS asked_at FROM {table} t '
            'SEMI JOIN wanted USING ("partition") WHERE t.question_key = ? GROUP BY ALL ORDER BY ALL',
            spec,
            wanted,
            arrow_schema(COUNTS),
        )

    def billed(self, spec: TableSpec, enrichment: str, since: datetime) -> pa.Table:
        """Read what jobs are billed."""
        if not Path(self.path).exists():
            return arrow_schema(BILLED).empty_table()
        with self._connected() as db:
            if not found_columns(db, spec, JOBS_TABLE):
                return arrow_schema(BILLED).empty_table()
            return jobs_table(db, spec).billed(enrichment, since)

    def answers(self, spec: TableSpec, *, every_question: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield rows of the table."""
        with self._connected() as db:
            if not (found := found_columns(db, spec)):
                return
            table = qualified(db, spec, spec.table)
            rows = db.sql(
                f"SELECT {selected_columns(spec, found)} FROM {table} t WHERE $every OR t.question_key = $key",
                params={"every": every_question, "key": spec.question_key},
            )
            for batch in rows.to_arrow_reader(BATCH_ROWS):
                yield batch.cast(spec.arrow_schema())

    def _looked_up(self, sql: str, spec: TableSpec, wanted: pa.Table | None, schema: pa.Schema) -> pa.Table:
        if not Path(self.path).exists():  # a look makes no file
            return schema.empty_table()
        with self._connected() as db:
            there = found_columns(db, spec)
            if not there or (wanted is not None and wanted.column_names[0] not in there):
                return schema.empty_table()
            if wanted is not None:
                db.register("wanted", wanted)
            query = sql.format(table=qualified(db, spec, spec.table), columns=selected_columns(spec, there))
            found: pa.Table = db.sql(query, params=[spec.question_key]).to_arrow_table()
        return found.cast(schema)

    @contextmanager
    def _connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if not _THIS_PROCESS.acquire(timeout=self.busy_timeout_seconds):
            raise DestinationBusyError(
                f"{self.path} could not be opened within {self.busy_timeout_seconds:g} s: "
                "another thread of this process works with a DuckDB file"
            )
        try:
            connection = self._connect()
            try:
                yield connection
            finally:
                connection.close()
        finally:
            _THIS_PROCESS.release()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        try:
            for attempt in stamina.retry_context(
                on=_is_locked,
                attempts=None,
                timeout=self.busy_timeout_seconds,
                wait_initial=0.05,
                wait_max=2.0,
                wait_jitter=0.2,
            ):
                with attempt:
                    connection = duckdb.connect(self.path)
                    connection.execute(f"SET TimeZone = 'UTC'; SET memory_limit = '{MEMORY_LIMIT}'")
                    return connection
        except duckdb.IOException as error:
            if not _is_locked(error):
                raise
            holder = str(error).partition(". See also")[0]
            raise DestinationBusyError(
                f"{self.path} could not be opened within {self.busy_timeout_seconds:g} s; "
                f"close what else holds it, such as a notebook or a DuckDB shell ({holder})"
            ) from None
        raise AssertionError("unreachable: the retry context raises or returns")


def _is_locked(error: Exception) -> bool:
    return isinstance(error, duckdb.IOException) and "could not set lock" in str(error).lower()


@contextmanager
def _transaction(db: duckdb.DuckDBPyConnection) -> Iterator[None]:
    db.begin()
    try:
        yield
    except BaseException:
        with suppress(duckdb.Error):  # what went wrong first is what has to be seen; closing rolls back as well
            db.rollback()
        raise
    db.commit()
