"""A source's query over an Airflow connection of a real PostgreSQL."""

from __future__ import annotations

import json
import socket
from datetime import date
from urllib.parse import quote

import psycopg
import pytest

from vision_batch.errors import AuthenticationError, ConnectionInputError, InputError, ServiceUnavailableError
from vision_batch.hooks.query import query_rows
from vision_batch.warehouse.server import ServerConfig

QUERY = "SELECT uri, sku, name FROM photos WHERE day = {partition} AND name NOT LIKE '%old%' ORDER BY sku"


@pytest.fixture
def dwh(postgres_place, monkeypatch) -> None:
    """A connection ``dwh`` to a database with four photographs."""
    monkeypatch.setenv("AIRFLOW_CONN_DWH", postgres_place.url)
    with psycopg.connect(postgres_place.url) as db:
        db.execute("CREATE TABLE photos (uri text, sku integer, name text, day date)")
        rows = [("s3://shop/a.jpg", 1, "Чайник"), ("s3://shop/b.jpg", 2, "{name} 100%"), ("s3://shop/c.jpg", 3, "old")]
        for row in rows:
            db.execute("INSERT INTO photos VALUES (%s, %s, %s, %s)", [*row, date(2026, 11, 22)])
        db.execute("INSERT INTO photos VALUES ('s3://shop/d.jpg', 4, 'next', '2026-11-23')")


@pytest.mark.usefixtures("dwh")
def test_a_query_is_asked_with_its_partition_bound():
    assert list(query_rows("dwh", QUERY, "2026-11-22")) == [
        {"uri": "s3://shop/a.jpg", "sku": 1, "name": "Чайник"},
        {"uri": "s3://shop/b.jpg", "sku": 2, "name": "{name} 100%"},
    ]
    assert list(query_rows("dwh", QUERY, "2026-11-24")) == []


@pytest.mark.usefixtures("dwh")
def test_a_partition_is_never_part_of_the_sql():
    query = "SELECT {partition}::text AS uri"
    evil = "x'; DROP TABLE photos; --"
    assert list(query_rows("dwh", query, evil)) == [{"uri": evil}]


@pytest.fixture
def redshift(redshift_place, monkeypatch) -> None:
    """A connection ``dwh`` of another driver, which tells SQL states in another way."""
    server = ServerConfig.from_url(redshift_place.url)
    told = {"host": server.host, "port": server.port, "login": server.user, "schema": server.database}
    told |= {"conn_type": "redshift", "password": "x", "extra": {"ssl": False}}
    monkeypatch.setenv("AIRFLOW_CONN_DWH", json.dumps(told))


@pytest.mark.usefixtures("dwh")
def test_a_column_that_the_answer_has_twice_is_named_if_it_is_needed():
    query = "SELECT uri, 1 AS n, 2 AS n FROM photos WHERE day = {partition}"
    assert len(list(query_rows("dwh", query, "2026-11-22", {"uri"}))) == 3
    with pytest.raises(InputError, match=r"^source\.query, over connection 'dwh': column 'n' is there 2 times"):
        list(query_rows("dwh", query, "2026-11-22", {"uri", "n"}))


FINAL = {
    "no such table": ("SELECT uri FROM fotos WHERE day = {partition}::date", 'relation "fotos" does not exist'),
    "no SQL": ("SELEKT {partition}", "syntax error"),
    "wrong cast": ("SELECT name::integer AS uri FROM (SELECT {partition}::text AS name) t", "invalid input syntax for type integer"),
    "wrong value": ("SELECT length({partition}::text) / 0 AS uri", "division by zero"),
}  # fmt: skip


@pytest.mark.parametrize("driver", ["dwh", "redshift"])
@pytest.mark.parametrize(("query", "said"), FINAL.values(), ids=FINAL)
def test_a_query_that_is_wrong_is_final_and_told_with_its_connection(request, driver, query, said):
    request.getfixturevalue(driver)
    with pytest.raises(InputError) as caught:
        list(query_rows("dwh", query, "2026-11-22"))
    assert str(caught.value).startswith("source.query, over connection 'dwh': ")
    assert said in str(caught.value)


