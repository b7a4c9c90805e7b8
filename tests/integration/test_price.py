"""What a plan says a picture costs is what preparing it finds, from a fraction of its bytes."""

import json
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from vision_batch.enrichment.declaration import with_overrides
from vision_batch.enrichment.reader import load_declaration
from vision_batch.enrichment.source import list_items
from vision_batch.enrichment.spending import price_of
from vision_batch.errors import ImageRejected
from vision_batch.images.prepare import prepare_image
from vision_batch.models import MODELS
from vision_batch.steps.preview import run
from vision_batch.steps.price import Size, sizes_of, tokens_of
from vision_batch.steps.resources import Resources
from vision_batch.steps.spool import image_budget_tokens

DAY = "2026-11-20"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Draw pictures of many formats and sizes; it takes a second."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = Image.effect_noise((900, 700), 80)
    for name in ("jpg", "png", "webp", "avif", "tif", "gif", "bmp"):
        noise.resize((300 + len(name) * 150, 333)).convert("RGB").save(folder / f"a.{name}")
    pillow_heif.from_pillow(noise.convert("RGB")).save(folder / "a.heic")
    turned = Image.Exif()
    turned[274] = 6
    noise.save(folder / "turned.jpg", exif=turned)
    noise.resize((3000, 2000)).save(folder / "big.jpg", exif=b"Exif\x00\x00" + b"\x00" * 60_000)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    return folder


@pytest.fixture
def resources(tmp_path, project, pictures) -> Resources:
    """Give an enrichment over these pictures, without a service."""
    shutil.copytree(pictures, tmp_path / "bucket" / DAY)
    environ = {
        "VISION_BATCH_IMAGES": f"file://{tmp_path}/bucket",
        "VISION_BATCH_WORK": f"file://{tmp_path}/work",
        "VISION_BATCH_WAREHOUSE": f"{tmp_path}/warehouse.duckdb",
    }
    include = project / "include"
    path = include / "enrichments" / "photo_quality.yaml"
    return Resources(load_declaration(path, include_folder=include, environ=environ))


def items_of(resources):
    return list(list_items(resources.source_store(), resources.declaration.source, DAY))


@pytest.mark.parametrize("model", MODELS)
def test_the_price_is_what_preparing_finds(resources, model):
    resources = replace(resources, declaration=with_overrides(resources.declaration, model=model))
    items = items_of(resources)
    tokens = tokens_of(resources, items)
    assert len(tokens) == 13
    budget = image_budget_tokens(resources, {})
    for item in items:
        try:
            image = prepare_image(resources.source_store().read(item.uri), model=resources.model, budget_tokens=budget)
        except ImageRejected:
            assert tokens[item.item_key] is None
        else:
            most, least = tokens[item.item_key]
            assert most == resources.model.window_tokens - budget + image.tokens
            assert 200 < image.tokens < least < most - resources.declaration.options.max_tokens


def test_headers_are_read_once_and_only_their_beginning(resources, monkeypatch):
    read = []
    store = type(resources.source_store())
    original = store.head

    def counted(self, uri, length, **given):
        body = original(self, uri, length, **given)
        read.append((uri.rsplit("/", 1)[1], len(body)))
        return body

    monkeypatch.setattr(store, "head", counted)
    items = items_of(resources)
    sizes = sizes_of(resources, items)
    assert sizes[items[0].item_key].rejected is None
    of_big = [length for name, length in read if name == "big.jpg"]
    assert of_big == [65_536]

    read.clear()
    assert sizes_of(resources, items) == sizes
    assert [name for name, _ in read if name.endswith(("jpg", "png"))] == []


def test_a_picture_that_changes_is_looked_at_again(resources):
    items = items_of(resources)
    before = sizes_of(resources, items)
    changed = next(item for item in items if item.uri.endswith("a.jpg"))
    path = changed.uri.removeprefix("file://")
    Image.new("RGB", (40, 30)).save(path)
    stale = sizes_of(resources, [replace(changed, etag="another")])[changed.item_key]
    assert stale == Size(rejected="it has changed since it was listed")
    after = sizes_of(resources, items_of(resources))
    assert (after[changed.item_key].width, after[changed.item_key].height) == (40, 30)
    assert {key: size for key, size in after.items() if key != changed.item_key} == {
        key: size for key, size in before.items() if key != changed.item_key
    }


def test_a_job_costs_the_minimum_and_the_waste_is_told(resources):
    price = price_of([[100_000, 150_000], [1000, None], [None]], resources.model, Decimal("0.2"))
    assert (price.images, price.rejected, price.jobs) == (5, 2, 2)
    assert (price.tokens, price.cost.tokens, price.wasted_tokens) == (251_000, 450_000, 199_000)
    assert (price.cost.units, price.cost.money) == (450, 90)
    assert price_of([], resources.model, None).as_dict()["money"] is None


def test_the_command_line_says_what_a_run_would_cost_and_asks_nothing(
    resources, tmp_path, project, monkeypatch, capsys
):
    monkeypatch.setenv("VISION_BATCH_IMAGES", f"file://{tmp_path}/bucket")
    monkeypatch.setenv("VISION_BATCH_WORK", f"file://{tmp_path}/work")
    monkeypatch.setenv("VISION_BATCH_WAREHOUSE", f"{tmp_path}/warehouse.duckdb")
    words = ["photo-quality", "--include", str(project / "include"), "--from", DAY, "--unit-price", "0.2"]
    assert run(words) == 0
    told = capsys.readouterr().out
    assert (
        "13 would be asked of Gemma 3 12B in 1 jobs; 3 of them cannot be sent, 0 are copies of others in their job"
        in told
    )
    assert "billed 200,000" in told
    assert "200 units, 40 at your price" in told

    assert run([*words, "--model", "deepseek-vl2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["planned"], found["price"]["units"], found["price"]["jobs"]) == (13, "400", 1)
    assert resources.work().open_shards() == {}

    assert run([*words[:-2], "--to", "2026-11-19"]) == 2
    assert "swap them" in capsys.readouterr().err
    assert run(["nothing", "--include", str(project / "include")]) == 2
    assert "photo-quality" in capsys.readouterr().err
