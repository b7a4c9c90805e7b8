"""What only PostgreSQL has: people who are refused, locks, readers that stay, databases of another encoding."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pyarrow as pa
import pytest
from places import SPEC, Place, batch, jobs, other_question

from vision_batch.errors import (
    AuthenticationError,
    DestinationBusyError,
    InputError,
    SchemaConflictError,
    ServiceUnavailableError,
)
from vision_batch.warehouse.opening import Kind
from vision_batch.warehouse.postgres import PostgresWarehouse
from vision_batch.warehouse.protocol import Column
from vision_batch.warehouse.server import ServerConfig


def impatient(place: Place) -> PostgresWarehouse:
    return PostgresWarehouse(ServerConfig.from_url(place.url), busy_timeout_seconds=0.3)


def test_somebody_unknown_is_refused_for_good(postgres_place: Place):
    stranger = replace(ServerConfig.from_url(postgres_place.url), user="stranger", password="sesame")
    with pytest.raises(AuthenticationError, match='role "stranger" does not exist') as refused:
        PostgresWarehouse(stranger).ensure_table(SPEC)
    assert "sesame" not in str(refused.value)


def test_a_role_without_rights_is_refused_for_good(postgres_place: Place):
    postgres_place.query("CREATE ROLE reader LOGIN")
    reader = replace(ServerConfig.from_url(postgres_place.url), user="reader")
    with pytest.raises(AuthenticationError, match="permission denied for database"):
        PostgresWarehouse(reader).ensure_table(SPEC)


def test_a_server_that_is_not_there_is_tried_again_later(tmp_path):
    with pytest.raises(ServiceUnavailableError, match="No such file or directory"):
        PostgresWarehouse(ServerConfig(host=str(tmp_path), user="x")).ensure_table(SPEC)


def test_a_role_that_owns_nothing_but_may_write_can_load(postgres_place: Place):
    impatient(postgres_place).ensure_table(SPEC)
    postgres_place.query("CREATE ROLE loader LOGIN")
    postgres_place.query("GRANT USAGE ON SCHEMA enrichment TO loader")
    postgres_place.query("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA enrichment TO loader")
    warehouse = PostgresWarehouse(replace(ServerConfig.from_url(postgres_place.url), user="loader"))
    assert warehouse.ensure_table(SPEC) == []
    assert warehouse.load(SPEC, batch(1, range(3))).inserted == 3


@pytest.mark.parametrize("kind", ["postgres", "greenplum"])
def test_texts_mean_the_same_where_a_backslash_was_set_to_begin_an_escape(postgres_place: Place, kind: Kind):
    """As ALTER DATABASE or ALTER ROLE may set it for an old program beside us."""
    postgres_place.query(
        "ALTER DATABASE "
        + postgres_place.url.partition("@/")[2].partition("?")[0]
        + " SET standard_conforming_strings = off"
    )
    place, text = replace(postgres_place, kind=kind), "C:\\new\\' OR 'a' = 'a"
    spec = replace(SPEC, question_key=text, question=text, comment=text, fields=(Column("kind", "string", text),))
    place.open().ensure_table(spec)
    for _ in range(2):
        place.open().load(spec, batch(1, range(3), spec), jobs({"job_id": text}))
    assert place.rows(spec, "question_key") == [(text,)] * 3
    assert place.open().settled(spec, pa.table({"item_key": ["item-000001"]})).num_rows == 1
    assert place.query("SELECT question FROM enrichment.vision_batch_questions") == [(text,)]
    assert place.query("SELECT obj_description('enrichment.photos'::regclass)") == [(text,)]
    assert place.jobs() == [(text,)]


def test_a_lock_of_somebody_else_is_waited_for_then_named(postgres_place: Place):
    warehouse = impatient(postgres_place)
    warehouse.ensure_table(SPEC)
    with psycopg.connect(postgres_place.url) as holder:
        holder.execute("LOCK TABLE enrichment.photos IN EXCLUSIVE MODE")
        with pytest.raises(DestinationBusyError, match="another writer holds the table"):
            warehouse.load(SPEC, batch(1, range(3)))
    assert warehouse.load(SPEC, batch(1, range(3))).inserted == 3


def test_a_report_that_reads_for_hours_holds_nobody_up_and_sees_whole_shards(postgres_place: Place):
    warehouse = impatient(postgres_place)
    warehouse.ensure_table(SPEC)
    warehouse.load(SPEC, batch(1, range(10)))
    with psycopg.connect(postgres_place.url) as report:
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        count = "SELECT count(*), min(kind) FROM enrichment.photos_current"
        assert report.execute(count).fetchall() == [(10, "1")]
        assert warehouse.ensure_table(SPEC) == []
        warehouse.load(SPEC, batch(2, range(20)))
        assert warehouse.settled(SPEC, pa.table({"item_key": ["item-000015"]})).num_rows == 1
        assert report.execute(count).fetchall() == [(10, "1")]


def test_who_reads_the_view_and_who_adds_a_column_do_not_wait_for_each_other(postgres_place: Place):
    """A reader takes the view, then the table; the one who takes them in the other order makes a deadlock."""
    warehouse = PostgresWarehouse(ServerConfig.from_url(postgres_place.url))
    warehouse.ensure_table(SPEC)
    wider = other_question(SPEC, "q2", Column("colour", "string"))
    with psycopg.connect(postgres_place.url) as reader, ThreadPoolExecutor(1) as pool:
        reader.execute("ALTER VIEW enrichment.photos_current ALTER COLUMN item_key DROP DEFAULT")  # holds it
        widening = pool.submit(warehouse.ensure_table, wider)
        while not postgres_place.query("SELECT 1 FROM pg_locks WHERE NOT granted"):
            time.sleep(0.01)
        assert reader.execute("SELECT count(*) FROM enrichment.photos").fetchall() == [(0,)]
        reader.commit()
        assert widening.result() == ["added column colour"]


def test_a_database_that_cannot_hold_every_text_is_refused_before_anything_is_asked(postgres_place: Place):
    postgres_place.query("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    latin = replace(ServerConfig.from_url(postgres_place.url), database="latin")
    with pytest.raises(SchemaConflictError, match="holds texts as LATIN1; answers need one with the encoding UTF8"):
        PostgresWarehouse(latin).ensure_table(SPEC)


@pytest.mark.parametrize("name", ["item_key", "image_sha256", "request_key"])
def test_a_zero_byte_in_a_key_fails_the_plan_and_is_never_changed_silently(postgres_place: Place, name: str):
    warehouse = impatient(postgres_place)
    warehouse.ensure_table(SPEC)
    look_up = warehouse.settled if name == "item_key" else warehouse.by_content
    with pytest.raises(InputError, match=r"cannot hold a character: .*0x00"):
        look_up(SPEC, pa.table({name: ["a\0"]}))


def test_a_table_without_the_key_is_refused_before_anything_is_asked(postgres_place: Place):
    postgres_place.query("CREATE SCHEMA enrichment")
    postgres_place.query("CREATE TABLE enrichment.photos (question_key text, item_key text)")
    with pytest.raises(
        SchemaConflictError, match=r"enrichment\.photos has no primary key of question_key and item_key"
    ):
        impatient(postgres_place).ensure_table(SPEC)
