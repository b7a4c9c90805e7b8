"""What a run by schedule takes along after a pause, without any setting, and what it does not."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from enrichment_lab import COLOURS, begins

from vision_batch.enrichment.declaration import with_overrides
from vision_batch.enrichment.places import Source
from vision_batch.steps.claim import claim
from vision_batch.steps.janitor import tidy
from vision_batch.steps.plan import plan
from vision_batch.steps.preview import lines

DAYS = [f"2026-11-{number:02d}" for number in range(1, 9)]


@pytest.fixture
def pictures(enrichment):
    """Put a picture into every day."""
    for number, day in enumerate(DAYS):
        enrichment.picture(day, "a.png", list(COLOURS)[number % 4], (300 + number, 200))


def declare(enrichment, **changes):
    declaration = enrichment.resources.declaration.model_copy(update=changes)
    enrichment.resources = replace(enrichment.resources, declaration=declaration)


def by_schedule(enrichment, day):
    """Plan and claim a day as its run by schedule does; give what the plan has found."""
    found = plan(enrichment.resources, [day], scheduled=begins(day))
    claim(enrichment.resources, found.uri, [day], f"scheduled {day}")
    return found


def remembered(enrichment):
    return enrichment.resources.work().open_state().planned_until


@pytest.mark.usefixtures("pictures")
def test_the_days_of_a_pause_go_with_the_first_run_after_it_in_one_job(enrichment):
    assert by_schedule(enrichment, DAYS[0]).missed == ()
    found = plan(enrichment.resources, [DAYS[4]], scheduled=begins(DAYS[4]))
    assert (list(found.missed), found.more_missed, found.partitions) == (DAYS[1:4], False, (DAYS[4],))
    assert (found.planned, found.shards) == (4, 1)
    [told] = [line for line in lines(found) if "taken along" in line]
    assert told == f"  {DAYS[1]} to {DAYS[3]} are taken along: 3 partitions that no run by schedule has planned"
    assert remembered(enrichment) == begins(DAYS[0])  # a plan changes nothing

    published = enrichment.run([DAYS[4]], "after", scheduled=begins(DAYS[4]))
    assert sorted(published.announced) == DAYS[1:5]
    assert [job["rows"] for job in enrichment.emulator.bill()] == [4]
    assert remembered(enrichment) == begins(DAYS[4])
    found = by_schedule(enrichment, DAYS[5])
    assert (found.missed, found.planned) == ((), 1)


@pytest.mark.usefixtures("pictures")
def test_a_run_that_was_refused_has_planned_nothing_and_the_next_one_plans_its_day_too(enrichment):
    by_schedule(enrichment, DAYS[0])
    plan(enrichment.resources, [DAYS[1]], scheduled=begins(DAYS[1]))  # rejected, or failed before its claim
    assert list(by_schedule(enrichment, DAYS[2]).missed) == [DAYS[1]]


@pytest.mark.usefixtures("pictures")
def test_runs_that_a_person_starts_are_no_part_of_the_schedule(enrichment):
    enrichment.run(DAYS[3:5], "a range by hand", publish=False)
    assert remembered(enrichment) is None
    assert by_schedule(enrichment, DAYS[2]).missed == ()  # the first one: nothing says that there was a pause
    enrichment.run(DAYS[5:6], "a backfill", publish=False)
    assert remembered(enrichment) == begins(DAYS[2])
    own = enrichment.resources
    enrichment.resources = replace(own, declaration=with_overrides(own.declaration, revision=2))
    assert by_schedule(enrichment, DAYS[7]).missed == ()  # another question
    enrichment.resources = own
    assert remembered(enrichment) == begins(DAYS[2])
    found = by_schedule(enrichment, DAYS[6])
    assert (list(found.missed), found.planned) == (DAYS[3:6], 1)


@pytest.mark.usefixtures("pictures")
def test_a_run_that_is_done_again_does_not_move_the_schedule_back(enrichment):
    for day in (DAYS[0], DAYS[1], DAYS[4]):
        by_schedule(enrichment, day)
    assert by_schedule(enrichment, DAYS[1]).missed == ()
    assert remembered(enrichment) == begins(DAYS[4])
    # Two runs at once: the later one is quicker.
    slow, quick = (plan(enrichment.resources, [day], scheduled=begins(day)) for day in DAYS[5:7])
    assert list(quick.missed) == [DAYS[5]]
    assert claim(enrichment.resources, quick.uri, [DAYS[6]], "quick").new == 1
    assert claim(enrichment.resources, slow.uri, [DAYS[5]], "slow").dropped == 1
    assert remembered(enrichment) == begins(DAYS[6])


@pytest.mark.usefixtures("pictures")
def test_more_than_a_run_may_send_waits_for_the_next_ones(enrichment):
    enrichment.limits(max_rows_per_shard=2, max_shards_per_run=1)
    by_schedule(enrichment, DAYS[0])
    found = by_schedule(enrichment, DAYS[5])
    assert (found.planned, found.left) == (2, 3)
    assert list(enrichment.resources.work().open_state().waiting) == DAYS[3:6]
    found = by_schedule(enrichment, DAYS[6])
    assert (found.missed, found.planned, found.left) == ((), 2, 2)
    found = by_schedule(enrichment, DAYS[7])
    assert (found.planned, found.left) == (2, 1)


@pytest.mark.usefixtures("pictures")
def test_days_before_the_declared_start_are_no_part_of_a_pause(enrichment):
    by_schedule(enrichment, DAYS[0])
    declare(enrichment, start_date=date.fromisoformat(DAYS[3]))
    assert list(by_schedule(enrichment, DAYS[5]).missed) == DAYS[3:5]


def test_a_day_of_the_pause_whose_list_is_wrong_keeps_no_other_waiting_and_is_tried_again(enrichment):
    bucket = enrichment.folder / "bucket"
    source = {"manifest": f"file://{bucket}/{{partition}}.csv", "allowed_prefixes": [f"file://{bucket}/"]}
    declare(enrichment, source=Source.model_validate(source))
    for number, day in enumerate(DAYS[:4]):
        picture = enrichment.picture(day, "a.png", list(COLOURS)[number])
        (bucket / f"{day}.csv").write_text(f"uri\nfile://{picture}\n")
    by_schedule(enrichment, DAYS[0])
    good = (bucket / f"{DAYS[1]}.csv").read_text()
    (bucket / f"{DAYS[1]}.csv").write_text("url\nx\n")

    found = by_schedule(enrichment, DAYS[3])
    assert (list(found.missed), list(found.skipped), found.planned) == (DAYS[1:3], [DAYS[1]], 2)
    waiting = enrichment.resources.work().open_state().waiting
    assert {day: entry.items for day, entry in waiting.items()} == {DAYS[1]: 0}
    declare(enrichment, pack=enrichment.resources.declaration.pack.model_copy(update={"max_wait": timedelta(0)}))
    assert tidy(enrichment.resources).flush_since is None
    assert list(by_schedule(enrichment, DAYS[4]).skipped) == [DAYS[1]]
    (bucket / f"{DAYS[1]}.csv").write_text(good)
    found = by_schedule(enrichment, DAYS[5])
    assert (found.missed, found.planned) == ((), 1)
    assert enrichment.resources.work().open_state().waiting == {}
