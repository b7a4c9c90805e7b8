"""Images stream from the source into the spooled file: in order, a few at a time, with progress in the log."""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from vision_batch.enrichment.reader import load_declaration
from vision_batch.shards.records import Fate
from vision_batch.steps import spool
from vision_batch.steps.claim import claim
from vision_batch.steps.plan import plan
from vision_batch.steps.resources import Resources

DAY = "2026-11-22"


@pytest.fixture
def resources(project, tmp_path):
    environ = {
        "VISION_BATCH_IMAGES": f"file://{tmp_path}/bucket",
        "VISION_BATCH_WORK": f"file://{tmp_path}/work",
        "VISION_BATCH_WAREHOUSE": f"{tmp_path}/warehouse.duckdb",
    }
    include = project / "include"
    path = include / "enrichments" / "photo_quality.yaml"
    (tmp_path / "bucket" / DAY).mkdir(parents=True)
    return Resources(load_declaration(path, include_folder=include, environ=environ))


def spooled(resources, tmp_path):
    [key] = claim(resources, plan(resources, (DAY,)).uri, (DAY,), "run").shards
    (tmp_path / "spool").mkdir()
    return spool.spool_requests(resources, resources.shard(key), tmp_path / "spool")


def test_good_images_become_lines_and_bad_ones_rows_with_their_reason(resources, tmp_path):
    day = tmp_path / "bucket" / DAY
    for number in range(20):
        Image.new("RGB", (40 + number, 30), "red").save(day / f"{number:02}.png")
    (day / "05.png").write_bytes(b"")
    (day / "06.png").write_text("no picture")
    (day / "07.png").write_bytes((day / "08.png").read_bytes()[:60])
    made = spooled(resources, tmp_path)
    fates = {row.item_key.rsplit("/", 1)[1]: row for row in made.rows}
    assert list(fates) == sorted(fates)
    rejected = {name: row.detail.split(":")[0] for name, row in fates.items() if row.fate is Fate.REJECTED}
    assert rejected == {"05.png": "empty", "06.png": "not_an_image", "07.png": "truncated"}
    lines = made.path.read_bytes().splitlines()
    assert made.requests == len(lines) == 17
    for row in fates.values():
        if row.fate is Fate.SENT:
            assert row.marker in json.loads(lines[row.row])["request"][0]["content"][0]["text"]


def test_the_log_tells_how_many_are_done_how_fast_and_how_long_it_will_take(resources, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(spool, "PROGRESS_SECONDS", 0.0)
    for number in range(3):
        Image.new("RGB", (40 + number, 30), "red").save(tmp_path / "bucket" / DAY / f"{number}.png")
    with caplog.at_level(logging.INFO, logger=spool.__name__):
        spooled(resources, tmp_path)
    told = [record.getMessage() for record in caplog.records if record.name == spool.__name__]
    assert [text.split(",")[0] for text in told] == [f"Prepared {done} of 3 images" for done in (1, 2, 3)]
    assert told[-1].endswith("a second, about 0 s left.")


def test_few_progress_lines_are_written_however_many_images_there_are(caplog):
    progress = spool._Progress(10_000)
    with caplog.at_level(logging.INFO, logger=spool.__name__):
        for _ in range(10_000):
            progress.step()
    assert len(caplog.records) == 1


def test_results_come_in_order_and_only_a_few_are_in_flight():
    started, lock = [], threading.Lock()

    def work(number):
        with lock:
            started.append(number)
        time.sleep(0.002 * (number % 3))
        return number

    with ThreadPoolExecutor(spool.WORKERS) as pool:
        for taken, found in enumerate(spool._in_order(pool, work, range(200))):
            assert found == taken
            with lock:
                assert len(started) <= taken + 2 * spool.WORKERS
    assert len(started) == 200
