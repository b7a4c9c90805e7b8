"""Give each case of the contract an empty DuckDB file, PostgreSQL database and ClickHouse."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import boto3
import psycopg
import pytest
from moto import mock_aws
from places import Place
from redshift_front import TEACHING, Front

from vision_batch.demo import postgres
from vision_batch.demo.processes import Processes
from vision_batch.store import Store
from vision_batch.store.s3 import S3Store
from vision_batch.warehouse.opening import EXPERIMENTAL, Kind
from vision_batch.warehouse.server import ServerConfig

#: No power is cut here, and the data go with the test.
UNSAFE_BUT_QUICK = ("-c", "fsync=off", "-c", "full_page_writes=off")

#: Cases that take long, and longer on the stand-ins of what is experimental: those are run by `make test-all`.
LONG = {
    "test_a_process_killed_at_any_of_twenty_points_leaves_whole_shards",
    "test_a_hundred_thousand_keys_are_looked_up",
    "test_two_versions_of_a_dag_load_at_once",
    "test_two_processes_load_the_same_shard_at_once",
    "test_four_processes_load_different_shards_at_once",
    "test_processes_that_add_the_same_jobs_at_once_keep_one_row_each",
    "test_who_reads_meanwhile_sees_whole_shards_only",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = item.callspec.params.get("place") if hasattr(item, "callspec") else None
        if kind in EXPERIMENTAL and item.originalname in LONG:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Run a PostgreSQL of our own on a socket; give the address of a database of it."""
    folder = tmp_path_factory.mktemp("postgres")
    data, processes = folder / "data", Processes(folder / "log", folder / "stack.json")
    postgres.prepare(data, os.environ)
    server = postgres.component(data, os.environ)
    processes.start(replace(server, command=(*server.command, *UNSAFE_BUT_QUICK)))
    try:
        postgres.wait_ready(data, processes)
        host = quote(str(postgres.socket_folder(data)), safe="")
        yield lambda database: f"postgresql://{postgres.USER}@/{quote(database)}?host={host}"
    finally:
        processes.stop_all()
        postgres.clean_socket(data)


@pytest.fixture(scope="session")
def redshift_front(postgres_url: Callable[[str], str]) -> Iterator[Front]:
    """Listen for Redshift's driver in front of that PostgreSQL."""
    folder = ServerConfig.from_url(postgres_url("any")).host
    with Front(str(next(Path(folder).glob(".s.PGSQL.*[0-9]")))) as front:
        threading.Thread(target=front.serve_forever, daemon=True).start()
        yield front
        front.shutdown()


@pytest.fixture(scope="session")
def clickhouse_url(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run ClickHouse's engine behind HTTP, from where `make test-clickhouse` puts it; give its address."""
    engine = project / "var" / "clickhouse"
    if not engine.exists():
        pytest.skip("ClickHouse's engine is not installed: `make test-clickhouse`")
    front, folder = project / "tests" / "warehouse" / "clickhouse_http.py", tmp_path_factory.mktemp("clickhouse")
    server = subprocess.Popen(
        [sys.executable, str(front), str(folder)],
        env={**os.environ, "PYTHONPATH": str(engine)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"clickhouse://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.stdin.close()
        server.stdout.close()
        server.wait(timeout=30)


@pytest.fixture
def postgres_place(request: pytest.FixtureRequest) -> Place:
    """Give an empty PostgreSQL database."""
    return _postgres(request)


@pytest.fixture
def bucket() -> Iterator[Store]:
    """Give moto's S3 with a bucket."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="shop")
        yield S3Store(lambda: client)


@pytest.fixture
def redshift_place(request: pytest.FixtureRequest) -> Place:
    """Give an empty PostgreSQL database behind what Redshift's driver says."""
    return _redshift(request)


@pytest.fixture
def clickhouse_place(request: pytest.FixtureRequest) -> Place:
    """Give an empty ClickHouse."""
    return _clickhouse(request)


def _duckdb(request: pytest.FixtureRequest) -> Place:
    folder: Path = request.getfixturevalue("tmp_path")
    return Place("duckdb", str(folder / "w.duckdb"))


def _postgres(request: pytest.FixtureRequest, kind: Kind = "postgres") -> Place:
    url, name = request.getfixturevalue("postgres_url"), f"case_{uuid4().hex[:12]}"
    with psycopg.connect(url(postgres.USER), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    return Place(kind, url(name))


def _greenplum(request: pytest.FixtureRequest) -> Place:
    """Give PostgreSQL in its place, of which it is made: no Greenplum can be had here."""
    return _postgres(request, "greenplum")


def _redshift(request: pytest.FixtureRequest) -> Place:
    """Give PostgreSQL behind a front, in its place: no Redshift can be had here."""
    front, staging = request.getfixturevalue("redshift_front"), request.getfixturevalue("tmp_path") / "staging"
    behind = _postgres(request)
    with psycopg.connect(behind.url, autocommit=True) as db:
        db.execute(TEACHING)
        (name,) = db.execute("SELECT current_database()").fetchall()[0]
    url = f"redshift://{postgres.USER}@127.0.0.1:{front.port}/{name}?ssl=false"
    return Place("redshift", url, behind.url, f"file://{staging}/")


def _clickhouse(request: pytest.FixtureRequest) -> Place:
    place = Place("clickhouse", request.getfixturevalue("clickhouse_url"))
    request.addfinalizer(lambda: _drop_databases(place))
    return place


def _drop_databases(place: Place) -> None:
    ours = "name NOT IN ('system', 'default', 'information_schema', 'INFORMATION_SCHEMA')"
    for (name,) in place.query(f"SELECT name FROM system.databases WHERE {ours}"):
        place.query(f"DROP DATABASE {place.name(name)}")


_PLACES = {
    "duckdb": _duckdb,
    "postgres": _postgres,
    "clickhouse": _clickhouse,
    "greenplum": _greenplum,
    "redshift": _redshift,
}


@pytest.fixture(
    params=[pytest.param(kind, marks=pytest.mark.clickhouse) if kind == "clickhouse" else kind for kind in _PLACES]
)
def place(request: pytest.FixtureRequest) -> Place:
    """Give an empty database of each kind."""
    return _PLACES[request.param](request)
