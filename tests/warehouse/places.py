"""Databases that the contract is tested on, as a test and the processes it starts see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import clickhouse_connect
import duckdb
import psycopg
import pyarrow as pa

from vision_batch.store.files import FileStore
from vision_batch.warehouse import greenplum
from vision_batch.warehouse.opening import Kind, open_warehouse
from vision_batch.warehouse.postgres import PostgresWarehouse
from vision_batch.warehouse.protocol import JOBS, Column, TableSpec, Warehouse, arrow_schema
from vision_batch.warehouse.server import ServerConfig
from vision_batch.warehouse.staging import Staging

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIELDS = (Column("kind", "string", "What it's about"), Column("price", "number", "In roubles"))
SPEC = TableSpec("enrichment", "photos", FIELDS, "q1", comment="It's about 'photos'", question="What is it? «Что это?»")


@dataclass(frozen=True)
class Place:
    """One empty database.

    :param url: the file of DuckDB, else the server's address.
    :param behind: the address of the engine, where it is not the server's.
    :param staging: the folder where tables lie on their way into Redshift.
    """

    kind: Kind
    url: str
    behind: str | None = None
    staging: str | None = None

    def open(self) -> Warehouse:
        if self.kind == "greenplum":  # the clause that PostgreSQL does not have is the only difference
            return PostgresWarehouse(ServerConfig.from_url(self.url), dialect=greenplum.dialect(""))
        staging = self.staging and Staging(FileStore(), self.staging)
        place = self.url if self.kind == "duckdb" else ServerConfig.from_url(self.url)
        return open_warehouse(self.kind, place, staging)

    @property
    def has_zero_bytes(self) -> bool:
        return self.kind in ("duckdb", "clickhouse")

    @property
    def longest_name(self) -> int | None:
        """In bytes, if the database would cut a longer one."""
        return {"postgres": 63, "greenplum": 63, "redshift": 127}.get(self.kind)

    def name(self, *words: str) -> str:
        """Quote a name as the database wants it."""
        if self.kind == "clickhouse":
            return ".".join("`" + word.replace("\\", "\\\\").replace("`", "\\`") + "`" for word in words)
        return ".".join('"' + word.replace('"', '""') + '"' for word in words)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Carry out a statement as somebody who knows nothing of us would."""
        return _QUERIES[self.kind](self.behind or self.url, sql)

    def rows(self, spec: TableSpec = SPEC, what: str = "item_key, kind", *, view: bool = False) -> list[tuple]:
        """Read the table, with what is shadowed in ClickHouse left out, or the view."""
        final = " FINAL" * (self.kind == "clickhouse" and not view)
        name = self.name(spec.schema, spec.view if view else spec.table)
        return self.query(f"SELECT {what} FROM {name}{final} ORDER BY item_key, question_key")

    def jobs(self, what: str = "job_id") -> list[tuple]:
        """Read the table of jobs."""
        final = " FINAL" * (self.kind == "clickhouse")
        return self.query(f"SELECT {what} FROM {self.name('enrichment', 'vision_batch_jobs')}{final} ORDER BY job_id")


def _query_duckdb(url: str, sql: str) -> list[tuple]:
    with duckdb.connect(url) as db:
        db.execute("SET TimeZone = 'UTC'")
        return db.execute(sql).fetchall()


def _query_postgres(url: str, sql: str) -> list[tuple]:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("SET TimeZone = 'UTC'")
        found = db.execute(sql)
        return found.fetchall() if found.description else []


def _query_clickhouse(url: str, sql: str) -> list[tuple]:
    with clickhouse_connect.get_client(dsn=url) as client:
        if sql.upper().startswith("SELECT"):
            return [tuple(row) for row in client.query(sql).result_rows]
        client.command(sql)
        return []


_QUERIES = {
    "duckdb": _query_duckdb,
    "postgres": _query_postgres,
    "clickhouse": _query_clickhouse,
    "greenplum": _query_postgres,
    "redshift": _query_postgres,
}


def answers(spec: TableSpec, rows: list[Mapping[str, Any]]) -> pa.Table:
    """Give a batch; what is not said is as of an ordinary answer."""
    usual = {"question_key": spec.question_key, "status": "answered", "asked_at": NOON, "attempt": 1, "partition": "d"}
    return pa.Table.from_pylist([{**usual, **row} for row in rows], schema=spec.arrow_schema())


def batch(number: int, keys: range, spec: TableSpec = SPEC) -> pa.Table:
    """Give the answers of a time: their number is in each row, and in the minute they were asked."""
    asked_at = NOON + timedelta(minutes=number)
    return answers(spec, [{"item_key": f"item-{k:06d}", "kind": str(number), "asked_at": asked_at} for k in keys])


def jobs(*found: Mapping[str, Any]) -> pa.Table:
    """Give rows of jobs; what is not said is as of an ordinary job."""
    usual = {
        "enrichment": "photos",
        "table_name": "photos",
        "shard": "s1",
        "partitions": '{"2026-11-20": 3, "папка": 1}',
        "outcome": "COMPLETED",
        "requests": 4,
        "created_at": NOON,
        "finished_at": NOON + timedelta(hours=1, microseconds=5),
        "tokens": 1234,
        "billed_tokens": 200_000,
        "units": 100.5,
    }
    schema = arrow_schema({column.name: column.type for column in JOBS})
    return pa.Table.from_pylist([{**usual, **job} for job in found], schema=schema)


def other_question(spec: TableSpec, key: str, *more: Column, own: bool = True) -> TableSpec:
    return replace(spec, question_key=key, fields=(*spec.fields, *more), own=own, question=f"Question {key}")
