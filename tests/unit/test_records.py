"""What earlier versions have left in a work folder can be read."""

import io
import json
from datetime import UTC, datetime

import pyarrow.parquet as pq

from vision_batch.shards.folder import Waiting, WorkFolder
from vision_batch.shards.records import ManifestItem, items_from_parquet, items_to_parquet
from vision_batch.store import open_store

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ITEM = ManifestItem("a", "s3://b/a", "id", "2026-11-22", "e", 7, NOON, 2, {"word": "x"}, tokens=700, least_tokens=400)


def test_a_manifest_says_again_what_was_written():
    assert items_from_parquet(items_to_parquet([ITEM])) == [ITEM]


def test_a_manifest_without_least_tokens_is_certain_of_none():
    table = pq.read_table(io.BytesIO(items_to_parquet([ITEM]))).drop_columns("least_tokens")
    sink = io.BytesIO()
    pq.write_table(table, sink)
    [item] = items_from_parquet(sink.getvalue())
    assert (item.tokens, item.least_tokens) == (700, 0)


def test_the_open_state_of_an_earlier_version_waits_on(tmp_path):
    uri = f"file://{tmp_path}"
    (tmp_path / "photos").mkdir()
    waiting = {"2026-11-22": {"since": NOON.isoformat(), "items": 2, "tokens": 1400}}
    (tmp_path / "photos" / "open.json").write_text(json.dumps({"version": 1, "shards": {}, "waiting": waiting}))
    work = WorkFolder(open_store(uri), uri, "photos")
    state = work.open_state()
    assert state.waiting == {"2026-11-22": Waiting(NOON, 2, 1400, 0)}
    assert state.unannounced == {}
