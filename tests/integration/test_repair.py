"""Images without an answer are asked again with jobs that leave anyway, and make none of their own."""

from dataclasses import replace
from datetime import timedelta

import pytest
from enrichment_lab import DAYS

from vision_batch.enrichment.declaration import with_overrides
from vision_batch.enrichment.terms import Repair
from vision_batch.steps.claim import claim
from vision_batch.steps.janitor import tidy
from vision_batch.steps.plan import plan

MONDAY, TUESDAY, WEDNESDAY = "2026-11-23", "2026-11-24", "2026-11-25"


def colour(number):
    """Return a colour that no other picture of a test has, so that no picture is a copy."""
    return (number % 256, number // 256, 90)


@pytest.fixture
def day(enrichment):
    """Give a function that draws pictures of a day that differ from all others."""
    drawn = iter(range(100_000))

    def draw(name, count, size=(32, 24)):
        for number in range(count):
            enrichment.picture(name, f"{number:04d}.png", colour(next(drawn)), size)

    return draw


def declared(enrichment, **changes):
    changed = enrichment.resources.declaration.model_copy(update=changes)
    enrichment.resources = replace(enrichment.resources, declaration=changed)


def jobs(enrichment):
    return [job["rows"] for job in enrichment.emulator.bill()]


def partitions(enrichment, **wanted):
    rows = enrichment.rows("partition, status, attempt")
    return {
        (row["partition"], row["attempt"]) for row in rows if all(row[name] == value for name, value in wanted.items())
    }


def test_seven_bad_rows_of_a_thousand_ride_with_the_next_day(enrichment, day):
    day(MONDAY, 1000)
    enrichment.emulator.scenario("null_response", count=4, seed=1)
    enrichment.emulator.scenario("line_errors", rows=[10, 500, 999])
    bad = enrichment.run([MONDAY]).partitions[MONDAY]
    assert bad["answered"] == 993

    # A day without images makes no job, neither for itself nor for them.
    found = plan(enrichment.resources, [TUESDAY])
    assert (found.shards, found.repair, found.repair_waiting) == (0, 0, 7)
    enrichment.run([TUESDAY])
    assert jobs(enrichment) == [1000]

    day(WEDNESDAY, 3)
    found = plan(enrichment.resources, [WEDNESDAY])
    assert (found.shards, found.planned, found.repair, found.repair_waiting) == (1, 10, 7, 0)
    enrichment.run([WEDNESDAY])
    assert jobs(enrichment) == [1000, 10]
    assert partitions(enrichment, status="answered") == {(MONDAY, 1), (MONDAY, 2), (WEDNESDAY, 1)}
    assert len(enrichment.rows("status")) == 1003


def test_with_a_deadline_they_get_one_job_of_their_own(enrichment, day):
    day(MONDAY, 12)
    declared(enrichment, repair=Repair(deadline=timedelta(hours=6)))
    enrichment.emulator.scenario("missing_rows", rows=[0, 3, 5, 6, 7, 9, 11])
    enrichment.run([MONDAY])
    assert tidy(enrichment.resources).flush_since is None
    assert plan(enrichment.resources, [TUESDAY]).shards == 0

    declared(enrichment, repair=Repair(deadline=timedelta(microseconds=1)))
    assert tidy(enrichment.resources).flush_since == min(
        row["asked_at"] for row in enrichment.rows("status, asked_at") if row["status"] == "missing"
    )
    enrichment.run([TUESDAY], "by the janitor")
    assert jobs(enrichment) == [12, 7]
    assert partitions(enrichment) == {(MONDAY, 1), (MONDAY, 2)}
    assert tidy(enrichment.resources).flush_since is None


def test_an_overwritten_image_is_new_and_one_that_is_gone_stays_as_it_is(enrichment, day):
    day(MONDAY, 4)
    enrichment.emulator.scenario("null_response", rows=[0, 1, 2, 3])
    enrichment.run([MONDAY])
    enrichment.picture(MONDAY, "0000.png", "white", (80, 60))
    (enrichment.folder / "bucket" / MONDAY / "0001.png").unlink()
    before = {row["image_uri"]: row for row in enrichment.rows()}

    day(TUESDAY, 1)
    assert plan(enrichment.resources, [TUESDAY]).repair == 2
    enrichment.run([TUESDAY])
    after = {row["image_uri"]: row for row in enrichment.rows()}
    unchanged = [uri for uri, row in before.items() if after[uri] == row]
    assert [uri.rsplit("/", 1)[1] for uri in unchanged] == ["0000.png", "0001.png"]
    assert jobs(enrichment) == [4, 3]
    # Its own day asks for the new picture, as the first time.
    enrichment.run([MONDAY], "again")
    assert jobs(enrichment) == [4, 3, 1]
    assert {row["attempt"] for row in enrichment.rows() if row["image_uri"].endswith("0000.png")} == {1}


def test_attempts_end_and_what_has_none_left_is_told(enrichment, day, caplog):
    enrichment.limits(max_attempts=2)
    day(MONDAY, 3)
    enrichment.emulator.scenario("null_response", rows=[1])
    enrichment.run([MONDAY])
    day(TUESDAY, 1)
    enrichment.emulator.scenario("missing_rows", rows=[0])  # Monday's name sorts before Tuesday's
    published = enrichment.run([TUESDAY])
    assert published.used_up == {MONDAY: 1}
    assert "1 images have no answer, and no attempts left" in caplog.text

    day(WEDNESDAY, 1)
    enrichment.run([WEDNESDAY])
    assert jobs(enrichment) == [3, 2, 1]
    found = plan(enrichment.resources, [MONDAY])
    assert (found.settled, found.used_up, found.shards) == (3, 1, 0)


def test_they_take_only_the_room_that_a_job_has(enrichment, day):
    day(MONDAY, 5)
    enrichment.emulator.scenario("null_response", rows=[0, 1, 2, 3, 4])
    enrichment.run([MONDAY])
    enrichment.limits(max_rows_per_shard=4)
    day(TUESDAY, 6)
    found = plan(enrichment.resources, [TUESDAY])
    assert (found.shards, found.planned, found.repair, found.repair_waiting) == (2, 8, 2, 3)
    # Full shards have no room, and a day that waits has no job.
    enrichment.limits(max_rows_per_shard=3)
    assert plan(enrichment.resources, [TUESDAY]).repair == 0
    declared(enrichment, pack=enrichment.resources.declaration.pack.model_copy(update={"min_tokens": 200_000}))
    enrichment.limits(max_rows_per_shard=100)
    found = plan(enrichment.resources, [TUESDAY])
    assert (found.shards, found.waiting, found.repair, found.repair_waiting) == (0, 6, 0, 5)
    assert plan(enrichment.resources, [TUESDAY], flush=True).repair == 5


def test_images_that_cost_nothing_make_no_job_for_them(enrichment, day):
    day(MONDAY, 2)
    enrichment.emulator.scenario("null_response", rows=[0])
    enrichment.run([MONDAY])
    broken = enrichment.folder / "bucket" / TUESDAY / "broken.png"
    broken.parent.mkdir()
    broken.write_bytes(b"no picture")
    enrichment.run([TUESDAY])
    assert jobs(enrichment) == [2]
    assert partitions(enrichment, status="rejected") == {(TUESDAY, 1)}


def test_two_runs_that_would_take_the_same_ones_along_take_them_once(enrichment, day):
    day(MONDAY, 2)
    enrichment.emulator.scenario("null_response", rows=[0, 1])
    enrichment.run([MONDAY])
    day(TUESDAY, 1)
    day(WEDNESDAY, 1)
    plans = [plan(enrichment.resources, [name]).uri for name in (TUESDAY, WEDNESDAY)]
    keys = [
        claim(enrichment.resources, uri, [name], name).shards
        for uri, name in zip(plans, (TUESDAY, WEDNESDAY), strict=True)
    ]
    items = [[item.item_key for item in enrichment.resources.shard(key).manifest()] for (key,) in keys]
    assert [len(each) for each in items] == [3, 1]


def test_who_finds_that_all_others_are_asked_already_makes_no_job_for_them(enrichment, day):
    day(MONDAY, 2)
    enrichment.emulator.scenario("null_response", rows=[0, 1])
    enrichment.run([MONDAY])
    day(TUESDAY, 1)
    with_riders = plan(enrichment.resources, [TUESDAY]).uri
    enrichment.limits(max_rows_per_shard=1)
    without = plan(enrichment.resources, [TUESDAY])
    assert (without.planned, without.repair_waiting) == (1, 2)
    assert claim(enrichment.resources, without.uri, [TUESDAY], "first").new == 1
    assert claim(enrichment.resources, with_riders, [TUESDAY], "second").new == 0


def test_a_run_with_another_model_takes_nothing_along(enrichment, day):
    day(MONDAY, 2)
    enrichment.emulator.scenario("null_response", rows=[0])
    enrichment.run([MONDAY])
    day(TUESDAY, 1)
    declared(enrichment, lookback=3)
    asked = with_overrides(enrichment.resources.declaration, model="gemma-3-4b-it")
    found = plan(replace(enrichment.resources, declaration=asked), [TUESDAY])
    assert (found.listed, found.planned, found.repair) == (1, 1, 0)


def test_lookback_finds_images_that_came_late_and_asks_again_nobody(enrichment, day):
    declared(enrichment, lookback=2)
    day(MONDAY, 2)
    enrichment.emulator.scenario("null_response", rows=[0])
    enrichment.run([MONDAY])
    found = plan(enrichment.resources, [WEDNESDAY])
    assert (found.listed, found.shards, found.repair_waiting) == (2, 0, 1)

    enrichment.picture(MONDAY, "late.png", "white", (70, 50))
    enrichment.picture(DAYS[0], "too late.png", "white", (71, 50))
    enrichment.run([WEDNESDAY])
    assert jobs(enrichment) == [2, 2]
    assert partitions(enrichment) == {(MONDAY, 1), (MONDAY, 2)}
    assert plan(enrichment.resources, ["2026-11-26"]).listed == 0
