"""What history costs when it is looked at again: only what is missing, new, or asked otherwise; a pause loses nothing."""

import os
import re
import shutil
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from enrichment_lab import begins
from PIL import Image

from vision_batch.steps.claim import claim
from vision_batch.steps.janitor import tidy
from vision_batch.steps.plan import plan
from vision_batch.steps.submit import Asked, submit

HISTORY = [f"2026-11-{number:02d}" for number in range(1, 6)]
MONTH = timedelta(days=30)


@pytest.fixture
def day(enrichment):
    """Give a function that draws pictures of a day that differ from all others, and gives their paths."""
    drawn = iter(range(100_000))

    def draw(name, count, start=0):
        colours = [(number % 256, number // 256, 90) for number, _ in zip(drawn, range(count), strict=False)]
        return [
            enrichment.picture(name, f"{start + number:02d}.png", colour, (32, 24))
            for number, colour in enumerate(colours)
        ]

    return draw


def declared(enrichment, **changes):
    changed = enrichment.resources.declaration.model_copy(update=changes)
    enrichment.resources = replace(enrichment.resources, declaration=changed)


def asked(enrichment):
    """Give how many requests each job had."""
    return [job["rows"] for job in enrichment.emulator.bill()]


def test_of_a_history_that_is_nine_tenths_done_the_missing_tenth_is_sent(enrichment, day):
    for name in HISTORY:
        day(name, 9)
    enrichment.run(HISTORY)
    before = {row["item_key"]: row for row in enrichment.rows()}
    missing = {f"file://{path}" for name in HISTORY for path in day(name, 1, start=9)}

    found = plan(enrichment.resources, HISTORY)
    assert (found.listed, found.settled, found.planned, found.shards) == (50, 45, 5, 1)
    enrichment.run(HISTORY, "again")
    assert asked(enrichment) == [45, 5]
    after = {row["item_key"]: row for row in enrichment.rows()}
    assert after.keys() - before.keys() == missing
    assert {key: after[key] for key in before} == before

    # Nothing is left to ask, and an edited prompt asks for all of it.
    enrichment.run(HISTORY, "third")
    assert asked(enrichment) == [45, 5]
    declared(enrichment, prompt="What do you see?")
    enrichment.run(HISTORY, "edited")
    assert asked(enrichment) == [45, 5, 50]
    assert len(enrichment.rows()) == 100


def test_renamed_and_copied_images_cost_nothing_and_overwritten_ones_are_exactly_those_asked(enrichment, day):
    first, second = (day(name, 6) for name in HISTORY[:2])
    enrichment.run(HISTORY)
    first[0].rename(first[0].with_name("renamed.png"))
    shutil.copy(first[1], first[1].with_name("copied.png"))
    (enrichment.folder / "bucket" / HISTORY[4]).mkdir()
    shutil.move(second[0], enrichment.folder / "bucket" / HISTORY[4] / "moved to another day.png")
    published = enrichment.run(HISTORY, "renamed")
    assert asked(enrichment) == [12]
    assert published.announced == {HISTORY[0]: {"answered": 8}, HISTORY[4]: {"answered": 1}}
    assert sum(row["copied_from"] is not None for row in enrichment.rows()) == 3

    overwritten = [first[3], second[4]]
    for number, path in enumerate(overwritten):
        Image.new("RGB", (50, 40 + number), "white").save(path)
    found = plan(enrichment.resources, HISTORY)
    keys = claim(enrichment.resources, found.uri, HISTORY, "overwritten").shards
    items = [item.item_key for key in keys for item in enrichment.resources.shard(key).manifest()]
    assert items == [f"file://{path}" for path in overwritten]
    enrichment.run(HISTORY, "overwritten")
    assert asked(enrichment) == [12, 2]


def a_month_passes(enrichment):
    """Let all times in the work folder be a month ago, and a month pass at the service."""
    for path in (enrichment.folder / "work").rglob("*"):
        if path.suffix == ".json":
            # When an interval begins does not depend on when it was planned.
            moments = r'(?<!"planned_until": ")\d{4}-\d\d-\d\dT[\d:.]+\+00:00'
            path.write_text(re.sub(moments, _earlier, path.read_text()))
        if path.is_file():
            os.utime(path, (time.time() - MONTH.total_seconds(),) * 2)
    enrichment.emulator.advance(MONTH.total_seconds())


def _earlier(found):
    return (datetime.fromisoformat(found[0]) - MONTH).isoformat()


def test_a_pause_of_a_month_loses_nothing(enrichment, day):
    asked_day, prepared, waits, unanswered, in_the_pause, last = (*HISTORY[:4], "2026-11-20", "2026-12-05")
    declared(enrichment, pack=enrichment.resources.declaration.pack.model_copy(update={"min_tokens": 1900}))
    assert enrichment.resources.declaration.lookback == 0
    for name in (asked_day, prepared):
        day(name, 5)
        found = plan(enrichment.resources, [name], scheduled=begins(name))
        [key] = claim(enrichment.resources, found.uri, [name], name).shards
        enrichment.prepare(key)
        if name == asked_day:
            assert isinstance(submit(enrichment.resources, key), Asked)
    day(unanswered, 5)
    enrichment.emulator.scenario("null_response", rows=[2])
    enrichment.run([unanswered], "unanswered", scheduled=begins(unanswered))
    day(waits, 1)
    enrichment.run([waits], "waits", scheduled=begins(waits))
    assert asked(enrichment) == [5, 5]

    a_month_passes(enrichment)
    day(in_the_pause, 2)
    day(last, 1)
    assert tidy(enrichment.resources).flush_since
    found = plan(enrichment.resources, [last], scheduled=begins(last))
    assert (len(found.missed), found.missed[0], found.missed[-1]) == (30, "2026-11-05", "2026-12-04")
    published = enrichment.run([last], "after the pause", scheduled=begins(last))
    assert list(published.announced) == [asked_day, prepared]
    assert list(enrichment.resources.work().open_state().waiting) == sorted([waits, in_the_pause, last])
    published = enrichment.run([last], "by the janitor", flush=True)

    assert {row["status"] for row in enrichment.rows()} == {"answered"}
    assert len(enrichment.rows()) == 5 + 5 + 5 + 1 + 2 + 1
    assert sorted(asked(enrichment)) == [5, 5, 5, 5]
    assert list(published.announced) == sorted([waits, unanswered, in_the_pause, last])
    state = enrichment.resources.work().open_state()
    assert (state.shards, state.waiting) == ({}, {})