@pytest.mark.usefixtures("dwh")
def test_a_value_that_the_driver_cannot_hold_is_final():
    query = "SELECT date '2026-01-01' + n * 10000000 AS uri FROM generate_series(0, 1) n WHERE {partition} <> ''"
    with pytest.raises(InputError, match="over connection 'dwh'"):
        list(query_rows("dwh", query, "2026-11-22"))


@pytest.mark.parametrize("driver", ["dwh", "redshift"])
def test_a_transaction_that_is_rolled_back_for_another_may_be_done_again(request, driver):
    request.getfixturevalue(driver)
    place = request.getfixturevalue("postgres_place" if driver == "dwh" else "redshift_place")
    with psycopg.connect(place.behind or place.url) as db:
        body = "BEGIN RAISE EXCEPTION 'too late' USING ERRCODE = '40001'; END"
        db.execute(f"CREATE FUNCTION conflict(text) RETURNS text LANGUAGE plpgsql AS $${body}$$")
    with pytest.raises(ServiceUnavailableError, match="too late"):
        list(query_rows("dwh", "SELECT conflict({partition}::text) AS uri", "2026-11-22"))


@pytest.mark.usefixtures("dwh")
def test_a_connection_that_is_lost_may_come_back():
    query = "SELECT {partition}::text AS uri, pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(ServiceUnavailableError, match=r"^source\.query, over connection 'dwh': "):
        list(query_rows("dwh", query, "2026-11-22"))


@pytest.mark.usefixtures("dwh")
def test_a_lock_that_is_held_for_too_long_is_let_go(postgres_place, monkeypatch):
    options = quote("-c lock_timeout=50", safe="")
    monkeypatch.setenv("AIRFLOW_CONN_DWH", f"{postgres_place.url}&options={options}")
    with psycopg.connect(postgres_place.url) as db:
        db.execute("LOCK TABLE photos")
        with pytest.raises(ServiceUnavailableError, match="lock timeout"):
            list(query_rows("dwh", QUERY, "2026-11-22"))


def test_a_database_that_does_not_answer_may_come_back(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("AIRFLOW_CONN_DWH", f"postgresql://nobody:secret@127.0.0.1:{port}/none")
    with pytest.raises(ServiceUnavailableError, match="over connection 'dwh': ") as caught:
        list(query_rows("dwh", QUERY, "2026-11-22"))
    assert "secret" not in str(caught.value)


def test_a_database_that_lets_nobody_in_is_final(postgres_place, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_DWH", postgres_place.url.replace("/case_", "/nosuch_"))
    with pytest.raises(AuthenticationError, match="does not exist"):
        list(query_rows("dwh", QUERY, "2026-11-22"))
    monkeypatch.setenv("AIRFLOW_CONN_DWH", f"{postgres_place.url}&nosuch=1")
    with pytest.raises(ConnectionInputError, match='invalid connection option "nosuch"'):
        list(query_rows("dwh", QUERY, "2026-11-22"))


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        ("aws://", "connection 'dwh' of source.query_connection is of type 'aws', which answers no SQL; name one of a database"),
        ("nosuch://", "connection 'dwh' of source.query_connection: Unknown hook type"),
    ],
)  # fmt: skip
def test_a_connection_that_answers_no_sql_is_named(monkeypatch, connection, said):
    monkeypatch.setenv("AIRFLOW_CONN_DWH", connection)
    with pytest.raises(ConnectionInputError) as caught:
        list(query_rows("dwh", QUERY, "2026-11-22"))
    assert str(caught.value).startswith(said)


def test_a_connection_that_is_not_there_is_named():
    with pytest.raises(ConnectionInputError, match=r"connection 'nowhere' of source\.query_connection: "):
        list(query_rows("nowhere", QUERY, "2026-11-22"))
