"""A year of small days: in one job by a manual run, in a few by runs of single days that wait for each other."""

import time
from dataclasses import replace
from datetime import date, timedelta

import duckdb
import pytest
from enrichment_lab import FOLDER, KEY, Enrichment
from PIL import Image

from vision_batch.steps.claim import claim
from vision_batch.steps.clean import clean
from vision_batch.steps.load import load
from vision_batch.steps.plan import plan
from vision_batch.steps.publish import publish
from vision_batch.steps.submit import Asked, submit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

DAYS = [str(date(2025, 1, 1) + timedelta(days=number)) for number in range(365)]
IMAGES = 20
FLOOR = 200_000


def fill(lab, days):
    """Put images into every day, each with its own content."""
    for place, day in enumerate(days):
        folder = lab.folder / "bucket" / day
        folder.mkdir(parents=True)
        for number in range(IMAGES):
            colour = (place % 256, place // 256 * 20 + number, 128)
            Image.new("RGB", (64, 48), colour).save(folder / f"{number:02d}.png", compress_level=1)


def bring_forward(lab, run_id, days, **how):
    """Run the days as their DAG does: wait for quota, send, load, clean, publish; return what the plan found."""
    found = plan(lab.resources, days, **how)
    keys = claim(lab.resources, found.uri, days, run_id).shards
    for key in keys:
        lab.prepare(key)
        while not isinstance(asked := submit(lab.resources, key), Asked):
            time.sleep(0.05)
        lab.wait(asked.job_id)
        load(lab.resources, key, run_id)
        assert clean(lab.resources, key).closed
    publish(lab.resources, days, keys, run_id)
    return found


def rows_by_day(lab):
    with duckdb.connect(f"{lab.folder}/warehouse.duckdb", read_only=True) as db:
        query = """
            SELECT "partition", count(*) FROM enrichment.photo_quality
            WHERE status = 'answered' AND contains(image_uri, '/' || "partition" || '/') GROUP BY 1
        """
        return dict(db.sql(query).fetchall())


@pytest.fixture
def lab(tmp_path, project, emulator):
    """Give an enrichment over a year, on an emulator with the service's own quotas."""
    made = Enrichment(tmp_path, project, emulator("--api-key", KEY, "--folder", FOLDER, speed=20_000))
    fill(made, DAYS)
    return made


def test_one_manual_run_over_a_year_makes_the_fewest_jobs_there_can_be(lab):
    limits = lab.resources.declaration.limits
    pictures = [path.stat().st_size for path in (lab.folder / "bucket").rglob("*.png")]
    least = max(-(-len(pictures) // limits.max_rows_per_shard), -(-sum(pictures) // limits.max_bytes_per_shard))
    assert (len(pictures), least) == (7300, 1)

    found = bring_forward(lab, "year", DAYS)

    assert found.shards == least
    [job] = lab.emulator.bill()
    assert job["rows"] == len(pictures)
    assert rows_by_day(lab) == dict.fromkeys(DAYS, IMAGES)
    assert lab.emulator.refused() == []
    assert bring_forward(lab, "again", DAYS).shards == 0
    assert len(lab.emulator.bill()) == 1


def test_runs_of_single_days_wait_for_each_other_and_every_job_but_the_last_is_worth_its_minimum(lab):
    declaration = lab.resources.declaration
    pack = declaration.pack.model_copy(update={"min_tokens": FLOOR})
    lab.resources = replace(lab.resources, declaration=declaration.model_copy(update={"pack": pack}))

    for day in DAYS:
        bring_forward(lab, day, [day])
    assert bring_forward(lab, "flush", DAYS[-1:], flush=True).shards <= 1

    jobs = lab.emulator.bill()
    tokens = [job["tokens"] for job in jobs]  # as the emulator counts them, whatever the plan expected
    print(f"\n{len(DAYS) * IMAGES} images, {len(jobs)} jobs, {sum(tokens)} tokens, the least of a job: {min(tokens)}")  # noqa: T201 - for the docs
    assert len(jobs) > 1
    assert all(each >= FLOOR for each in tokens[:-1])
    assert len(jobs) <= sum(tokens) / FLOOR + 1
    assert sum(job["rows"] for job in jobs) == len(DAYS) * IMAGES
    assert rows_by_day(lab) == dict.fromkeys(DAYS, IMAGES)
    assert lab.emulator.refused() == []
    state = lab.resources.work().open_state()
    assert (state.shards, state.waiting) == ({}, {})
    assert bring_forward(lab, "again", DAYS, flush=True).shards == 0
    assert len(lab.emulator.bill()) == len(jobs)
