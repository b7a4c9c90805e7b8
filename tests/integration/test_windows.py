"""Whole runs against the emulator: every request is within its model's window, counted by the emulator's formulas."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import duckdb
import pytest
from PIL import ExifTags, Image

from vision_batch.emulator.measures import measure
from vision_batch.emulator.rows import VL_REQUEST
from vision_batch.emulator.tokens import TEMPLATE_TOKENS, Size, image_tokens, text_tokens
from vision_batch.emulator.validation import Rows
from vision_batch.enrichment.declaration import Declaration, with_overrides
from vision_batch.enrichment.reader import load_declaration
from vision_batch.models import MODELS, WIDER_WINDOW_TOKENS
from vision_batch.service.types import ServiceConfig
from vision_batch.steps.claim import claim
from vision_batch.steps.clean import clean
from vision_batch.steps.load import load
from vision_batch.steps.plan import plan
from vision_batch.steps.prepare import finish_prepare, prepare
from vision_batch.steps.publish import publish
from vision_batch.steps.resources import Resources
from vision_batch.steps.submit import Asked, submit

DAY, FOLDER = "2026-11-22", "b1gwindows0000000000"
#: Photographs, a screen, and every shape that some processor wants enlarged, cut up, squashed or refuses.
SIZES = [
    (4032, 3024), (3024, 4032), (1920, 1080), (8192, 6144), (640, 480), (384, 384), (385, 385), (1, 1), (2, 3),
    (27, 4000), (10_000, 10), (10, 10_000), (3456, 384), (384, 3456), (3000, 200), (896, 896), (5000, 1000),
]  # fmt: skip
USUAL_ANSWER = 300
#: So much room for the answer that little is left for the image; one model of each family is enough.
LONG_ANSWER = 2400
RUNS = [
    *((model, USUAL_ANSWER) for model in MODELS),
    *((model, LONG_ANSWER) for model in ("qwen2.5-vl-32b-instruct", "deepseek-vl2", "gemma-3-4b-it")),
]


@dataclass(frozen=True)
class Request:
    """One row of an uploaded dataset, counted by the emulator."""

    text: int
    image: int
    template: int

    def tokens(self, answer: int) -> int:
        return self.text + self.image + self.template + answer


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Path:
    """Pictures of every shape, each with its own content, one of them stored on its side."""
    folder = tmp_path_factory.mktemp("bucket")
    (folder / DAY).mkdir()
    chance = Random(3)
    for number, size in enumerate(SIZES):
        image = Image.frombytes("RGB", (9, 9), chance.randbytes(243)).resize(size, Image.Resampling.NEAREST)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6 if number == 0 else 1
        image.save(folder / DAY / f"{number:02}.jpg", exif=exif, quality=60)
    return folder


@pytest.fixture(scope="module")
def running(emulators):
    wider = (f"--window={model}={tokens}" for model, tokens in WIDER_WINDOW_TOKENS.items())
    added = ("--add-model", "my-vl=deepseek", "--window", "my-vl=2048")
    return {
        "usual": emulators("--folder", FOLDER, "--quota", "jobs_per_hour=100", *added, speed=3000),
        "wider": emulators("--folder", FOLDER, "--quota", "jobs_per_hour=100", *wider, speed=3000),
    }


@pytest.fixture
def declared(project, bucket, tmp_path) -> Declaration:
    environ = {
        "VISION_BATCH_IMAGES": f"file://{bucket}",
        "VISION_BATCH_WORK": f"file://{tmp_path}/work",
        "VISION_BATCH_WAREHOUSE": f"{tmp_path}/warehouse.duckdb",
    }
    include = project / "include"
    return load_declaration(include / "enrichments" / "photo_quality.yaml", include_folder=include, environ=environ)


def whole_run(declaration: Declaration, emulator, windows=None) -> tuple[list[Request], dict[str, int], Resources]:
    """Carry out every step; return the requests as uploaded and the counts by status."""
    config = ServiceConfig(FOLDER, api_key="key", endpoint=emulator.grpc, tls=False, windows=windows or {})
    resources = Resources(declaration, config)
    [key] = claim(resources, plan(resources, (DAY,)).uri, (DAY,), "run").shards
    validating = prepare(resources, key)
    while finish_prepare(resources, key, validating) is None:
        time.sleep(0.05)
    uploaded = list(counted(emulator.state / "datasets" / validating.dataset_id, resources.model.family))
    asked = submit(resources, key)
    assert isinstance(asked, Asked)
    with resources.service() as service:
        while not service.describe_job(asked.job_id).status.is_terminal:
            time.sleep(0.05)
    load(resources, key, "run")
    assert clean(resources, key).closed
    [statuses] = publish(resources, (DAY,), (key,), "run").partitions.values()
    return uploaded, statuses, resources


def counted(folder: Path, family: str) -> Iterator[Request]:
    """Count each row of an upload that the service has read, by the emulator's formulas from decoded pixels."""
    rows = Rows(folder, VL_REQUEST)
    for number in range(len(rows)):
        row = rows[number]
        pixels = [measure(image) for image in row.images()]
        sizes = [Size(image.width, image.height) for image in pixels]
        yield Request(text_tokens("\n".join(row.texts())), image_tokens(family, sizes), TEMPLATE_TOKENS[family])
    rows.close()


