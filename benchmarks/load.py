"""Compare how answers are loaded with the naive and the fastest ways, side by side; print ratios.

Targets: PostgreSQL at least 25x one INSERT a row and at least 0.4 of a plain COPY into a table with the same index;
DuckDB at least 100x ``executemany``; a million answers in memory that does not grow with them, in DuckDB not beyond
its limit.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import psycopg
import pyarrow as pa
from targets import FLAT, Target, verdict

from vision_batch.demo import postgres
from vision_batch.demo.processes import Processes
from vision_batch.warehouse.duckdb import DuckDBWarehouse
from vision_batch.warehouse.postgres import PostgresWarehouse
from vision_batch.warehouse.postgres_rows import copy_in
from vision_batch.warehouse.protocol import Column, TableSpec, Warehouse
from vision_batch.warehouse.server import ServerConfig

FIELDS = (
    Column("kind", "string"),
    Column("price", "number"),
    Column("shelves", "integer"),
    Column("readable", "boolean"),
    Column("best_before", "date"),
)
SPEC = TableSpec("bench", "photos", FIELDS, "q" * 64)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

#: A shard has at most this many rows.
SHARD = 20_000
MILLION = 1_000_000
#: Rows for the slow ways; their speed does not depend on it.
FEW = 2_000
ROUNDS = 3
#: DuckDB keeps pages in memory as long as its limit allows.
DUCKDB_MEGABYTES = 1000


def answers(first: int, count: int, *, asked_at: datetime = NOON) -> pa.Table:
    """Make answers as a shard has them."""
    numbers = range(first, first + count)
    columns = {
        "item_key": [f"s3://shop-photos/2026-11-22/{n:09d}.jpg" for n in numbers],
        "image_uri": [f"s3://shop-photos/2026-11-22/{n:09d}.jpg" for n in numbers],
        "kind": ["shelf" if n % 3 else "полка" for n in numbers],
        "price": [n / 7 for n in numbers],
        "shelves": [n % 9 for n in numbers],
        "readable": [n % 2 == 0 for n in numbers],
        "best_before": [NOON.date()] * count,
        "image_sha256": [f"{n * 2654435761 % 2**64:064x}" for n in numbers],
        "etag": [f"{n * 40503 % 2**64:032x}" for n in numbers],
        "partition": ["2026-11-22"] * count,
        "question_key": [SPEC.question_key] * count,
        "model": ["qwen2.5-vl-32b-instruct"] * count,
        "job_id": ["fbv3oq5h2u1h5c6d7e8f"] * count,
        "shard": [f"{first:020x}"] * count,
        "attempt": [1] * count,
        "input_id": [f"{n:064x}" for n in numbers],
        "estimated_tokens": [1000 + n % 100 for n in numbers],
        "asked_at": [asked_at] * count,
        "status": ["answered"] * count,
        "raw_text": [f'{{"kind": "shelf", "price": {n / 7}, "shelves": {n % 9}, "readable": true}}' for n in numbers],
    }
    schema = SPEC.arrow_schema()
    return pa.Table.from_arrays(
        [pa.array(columns.get(field.name, [None] * count), field.type) for field in schema], schema=schema
    )


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def running_postgres() -> Iterator[ServerConfig]:
    """Run a PostgreSQL of our own on a socket."""
    with tempfile.TemporaryDirectory(prefix="vision-batch-bench-") as name:
        data, processes = Path(name) / "data", Processes(Path(name) / "log", Path(name) / "stack.json")
        Path(name).chmod(0o755)  # the server's user has to get to its data
        postgres.prepare(data, os.environ)
        processes.start(postgres.component(data, os.environ))
        try:
            postgres.wait_ready(data, processes)
            yield ServerConfig(str(postgres.socket_folder(data)), user=postgres.USER, database=postgres.USER)
        finally:
            processes.stop_all()
            postgres.clean_socket(data)


def fresh(db: psycopg.Connection, table: str) -> None:
    """Make an empty table like the destination's, with the same primary key."""
    db.execute(f"DROP TABLE IF EXISTS {table}")
    db.execute(f"CREATE TABLE {table} (LIKE bench.photos INCLUDING ALL)")
    db.commit()


