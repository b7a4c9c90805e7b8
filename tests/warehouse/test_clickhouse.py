"""What only ClickHouse has: blocks, and servers that refuse."""

from __future__ import annotations

import pyarrow as pa
import pytest
from places import SPEC, Place, batch

from vision_batch.errors import SchemaConflictError, ServiceUnavailableError
from vision_batch.warehouse.clickhouse import ClickHouseWarehouse
from vision_batch.warehouse.server import ServerConfig


@pytest.mark.clickhouse
def test_a_shard_is_inserted_as_one_part_whatever_its_size(clickhouse_place: Place):
    warehouse = clickhouse_place.open()
    warehouse.ensure_table(SPEC)
    clickhouse_place.query("SYSTEM STOP MERGES")
    shard = batch(1, range(20_000))
    texts = pa.array([f"{number:06d}" * 2500 for number in range(shard.num_rows)], pa.string())  # 300 MB
    shard = shard.set_column(shard.schema.get_field_index("raw_text"), "raw_text", texts)
    try:
        warehouse.load(SPEC, shard)
        found = (
            "SELECT count(), sum(rows) FROM system.parts WHERE active AND database = 'enrichment' AND table = 'photos'"
        )
        assert clickhouse_place.query(found) == [(1, 20_000)]
    finally:
        clickhouse_place.query("SYSTEM START MERGES")


def test_a_server_that_is_not_there_is_tried_again_later():
    warehouse = ClickHouseWarehouse(ServerConfig("127.0.0.1", 9, options={"connect_timeout": "1"}))
    with pytest.raises(ServiceUnavailableError, match=r"ClickHouse at 127\.0\.0\.1: "):
        warehouse.ensure_table(SPEC)


@pytest.mark.clickhouse
def test_a_table_that_does_not_replace_by_key_is_refused_before_anything_is_asked(clickhouse_place: Place):
    clickhouse_place.query("CREATE DATABASE enrichment")
    clickhouse_place.query("CREATE TABLE enrichment.photos (item_key String) ENGINE = MergeTree ORDER BY item_key")
    with pytest.raises(
        SchemaConflictError, match=r"enrichment\.photos is a MergeTree ordered by \(item_key\), but answers"
    ):
        clickhouse_place.open().ensure_table(SPEC)
