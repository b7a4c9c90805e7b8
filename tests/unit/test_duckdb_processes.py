"""The DuckDB destination with several processes at once, and with processes that die."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE

import duckdb
import pyarrow as pa
import pytest

from vision_batch.errors import DestinationBusyError
from vision_batch.warehouse.duckdb import DuckDBWarehouse
from vision_batch.warehouse.protocol import Column, TableSpec

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SPEC = TableSpec("enrichment", "photos", (Column("kind", "string"),), question_key="q1")

#: What a child process knows: the table, and batches of which the number is time and value.
PRELUDE = """
import os, signal, sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
import pyarrow as pa
import vision_batch.warehouse.duckdb as module
from vision_batch.warehouse.protocol import Column, TableSpec
warehouse = module.DuckDBWarehouse(sys.argv[1])
spec = TableSpec("enrichment", "photos", (Column("kind", "string"),), question_key="q1")
def batch(number, keys):
    asked_at = datetime(2026, 11, 22, 12, tzinfo=UTC) + timedelta(minutes=number)
    rows = [{"question_key": "q1", "item_key": str(key), "kind": str(number), "asked_at": asked_at} for key in keys]
    return pa.Table.from_pylist(rows, schema=spec.arrow_schema())
"""


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python processes after the prelude; they end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
        started.append(subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def rows(path: Path) -> list[tuple]:
    with duckdb.connect(path) as db:
        return db.execute("select item_key, kind from enrichment.photos order by item_key::int").fetchall()


def load(path: Path, number: int, keys: range) -> None:
    asked_at = NOON + timedelta(minutes=number)
    found = [{"question_key": "q1", "item_key": str(k), "kind": str(number), "asked_at": asked_at} for k in keys]
    DuckDBWarehouse(str(path)).load(SPEC, pa.Table.from_pylist(found, schema=SPEC.arrow_schema()))


def test_processes_that_write_at_once_wait_for_each_other(child, tmp_path):
    path = tmp_path / "w.duckdb"
    code = """
for number in range(int(sys.argv[2]), 12, 3):
    warehouse.ensure_table(spec)
    warehouse.load(spec, batch(number, range(0, 100 * (12 - number))))
    warehouse.settled(spec, pa.table({"item_key": ["1"]}))
"""
    children = [child(code, path, first) for first in range(3)]
    for each in children:
        _, problems = each.communicate(timeout=250)
        assert each.returncode == 0, problems
    # Batch n holds the first 100 * (12 - n) keys and is newer than n - 1.
    assert rows(path) == [(str(key), str(11 - key // 100)) for key in range(1200)]


def test_threads_that_write_at_once_wait_for_each_other(tmp_path):
    path = tmp_path / "w.duckdb"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: load(path, number, range(50)), range(8)))
    assert rows(path) == [(str(key), "7") for key in range(50)]


def test_a_file_that_stays_locked_is_named_with_its_holder(child, tmp_path):
    path = tmp_path / "w.duckdb"
    holder = child("import duckdb\ndb = duckdb.connect(sys.argv[1])\nprint('open', flush=True)\nsys.stdin.read()", path)
    holder.stdout.readline()
    with pytest.raises(DestinationBusyError, match=rf"w.duckdb could not be opened within 0.3 s; .*PID {holder.pid}"):
        DuckDBWarehouse(str(path), busy_timeout_seconds=0.3).ensure_table(SPEC)


def test_a_lock_that_is_given_back_is_waited_for(child, tmp_path):
    path = tmp_path / "w.duckdb"
    holder = child(
        "import duckdb, time\ndb = duckdb.connect(sys.argv[1])\nprint('open', flush=True)\ntime.sleep(1)\ndb.close()",
        path,
    )
    holder.stdout.readline()
    assert DuckDBWarehouse(str(path)).ensure_table(SPEC) == ["created enrichment.photos"]


def test_a_file_that_is_no_database_fails_at_once(tmp_path):
    path = tmp_path / "w.duckdb"
    path.write_text("not a database " * 1000)
    longer_than_a_test_may_take = 3600
    with pytest.raises(duckdb.IOException, match="not a valid DuckDB database"):
        DuckDBWarehouse(str(path), busy_timeout_seconds=longer_than_a_test_may_take).ensure_table(SPEC)


def test_a_process_killed_before_its_commit_leaves_nothing(child, tmp_path):
    path = tmp_path / "w.duckdb"
    load(path, 1, range(1000))
    before = rows(path)
    code = """
@contextmanager
def never_committed(db):
    db.begin()
    yield
    os.kill(os.getpid(), signal.SIGKILL)
module._transaction = never_committed
warehouse.load(spec, batch(2, range(500, 5000)))
"""
    killed = child(code, path)
    killed.communicate(timeout=250)
    assert killed.returncode == -signal.SIGKILL
    assert rows(path) == before
    load(path, 2, range(500, 5000))
    assert rows(path) == [(str(key), "1" if key < 500 else "2") for key in range(5000)]


def test_a_process_killed_at_any_time_leaves_whole_loads(child, tmp_path):
    path = tmp_path / "w.duckdb"
    load(path, 0, range(20_000))
    seen = 0
    for delay in (0.0, 0.01, 0.03, 0.06, 0.1):
        code = """
made = {number: batch(number, range(20_000)) for number in range(int(sys.argv[2]), int(sys.argv[2]) + 5)}
print("ready", flush=True)
for table in made.values():
    warehouse.load(spec, table)
sys.stdin.read()
"""
        killed = child(code, path, seen + 1)
        killed.stdout.readline()
        time.sleep(delay)
        killed.kill()
        killed.communicate()
        found = rows(path)
        assert len(found) == 20_000
        kinds = {kind for _, kind in found}
        assert len(kinds) == 1, "half of a load is there"
        assert seen <= int(*kinds) <= seen + 5
        seen = int(*kinds)
