"""Keep answers in PostgreSQL: copied, merged by key if some are there, one transaction for each shard."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import errors

from vision_batch.errors import (
    AuthenticationError,
    ConnectionInputError,
    DestinationBusyError,
    InputError,
    SchemaConflictError,
    ServiceUnavailableError,
)
from vision_batch.warehouse.arrow_rows import from_rows
from vision_batch.warehouse.postgres_rows import copy_in
from vision_batch.warehouse.postgres_tables import (
    check,
    ensure,
    found_columns,
    has_jobs_table,
    jobs_table,
    lock_jobs,
    qualified,
)
from vision_batch.warehouse.protocol import BILLED, COUNTS, KEY, SETTLED, UNSETTLED, LoadCounts, TableSpec, arrow_schema
from vision_batch.warehouse.server import ServerConfig
from vision_batch.warehouse.tables import BATCH_ROWS, in_key_order, literal, quoted, reconcile, selected, unsettled_rows

Connection = psycopg.Connection[tuple[Any, ...]]

#: What of libpq's options a connection may set.
_OPTIONS = frozenset(
    {
        "application_name", "channel_binding", "connect_timeout", "gssencmode", "hostaddr", "keepalives",
        "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname", "passfile", "require_auth",
        "service", "sslcert", "sslcrl", "sslkey", "sslmode", "sslpassword", "sslrootcert", "target_session_attrs",
        "tcp_user_timeout",
    }
)  # fmt: skip

_REFUSED = re.compile(r"authentication failed|does not exist|no pg_hba\.conf entry|no password supplied")


@dataclass(frozen=True)
class Dialect:
    """Say in what a database that speaks PostgreSQL's protocol differs from others.

    :param name: what people call it.
    :param write: brings sorted answers into the table, in the open transaction.
    :param table_clause: what follows the columns of a new table.
    """

    name: str
    write: Callable[[Connection, TableSpec, pa.Table], LoadCounts]
    table_clause: str = ""


def _copy_or_merge(db: Connection, spec: TableSpec, answers: pa.Table) -> LoadCounts:
    """Copy answers; merge them instead if the table has one of their keys."""
    try:
        with db.transaction():
            copied = copy_in(db, qualified(spec, spec.table), answers, keys=KEY, json=_json(spec))
        return LoadCounts(inserted=copied, updated=0, kept=0)
    except errors.UniqueViolation:
        return _merge(db, spec, answers)


POSTGRES = Dialect("PostgreSQL", _copy_or_merge)


@dataclass(frozen=True)
class PostgresWarehouse:
    """Read and write a PostgreSQL database, from any number of processes.

    :param busy_timeout_seconds: how long to wait for another's lock; default 120.
    """

    server: ServerConfig
    busy_timeout_seconds: float = 120.0
    dialect: Dialect = POSTGRES

    def check_table(self, spec: TableSpec) -> None:
        """Compare the table that is there, if any, with what answers need."""
        with self._transaction() as db:
            check(db, spec)

    def ensure_table(self, spec: TableSpec) -> list[str]:
        """Create the table and missing columns; make the view prefer this question if it is the declaration's own."""
        with self._transaction() as db:
            return ensure(db, spec, with_view=spec.own, table_clause=self.dialect.table_clause)

    def settled(self, spec: TableSpec, keys: pa.Table) -> pa.Table:
        """Look up what is known of items."""
        columns = "t.item_key, t.input_id, t.status, t.attempt"
        return self._looked_up(spec, f"SELECT {columns}", "", keys, arrow_schema(SETTLED))

    def unsettled(self, spec: TableSpec, limit: int, *, max_attempts: int) -> pa.Table:
        """Look up what may be asked again."""
        columns, rest = unsettled_rows(limit, max_attempts)
        return self._looked_up(spec, f"SELECT {columns}", rest, None, arrow_schema(UNSETTLED))

    def by_content(self, spec: TableSpec, wanted: pa.Table) -> pa.Table:
        """Look up answers to equal content."""
        (by,) = wanted.column_names
        select = f"SELECT DISTINCT ON (t.{by}) {{columns}}"
        rest = f"AND t.status = 'answered' ORDER BY t.{by}, t.asked_at, t.item_key"
        return self._looked_up(spec, select, rest, wanted, spec.arrow_schema())

    def load(self, spec: TableSpec, answers: pa.Table, jobs: pa.Table | None = None) -> LoadCounts:
        """Bring answers in, in one transaction."""
        answers = in_key_order(answers).select([column.name for column in spec.columns])
        with self._transaction() as db:
            ensure(db, spec, with_view=False, table_clause=self.dialect.table_clause)
            counts = self.dialect.write(db, spec, answers)
            reconcile(spec, given=answers.num_rows, settled=counts.inserted + counts.updated + counts.kept)
            if jobs is not None and jobs.num_rows:
                lock_jobs(db, spec)
                jobs_table(db, spec).add(jobs)
        return counts

    def counts(self, spec: TableSpec, partitions: Sequence[str]) -> pa.Table:
        """Count rows by partition and status."""
        wanted = pa.table({"partition": pa.array(list(partitions), pa.string())})
        select, rest = 'SELECT t."partition", t.status, count(*), max(t.asked_at)', "GROUP BY 1, 2 ORDER BY 1, 2"
        return self._looked_up(spec, select, rest, wanted, arrow_schema(COUNTS))

    def billed(self, spec: TableSpec, enrichment: str, since: datetime) -> pa.Table:
        """Read what jobs are billed."""
        with self._transaction() as db:
            if not has_jobs_table(db, spec):
                return arrow_schema(BILLED).empty_table()
            return jobs_table(db, spec).billed(enrichment, since)

    def answers(self, spec: TableSpec, *, every_question: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield rows of the table, through a cursor on the server."""
        with self._transaction() as db:
            if not (found := found_columns(db, spec)):
                return
            where = "" if every_question else f" WHERE t.question_key = {literal(spec.question_key)}"
            with db.cursor(name="answers") as cursor:
                cursor.execute(f"SELECT {_selected(spec, found)} FROM {qualified(spec, spec.table)} t{where}".encode())
                while rows := cursor.fetchmany(BATCH_ROWS):
                    yield from from_rows(rows, spec.arrow_schema()).to_batches()

    def _looked_up(
        self, spec: TableSpec, select: str, rest: str, wanted: pa.Table | None, schema: pa.Schema
    ) -> pa.Table:
        """Join the question's rows with what is wanted, if it is not all of them."""
        with self._transaction() as db:
            found = found_columns(db, spec)
            if not found or (wanted is not None and wanted.column_names[0] not in found):
                return schema.empty_table()
            join = "" if wanted is None else _send_wanted(db, wanted)
            query = (
                f"{select.format(columns=_selected(spec, found))} FROM {qualified(spec, spec.table)} t {join} "
                f"WHERE t.question_key = {literal(spec.question_key)} {rest}"
            )
            return from_rows(db.execute(query.encode()).fetchall(), schema)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with _errors_translated(f"{self.dialect.name} at {self.server.host}"), self._connect() as db:
            # Set here, not when connecting: poolers do not let options through.
            db.execute(f"SET LOCAL lock_timeout = {int(self.busy_timeout_seconds * 1000)}")
            db.execute("SET LOCAL TimeZone = 'UTC'")
            db.execute("SET LOCAL client_encoding = 'UTF8'")
            db.execute("SET LOCAL standard_conforming_strings = on")  # as literal() writes texts
            yield db

    def _connect(self) -> Connection:
        options = {"application_name": "vision_batch", "connect_timeout": "30"}
        return psycopg.connect(
            host=self.server.host,
            port=self.server.port,
            user=self.server.user,
            password=self.server.password,
            dbname=self.server.database,
            prepare_threshold=None,
            **options | self.server.chosen_options(_OPTIONS),
        )


def _send_wanted(db: Connection, wanted: pa.Table) -> str:
    """Send what is wanted as a temporary table of one column; return how to join it."""
    (name,) = wanted.column_names
    db.execute(f"CREATE TEMPORARY TABLE wanted ({quoted(name)} text) ON COMMIT DROP".encode())
    copy_in(db, "pg_temp.wanted", pa.table({name: wanted.column(name).unique()}), keys=(name,))
    db.execute("ANALYZE pg_temp.wanted")
    return f"JOIN pg_temp.wanted USING ({quoted(name)})"


def _merge(db: Connection, spec: TableSpec, answers: pa.Table) -> LoadCounts:
    """Merge answers by way of a temporary table; two merges of the same keys take them in the same order."""
    table, columns = qualified(spec, spec.table), answers.column_names
    names, keys = ", ".join(map(quoted, columns)), ", ".join(map(quoted, KEY))
    values = ", ".join(f"{quoted(name)} = EXCLUDED.{quoted(name)}" for name in columns if name not in KEY)
    like = f"SELECT {names} FROM {table} WITH NO DATA"
    db.execute(f"CREATE TEMPORARY TABLE batch ON COMMIT DROP AS {like}".encode())
    copy_in(db, "pg_temp.batch", answers, keys=KEY, json=_json(spec))
    inserted, merged = _row(
        db,
        f"WITH merged AS (INSERT INTO {table} AS t ({names}) SELECT {names} FROM pg_temp.batch ORDER BY {keys} "
        f"ON CONFLICT ({keys}) DO UPDATE SET {values} WHERE EXCLUDED.asked_at >= t.asked_at "
        "RETURNING (xmax = 0) AS is_new) SELECT count(*) FILTER (WHERE is_new), count(*) FROM merged",
    )
    on = f"pg_temp.batch b JOIN {table} t USING ({keys})"
    (kept,) = _row(db, f"SELECT count(*) FROM {on} WHERE t.asked_at > b.asked_at")
    return LoadCounts(inserted=inserted, updated=merged - inserted, kept=kept)


def _selected(spec: TableSpec, found: Collection[str]) -> str:
    """Return the columns, with JSON as the text that it was."""
    json = _json(spec)
    return selected(spec, found, lambda c: f"t.{quoted(c.name)}{'::text' if c.name in json else ''}", lambda _: "NULL")


def _json(spec: TableSpec) -> frozenset[str]:
    return frozenset(column.name for column in spec.columns if column.type == "json")


def _row(db: Connection, sql: str) -> tuple[Any, ...]:
    return db.execute(sql.encode()).fetchall()[0]


@contextmanager
def _errors_translated(place: str) -> Iterator[None]:
    """Turn the driver's errors into ours, which say whether a retry can help."""
    try:
        yield
    except (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure) as error:
        raise DestinationBusyError(f"{place}: another writer holds the table ({error})") from error
    except (errors.InvalidColumnReference, errors.InvalidTableDefinition) as error:
        raise SchemaConflictError(f"{place}: {error}") from error
    except (errors.CharacterNotInRepertoire, errors.UntranslatableCharacter) as error:
        raise InputError(f"{place} cannot hold a character: {error}") from error
    except errors.InsufficientPrivilege as error:
        raise AuthenticationError(f"{place}: {error}") from error
    except psycopg.OperationalError as error:
        kind = AuthenticationError if _REFUSED.search(str(error)) else ServiceUnavailableError
        raise kind(f"{place}: {error}") from error
    except psycopg.ProgrammingError as error:
        if error.sqlstate is not None:
            raise
        raise ConnectionInputError(f"{place}: {error}") from error
