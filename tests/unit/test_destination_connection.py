"""Airflow's connections as database servers; what is secret is never shown."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import boto3
import pytest
from airflow.sdk import Connection
from moto import mock_aws

from vision_batch.enrichment.declaration import Destination
from vision_batch.errors import ConnectionInputError
from vision_batch.hooks.destination import destination_server, read_server
from vision_batch.store.files import FileStore
from vision_batch.warehouse import opening
from vision_batch.warehouse.opening import EXPERIMENTAL, open_warehouse
from vision_batch.warehouse.server import ServerConfig
from vision_batch.warehouse.staging import Staging


def test_a_connection_becomes_a_server(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_DWH", "postgres://писатель:p%40ss@db:6432/shop?sslmode=require&cursor=realdict")
    server = destination_server("dwh")
    assert server == ServerConfig("db", 6432, "писатель", "p@ss", "shop", {"sslmode": "require"})


def test_what_is_secret_is_not_shown():
    server = ServerConfig.from_url("postgresql://me:sesame@db/shop?sslpassword=hidden")
    for shown in (
        repr(server),
        str(server),
        repr(open_warehouse("postgres", server)),
        repr(open_warehouse("clickhouse", server)),
    ):
        assert "sesame" not in shown
        assert "hidden" not in shown


def test_the_folder_of_a_socket_is_a_host():
    connection = Connection(conn_id="dwh", conn_type="postgres", extra='{"host": "/run/postgresql"}')
    assert read_server(connection).host == "/run/postgresql"


def test_a_connection_without_a_host_is_refused():
    with pytest.raises(
        ConnectionInputError, match="connection 'dwh', field 'host': found nothing; allowed: the server's name"
    ):
        read_server(Connection(conn_id="dwh", conn_type="postgres"))


@pytest.mark.parametrize("kind", ["postgres", "clickhouse", "greenplum"])
def test_an_option_that_nobody_knows_is_named(kind):
    warehouse = open_warehouse(kind, ServerConfig("db", options={"sslmod": "require"}))
    with pytest.raises(
        ConnectionInputError, match=r"option 'sslmod' of the database is not known; allowed: .*connect_timeout"
    ):
        list(warehouse.answers(None))


@pytest.mark.parametrize(
    "url", ["db", "postgresql://", "postgresql://me:sesame@db:port/x", "postgresql://me:sesame@db/x?a"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url):
    with pytest.raises(
        ConnectionInputError, match="is not of the form scheme://user:password@host:port/database"
    ) as refused:
        ServerConfig.from_url(url)
    assert "sesame" not in str(refused.value)


BLOCKED = """
import sys
sys.modules[sys.argv[2]] = None
from vision_batch.warehouse.opening import open_warehouse
from vision_batch.errors import ConnectionInputError
try:
    open_warehouse(sys.argv[1], None)
except ConnectionInputError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("kind", "driver"),
    [
        ("duckdb", "duckdb"),
        ("postgres", "psycopg"),
        ("clickhouse", "clickhouse_connect"),
        ("greenplum", "psycopg"),
        ("redshift", "redshift_connector"),
    ],
)
def test_a_driver_that_is_not_installed_is_named_with_its_extra(project, kind, driver):
    said = subprocess.run([sys.executable, "-c", BLOCKED, kind, driver], capture_output=True, text=True, check=True)
    expected = f"destination {kind!r} needs {driver!r}, which is not installed: pip install 'vision-batch[{kind}]'\n"
    assert said.stdout == expected
    extras = tomllib.loads((project / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(driver in need.replace("-", "_") for need in extras[kind])


@pytest.mark.parametrize("kind", sorted(EXPERIMENTAL))
def test_what_was_never_run_live_says_so_once(kind, caplog):
    opening._warn.cache_clear()
    for _ in range(2):
        open_warehouse(kind, ServerConfig("db"), *([Staging(FileStore(), "file:///x/")] * (kind == "redshift")))
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"Destination {kind!r} is experimental: it was not yet run live, see docs/warehouse.md."
    ]


def test_a_redshift_connection_becomes_a_server():
    connection = Connection(
        conn_id="dwh", conn_type="redshift", host="w.eu.redshift.amazonaws.com", login="me", password="p", schema="shop",
        extra='{"iam": false, "cluster_identifier": "w", "iam_role": "arn:aws:iam::1:role/copy"}',
    )  # fmt: skip
    server = read_server(connection)
    assert (server.user, server.password, server.options) == ("me", "p", {"iam_role": "arn:aws:iam::1:role/copy"})


def test_a_redshift_connection_with_iam_asks_for_a_temporary_password(monkeypatch):
    """Of moto, through the Amazon provider and its connection."""
    with mock_aws():
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DWH", "aws://?region_name=eu-west-1")
        boto3.client("redshift", region_name="eu-west-1").create_cluster(
            ClusterIdentifier="w", NodeType="ra3.large", MasterUsername="me", MasterUserPassword="Sesame-1"
        )
        extra = '{"iam": true, "cluster_identifier": "w", "aws_conn_id": "aws_dwh"}'
        connection = Connection(conn_id="dwh", conn_type="redshift", host="w", login="me", schema="shop", extra=extra)
        server = read_server(connection)
    assert server.user == "IAM:me"
    assert server.password
    assert server.options == {}


def test_destinations_have_identities_of_their_own():
    assert Destination(path="/w.duckdb", table="a.b").identity() == "duckdb:/w.duckdb:a.b"
    assert Destination(type="postgres", connection="dwh", table="a.b").identity() == "postgres:dwh:a.b"
