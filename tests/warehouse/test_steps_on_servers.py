"""A whole run, from images to the view, with each kind of destination; its credentials come from Airflow's connection."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from PIL import Image
from places import Place

from vision_batch.enrichment.reader import load_declaration
from vision_batch.hooks.destination import destination_server
from vision_batch.service.types import ServiceConfig
from vision_batch.steps.claim import claim
from vision_batch.steps.clean import clean
from vision_batch.steps.load import load
from vision_batch.steps.plan import plan
from vision_batch.steps.prepare import finish_prepare, prepare
from vision_batch.steps.publish import publish
from vision_batch.steps.resources import Resources
from vision_batch.steps.submit import submit
from vision_batch.warehouse import greenplum

FOLDER, API_KEY = "b1gtests000000000000", "key-of-the-tests"
YAML = """
name: photos
model: qwen2.5-vl-32b-instruct
work_folder: {folder}/work
source: {{uri: "file://{folder}/bucket/{{partition}}/"}}
destination: {{table: enrichment.photos, {destination}}}
prompt: prompts/photos.md
answer:
  fields:
    colour: {{type: enum, values: [red, green, blue], description: the main colour, required: true}}
"""


@pytest.fixture
def resources(request, place: Place, tmp_path: Path, emulator, monkeypatch: pytest.MonkeyPatch) -> Resources:
    client = None
    if place.kind == "greenplum":
        monkeypatch.setattr(greenplum, "DISTRIBUTED", "")  # PostgreSQL is in its place
    if place.kind == "redshift":
        bucket = request.getfixturevalue("bucket")
        monkeypatch.setattr(request.getfixturevalue("redshift_front"), "store", bucket)
        client = bucket._factory
    include = tmp_path / "include"
    for name in ("enrichments", "prompts"):
        (include / name).mkdir(parents=True)
    (include / "prompts" / "photos.md").write_text("What colour is it?")
    destination = f"path: {place.url}" if place.kind == "duckdb" else f"type: {place.kind}, connection: dwh"
    destination += ", staging: s3://shop/staging/" if place.kind == "redshift" else ""
    path = include / "enrichments" / "photos.yaml"
    path.write_text(YAML.format(folder=tmp_path, destination=destination))
    monkeypatch.setenv("AIRFLOW_CONN_DWH", place.url)
    running = emulator("--api-key", API_KEY, "--folder", FOLDER, speed=20_000)
    config = ServiceConfig(folder_id=FOLDER, api_key=API_KEY, endpoint=running.grpc, tls=False)
    declaration = load_declaration(path, include_folder=include, environ={})
    return Resources(declaration, config, client, destination_server)


def run(resources: Resources, day: str) -> tuple[int, dict]:
    """Run a day; give the number of shards, and the counts."""
    shards = claim(resources, plan(resources, [day]).uri, [day], f"run of {day}").shards
    for key in shards:
        validating = prepare(resources, key)
        while validating is not None and finish_prepare(resources, key, validating) is None:
            time.sleep(0.02)
        asked = submit(resources, key)
        if asked.job_id:
            with resources.service() as service:
                while not service.describe_job(asked.job_id).status.is_terminal:
                    time.sleep(0.02)
        counts = load(resources, key, "run")
        assert load(resources, key, "again") == counts
        assert clean(resources, key).closed
        assert load(resources, key, "a year later") == counts
    return len(shards), publish(resources, [day], shards, "run").partitions[day]


def test_images_become_rows_once_and_copies_are_not_asked(resources: Resources, place: Place, tmp_path: Path):
    first, second = tmp_path / "bucket" / "2026-11-20", tmp_path / "bucket" / "2026-11-21"
    for folder in (first, second):
        folder.mkdir(parents=True)
    for colour in ("red", "green", "blue"):
        Image.new("RGB", (320, 240), colour).save(first / f"{colour}.png")
    (second / "copy of red.png").write_bytes((first / "red.png").read_bytes())
    assert run(resources, "2026-11-20") == (1, {"answered": 3})
    assert run(resources, "2026-11-21") == (1, {"answered": 1})
    assert run(resources, "2026-11-20") == (0, {"answered": 3})
    found = place.rows(resources.table(), "image_uri, colour, copied_from", view=True)
    assert [(uri.rpartition("/")[2], colour, bool(source)) for uri, colour, source in found] == [
        ("blue.png", "blue", False),
        ("green.png", "green", False),
        ("red.png", "red", False),
        ("copy of red.png", "red", True),
    ]
