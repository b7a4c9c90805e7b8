"""What a plan counts is what the emulator bills: images exactly, texts from above and from below, for all eight models."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from enrichment_lab import DAYS, FOLDER, KEY, Enrichment
from PIL import Image

from vision_batch.emulator.tokens import TEMPLATE_TOKENS, text_tokens
from vision_batch.enrichment.declaration import with_overrides
from vision_batch.models import MODELS
from vision_batch.service.rows import marker_line
from vision_batch.steps.claim import claim
from vision_batch.steps.clean import clean
from vision_batch.steps.load import load
from vision_batch.steps.plan import plan
from vision_batch.steps.spool import image_budget_tokens

#: Shapes that some processor enlarges, shrinks, cuts into tiles or refuses.
SIZES = [
    (1, 1), (2, 3), (27, 1400), (10, 2100), (384, 384), (385, 385), (640, 480), (896, 896), (1200, 129), (1920, 1080),
]  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory, project, emulators):
    """Give an enrichment over pictures of awkward sizes and one that cannot be read."""
    running = emulators("--api-key", KEY, "--folder", FOLDER, "--quota", "jobs_per_hour=100", speed=20_000)
    made = Enrichment(tmp_path_factory.mktemp("awkward"), project, running)
    random = Random(1)
    for number, (width, height) in enumerate(SIZES):
        path = made.picture(DAYS[0], f"{number:02d}.jpg", size=(8, 8))
        Image.frombytes("L", (9, 9), random.randbytes(81)).resize((width, height)).save(path)
    (made.folder / "bucket" / DAYS[0] / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    return made


@pytest.mark.parametrize("model", MODELS)
def test_a_plans_image_tokens_are_those_of_the_bill_and_all_its_tokens_are_bounds(lab, model):
    own = lab.resources
    lab.resources = replace(own, declaration=with_overrides(own.declaration, model=model))
    try:
        found = plan(lab.resources, DAYS)
        [key] = claim(lab.resources, found.uri, DAYS, "run").shards
        job = lab.ask(key)
        load(lab.resources, key, "run")
        assert clean(lab.resources, key).closed
    finally:
        resources, lab.resources = lab.resources, own

    shard = resources.shard(key)
    sent = {row.item_key: row for row in shard.rows(shard.dataset().rows_name) if row.row is not None}
    planned = {item.item_key: item.tokens for item in shard.manifest()}
    assert {item for item, tokens in planned.items() if tokens is None} == planned.keys() - sent.keys()
    assert len(sent) >= len(SIZES) - 2  # DeepSeek's processor refuses the thinnest
    text = resources.model.window_tokens - image_budget_tokens(resources, {})
    images = sum(planned[item] - text for item in sent)

    [billed] = [each for each in lab.emulator.bill(rows=True) if each["task_id"] == job.job_id]
    prompts = [resources.declaration.question().render({}, marker_line(row.marker)) for row in sent.values()]
    answers = [row["raw_text"] for row in lab.rows() if row["job_id"] == job.job_id]
    assert len(billed["requests"]) == len(prompts) == len(answers) == len(sent)
    template = TEMPLATE_TOKENS[resources.model.family]
    assert billed["tokens"] == images + sum(map(text_tokens, [*prompts, *answers])) + template * len(sent)
    assert billed["tokens"] <= found.price.tokens == sum(filter(None, planned.values()))
    least = sum(item.least_tokens for item in shard.manifest())
    assert images < least <= billed["tokens"]
    assert {item.item_key for item in shard.manifest() if item.least_tokens} == sent.keys()
    assert Counter(row["status"] for row in lab.rows() if row["shard"] == key)["rejected"] == len(planned) - len(sent)