def with_answer(declaration: Declaration, tokens: int) -> Declaration:
    options = declaration.options.model_copy(update={"max_tokens": tokens})
    return declaration.model_copy(update={"options": options})


@pytest.mark.parametrize(("model", "answer"), RUNS)
def test_every_request_of_a_run_is_within_the_models_window(declared, running, model, answer):
    declaration = with_answer(with_overrides(declared, model=model), answer)
    uploaded, statuses, resources = whole_run(declaration, running["usual"])
    assert len(uploaded) == len(SIZES)
    assert max(request.tokens(answer) for request in uploaded) <= 4096
    assert statuses == {"answered": len(SIZES)}  # the emulator refuses a row that is longer than the window
    with duckdb.connect(resources.declaration.destination.path, read_only=True) as db:
        estimates = db.sql(
            "select estimated_tokens, raw_text from enrichment.photo_quality order by image_uri"
        ).fetchall()
    for request, (estimate, text) in zip(uploaded, estimates, strict=True):
        assert request.tokens(text_tokens(text)) <= estimate


@pytest.mark.parametrize(
    ("model", "where"), [("qwen2-vl-7b-instruct", "declaration"), ("qwen2.5-vl-7b-instruct", "connection")]
)
def test_a_wider_window_is_used_and_kept(declared, running, model, where):
    declaration, windows = with_overrides(declared, model=model), None
    if where == "declaration":
        declaration = declaration.model_copy(update={"window_tokens": 16_384})
    else:
        windows = {model: 16_384}
    uploaded, statuses, _ = whole_run(declaration, running["wider"], windows)
    assert 15_000 < max(request.tokens(USUAL_ANSWER) for request in uploaded) <= 16_384
    assert statuses == {"answered": len(SIZES)}


def test_a_model_of_the_settings_is_asked_within_its_own_window(declared, running):
    """By a declaration as it is read from a file beside ``include/models.yaml``."""
    settings = {"my-vl": {"family": "deepseek", "window_tokens": 2048}}
    declaration = Declaration.model_validate(declared.model_dump() | {"added_models": settings, "model": "my-vl"})
    uploaded, statuses, _ = whole_run(declaration, running["usual"])
    assert 1200 < max(request.tokens(USUAL_ANSWER) for request in uploaded) <= 2048
    assert statuses == {"answered": len(SIZES)}


def test_the_emulator_does_refuse_a_row_that_is_longer_than_the_window(declared, running):
    """What the tests above rely on: a window that is wider than the service's makes failed rows."""
    declaration = with_overrides(declared, model="qwen2-vl-7b-instruct")
    declaration = declaration.model_copy(update={"window_tokens": 16_384})
    uploaded, statuses, _ = whole_run(declaration, running["usual"])
    longer = sum(request.tokens(0) > 4096 for request in uploaded)
    assert longer > 3
    assert statuses == {"answered": len(SIZES) - longer, "failed": longer}
