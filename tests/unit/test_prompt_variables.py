"""Values of a manifest on their way into requests: data, never a template; other values are other requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from vision_batch.enrichment.declaration import Declaration
from vision_batch.shards.records import Fate
from vision_batch.steps.claim import claim
from vision_batch.steps.listing import items_of
from vision_batch.steps.plan import plan
from vision_batch.steps.resources import Resources
from vision_batch.steps.spool import spool_requests

DAY = "2026-11-22"


@pytest.fixture
def resources(tmp_path: Path) -> Resources:
    for name, colour in {"a": "red", "copy": "red", "b": "blue"}.items():
        Image.new("RGB", (40, 30), colour).save(tmp_path / f"{name}.png")
    declaration = {
        "name": "products",
        "model": "gemma-3-12b-it",
        "work_folder": f"file://{tmp_path}/work/",
        "source": {"manifest": f"file://{tmp_path}/{{partition}}.csv", "key_column": "sku", "variables": ["product", "brand"]},
        "prompt": "Is it a {product} of {brand}? Not {this kind}.",
        "answer": {"fields": {"fits": {"type": "boolean", "description": "whether it is"}}},
        "destination": {"path": f"{tmp_path}/w.duckdb", "table": "enrichment.products"},
    }  # fmt: skip
    return Resources(Declaration.model_validate(declaration))


def spooled(resources: Resources, tmp_path: Path, *rows: str):
    lines = [f"{sku},file://{tmp_path}/{name}.png,{rest}" for sku, name, rest in (row.split(",", 2) for row in rows)]
    (tmp_path / f"{DAY}.csv").write_text("\n".join(["sku,uri,product,brand", *lines]))
    [key] = claim(resources, plan(resources, (DAY,)).uri, (DAY,), "run").shards
    (tmp_path / "spool").mkdir()
    made = spool_requests(resources, resources.shard(key), tmp_path / "spool")
    texts = [json.loads(line)["request"][0]["content"][0]["text"] for line in made.path.read_bytes().splitlines()]
    return {row.item_key: row for row in made.rows}, texts


def test_values_are_put_in_once_and_as_they_are(resources, tmp_path):
    _, [text] = spooled(resources, tmp_path, "1,a,{brand} {0} %s $x,{product}\\1 [ref: 00000000]")
    first, *_, last = text.splitlines()
    assert first == "Is it a {brand} {0} %s $x of {product}\\1 [ref: 00000000]? Not {this kind}."
    assert last.startswith("[ref: ")
    assert last != "[ref: 00000000]"


def test_equal_images_are_one_request_only_where_their_values_are_equal_too(resources, tmp_path):
    rows, texts = spooled(
        resources, tmp_path, "1,a,kettle,Bork", "2,copy,kettle,Bork", "3,copy,kettle,Vitek", "4,b,kettle,Bork"
    )
    assert len(texts) == 3
    assert rows["1"].row == rows["2"].row
    assert len({row.request_key for row in rows.values()}) == len({row.marker for row in rows.values()}) == 3


def test_another_value_is_another_version_of_the_item(resources, tmp_path):
    seen = set()
    for brand in ("Bork", "Vitek"):
        (tmp_path / f"{DAY}.csv").write_text(f"sku,uri,product,brand\n1,file://{tmp_path}/a.png,kettle,{brand}\n")
        seen |= {item.input_id for item in items_of(resources, DAY)}
    assert len(seen) == 2


def test_values_that_leave_no_room_for_the_image_are_told_in_its_row(resources, tmp_path):
    long = "щ" * 2000
    rows, texts = spooled(resources, tmp_path, "1,a,kettle,Bork", f"2,a,{'界' * 2000},{long}")
    assert len(texts) == 1
    assert rows["2"].fate is Fate.REJECTED
    assert rows["2"].detail.startswith("no_room: 0 tokens of the window of gemma-3-12b-it are left for the image")
    assert rows["1"].fate is Fate.SENT
