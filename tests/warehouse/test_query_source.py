"""A source's query over an Airflow connection of a real PostgreSQL."""

from __future__ import annotations

from datetime import date

import psycopg
import pytest

from vision_batch.errors import ConnectionInputError
from vision_batch.hooks.query import query_rows

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