def compare_postgres(server: ServerConfig) -> list[Target]:
    """Print rows a second of each way into PostgreSQL; return the ratios that are targets."""
    warehouse, shard, few = PostgresWarehouse(server), answers(0, 100_000), answers(0, FEW).to_pylist()
    warehouse.ensure_table(SPEC)
    names = ", ".join(f'"{name}"' for name in shard.schema.names)
    marks = ", ".join(f"%({name})s" for name in shard.schema.names)
    ways = ("row by row", "row by row, commit by 1000", "plain COPY", "load", "load again")
    speed: dict[str, list[float]] = {way: [] for way in ways}
    with psycopg.connect(host=server.host, user=server.user, dbname=server.database) as db:
        # As it is by default; the demo's server turns it off.
        db.execute(f"ALTER ROLE {server.user} SET synchronous_commit = on; SET synchronous_commit = on")
        db.commit()

        def row_by_row(commit_every: int) -> None:
            fresh(db, "bench.rows")
            for number, row in enumerate(few, start=1):
                db.execute(f"INSERT INTO bench.rows ({names}) VALUES ({marks})", row)
                if number % commit_every == 0:
                    db.commit()

        def plain_copy() -> None:
            copy_in(db, "bench.copied", shard, keys=())
            db.commit()

        for _ in range(ROUNDS):
            fresh(db, "bench.copied")
            db.execute("TRUNCATE bench.photos")
            db.commit()
            speed["row by row"].append(FEW / seconds(lambda: row_by_row(1)))
            speed["row by row, commit by 1000"].append(FEW / seconds(lambda: row_by_row(1000)))
            speed["plain COPY"].append(shard.num_rows / seconds(plain_copy))
            speed["load"].append(shard.num_rows / seconds(lambda: warehouse.load(SPEC, shard)))
            speed["load again"].append(shard.num_rows / seconds(lambda: warehouse.load(SPEC, shard)))
    best = report("PostgreSQL", speed)
    print(f"  load / row by row, commit by 1000  {best['load'] / best['row by row, commit by 1000']:6.1f}x")
    print(f"  plain COPY / the same              {best['plain COPY'] / best['row by row, commit by 1000']:6.1f}x")
    return [
        Target("PostgreSQL: load / row by row", best["load"] / best["row by row"], least=25),
        Target("PostgreSQL: load / plain COPY", best["load"] / best["plain COPY"], least=0.4),
    ]


def compare_duckdb(folder: Path) -> list[Target]:
    """Print rows a second of each way into DuckDB; return the ratio that is a target."""
    warehouse, shard, few = DuckDBWarehouse(str(folder / "w.duckdb")), answers(0, 100_000), answers(0, FEW).to_pylist()
    warehouse.ensure_table(SPEC)
    marks = ", ".join("?" * len(shard.schema.names))
    speed: dict[str, list[float]] = {"executemany": [], "load": [], "load again": []}
    for number in range(ROUNDS):
        spec = replace(SPEC, table=f"photos{number}")
        warehouse.ensure_table(spec)
        with duckdb.connect(str(folder / f"rows{number}.duckdb")) as db:
            db.register("shape", shard)
            db.execute("CREATE TABLE photos AS FROM shape LIMIT 0")
            rows = [list(row.values()) for row in few]
            taken = seconds(lambda: db.executemany(f"INSERT INTO photos VALUES ({marks})", rows))  # noqa: B023
        speed["executemany"].append(FEW / taken)
        speed["load"].append(shard.num_rows / seconds(lambda: warehouse.load(spec, shard)))  # noqa: B023
        speed["load again"].append(shard.num_rows / seconds(lambda: warehouse.load(spec, shard)))  # noqa: B023
    best = report("DuckDB", speed)
    return [Target("DuckDB: load / executemany", best["load"] / best["executemany"], least=100)]


def report(title: str, speed: dict[str, list[float]]) -> dict[str, float]:
    """Print the best of the rounds, which the rest of the machine disturbed least."""
    best = {name: max(rounds) for name, rounds in speed.items()}
    print(f"{title}, {ROUNDS} rounds, rows a second:", ", ".join(f"{name} {rate:,.0f}" for name, rate in best.items()))
    return best


def load_a_million(name: str, warehouse: Warehouse) -> tuple[int, int, int]:
    """Load a million answers by shards; return the peak of the memory before, after a fifth and at the end, in MB."""
    spec, before, peak = replace(SPEC, table="million"), peak_memory(), []
    began = time.perf_counter()
    for first in range(0, MILLION, SHARD):
        warehouse.load(spec, answers(first, SHARD, asked_at=NOON + timedelta(seconds=first)))
        peak.append(peak_memory())
    taken, early = time.perf_counter() - began, peak[len(peak) // 5 - 1]
    print(
        f"{name}: {MILLION:,} answers in {taken:.0f} s, made and loaded; "
        f"peak memory {early} MB after {MILLION // 5:,}, {peak[-1]} MB at the end ({peak[-1] / early:.2f}x)"
    )
    return before, early, peak[-1]


def peak_memory() -> int:
    """Return this process's peak so far in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> int:
    """Run the comparisons."""
    with running_postgres() as server, tempfile.TemporaryDirectory() as folder:
        _, early, end = load_a_million("PostgreSQL", PostgresWarehouse(server))
        targets = [Target("PostgreSQL: memory at the end / after a fifth", end / early, most=FLAT)]
        targets += compare_postgres(server)
        before, _, end = load_a_million("DuckDB", DuckDBWarehouse(f"{folder}/million.duckdb"))
        targets.append(Target("DuckDB: MB that a million answers take", end - before, most=DUCKDB_MEGABYTES))
        return verdict(*targets, *compare_duckdb(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
