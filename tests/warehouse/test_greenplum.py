"""What only Greenplum has: the clause that says where rows lie, and writers that take turns."""

from __future__ import annotations

import psycopg
import pytest
from places import SPEC, Place, batch

from vision_batch.errors import DestinationBusyError
from vision_batch.warehouse import greenplum
from vision_batch.warehouse.opening import open_warehouse
from vision_batch.warehouse.postgres import PostgresWarehouse
from vision_batch.warehouse.server import ServerConfig


def test_the_clause_is_all_that_postgres_does_not_understand(postgres_place: Place):
    """What the contract runs without it is what Greenplum gets."""
    as_it_is = open_warehouse("greenplum", ServerConfig.from_url(postgres_place.url))
    with pytest.raises(
        psycopg.errors.SyntaxError, match=r'"DISTRIBUTED"\nLINE 1: .*, PRIMARY KEY \("question_key", "item_key'
    ):
        as_it_is.ensure_table(SPEC)
    PostgresWarehouse(as_it_is.server, dialect=greenplum.dialect("")).ensure_table(SPEC)
    with pytest.raises(psycopg.errors.SyntaxError, match=r'"DISTRIBUTED"\nLINE 1: .*\) ON COMMIT DROP DISTRIBUTE'):
        as_it_is.load(SPEC, batch(1, range(3)))
    assert postgres_place.rows() == []
    assert greenplum.DISTRIBUTED == "DISTRIBUTED BY (item_key)"


def test_another_writer_is_waited_for_then_named_and_readers_are_not_in_the_way(postgres_place: Place):
    ours = PostgresWarehouse(ServerConfig.from_url(postgres_place.url), 0.3, greenplum.dialect(""))
    ours.ensure_table(SPEC)
    ours.load(SPEC, batch(1, range(10)))
    with psycopg.connect(postgres_place.url) as report:
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        count = "SELECT count(*), min(kind) FROM enrichment.photos_current"
        assert report.execute(count).fetchall() == [(10, "1")]
        ours.load(SPEC, batch(2, range(20)))
        assert report.execute(count).fetchall() == [(10, "1")]
    with psycopg.connect(postgres_place.url) as writer:
        writer.execute("DELETE FROM enrichment.photos WHERE item_key = 'item-000001'")
        with pytest.raises(DestinationBusyError, match="another writer holds the table"):
            ours.load(SPEC, batch(3, range(3)))
