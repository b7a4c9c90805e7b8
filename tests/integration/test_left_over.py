"""What a shard or a late plan leaves unasked waits for the next run, and keeps its day from being announced."""

from dataclasses import replace
from os import urandom

import pytest
from enrichment_lab import begins
from PIL import Image

from vision_batch.enrichment.declaration import with_overrides
from vision_batch.enrichment.terms import Pack
from vision_batch.errors import FinalError
from vision_batch.steps.claim import claim
from vision_batch.steps.clean import clean
from vision_batch.steps.janitor import tidy
from vision_batch.steps.load import load
from vision_batch.steps.plan import plan
from vision_batch.steps.publish import publish
from vision_batch.steps.submit import Asked, submit

MONDAY, TUESDAY, WEDNESDAY = "2026-11-23", "2026-11-24", "2026-11-25"


def declared(enrichment, **changes):
    changed = enrichment.resources.declaration.model_copy(update=changes)
    enrichment.resources = replace(enrichment.resources, declaration=changed)


def waiting(enrichment):
    return {day: entry.items for day, entry in enrichment.resources.work().open_state().waiting.items()}


def load_all(enrichment, keys, run_id):
    for key in keys:
        enrichment.ask(key)
        load(enrichment.resources, key, run_id)


def clean_all(enrichment, keys):
    for key in keys:
        assert clean(enrichment.resources, key).closed


def noise(enrichment, name, side=900, quality=20):
    """Draw a picture that is small at rest and large as sent: as PNG, without loss."""
    path = enrichment.picture(MONDAY, name)
    Image.frombytes("L", (side, side), urandom(side * side)).save(path.with_suffix(".webp"), quality=quality)
    path.unlink()


def test_an_image_overwritten_before_it_is_read_is_asked_by_the_next_run_whatever_its_days(enrichment):
    enrichment.picture(MONDAY, "stays.png", "red")
    enrichment.picture(MONDAY, "changes.png", "green")
    keys = enrichment.claim([MONDAY], "monday")
    enrichment.picture(MONDAY, "changes.png", "white", (100, 77))
    load_all(enrichment, keys, "monday")
    # It waits from now on in the eyes of all, although its shard is not cleaned yet.
    assert waiting(enrichment) == {}
    other = publish(enrichment.resources, [TUESDAY], (), "other")
    own = publish(enrichment.resources, [MONDAY], keys, "monday")
    assert (other.announced, own.announced, own.waiting) == ({}, {}, {MONDAY: 1})
    clean_all(enrichment, keys)
    assert waiting(enrichment) == {MONDAY: 1}
    own = publish(enrichment.resources, [MONDAY], keys, "monday")
    assert (own.announced, own.waiting) == ({}, {MONDAY: 1})

    enrichment.picture(TUESDAY, "x.png", "blue")
    tuesday = enrichment.run([TUESDAY], "tuesday")
    assert tuesday.announced == {MONDAY: {"answered": 2}, TUESDAY: {"answered": 1}}
    found = {row["image_uri"].rsplit("/", 1)[1]: row["dominant_color"] for row in enrichment.rows()}
    assert found == {"stays.png": "red", "changes.png": "white", "x.png": "blue"}
    assert waiting(enrichment) == {}
    assert [job["rows"] for job in enrichment.emulator.bill()] == [1, 2]


def test_what_has_no_room_in_its_dataset_goes_with_the_next_runs_until_all_is_asked(enrichment):
    enrichment.limits(max_bytes_per_shard=1_000_000)
    for number in range(3):
        noise(enrichment, f"{number}.png")
    keys = enrichment.claim([MONDAY], "monday")
    load_all(enrichment, keys, "monday")
    clean_all(enrichment, keys)
    assert publish(enrichment.resources, [MONDAY], keys, "monday").announced == {}
    left = waiting(enrichment)[MONDAY]
    assert 1 <= left < 3
    for number in range(left):
        assert waiting(enrichment)
        last = enrichment.run([TUESDAY], f"later {number}")
        if not waiting(enrichment):
            break
    assert list(last.announced) == [MONDAY]
    assert [row["status"] for row in enrichment.rows()] == ["answered"] * 3


def test_a_request_that_has_no_room_in_any_dataset_is_a_failed_row_and_waits_for_nothing(enrichment):
    enrichment.limits(max_bytes_per_shard=1_000_000, max_attempts=1)
    declared(enrichment, model="qwen2.5-vl-7b-instruct")
    noise(enrichment, "large.png", side=1400, quality=1)
    enrichment.picture(MONDAY, "small.png", "red")
    keys = enrichment.claim([MONDAY], "monday")
    load_all(enrichment, keys, "monday")
    clean_all(enrichment, keys)
    large, small = enrichment.rows()
    assert (large["status"], small["status"]) == ("failed", "answered")
    assert "limits.max_bytes_per_shard allows 1000000" in large["error"]
    assert waiting(enrichment) == {}


def test_a_deleted_image_keeps_its_day_from_nothing_unless_it_is_there_again(enrichment):
    for name, colour in (("stays.png", "red"), ("goes.png", "green"), ("moves.png", "blue")):
        enrichment.picture(MONDAY, name, colour)
    keys = enrichment.claim([MONDAY], "monday")
    day = enrichment.folder / "bucket" / MONDAY
    for name in ("goes.png", "moves.png"):
        (day / name).rename(enrichment.folder / name)
    for key in keys:
        enrichment.ask(key)
    (enrichment.folder / "moves.png").rename(day / "moves.png")
    for key in keys:
        assert load(enrichment.resources, key, "monday") == {"answered": 1}
    clean_all(enrichment, keys)
    assert waiting(enrichment) == {MONDAY: 1}
    assert enrichment.run([TUESDAY], "tuesday").announced == {MONDAY: {"answered": 2}}

    enrichment.picture(TUESDAY, "stays.png", "white")
    gone = enrichment.picture(TUESDAY, "goes.png", "white", (9, 9))
    keys = enrichment.claim([TUESDAY], "again")
    gone.unlink()
    load_all(enrichment, keys, "again")
    clean_all(enrichment, keys)
    assert waiting(enrichment) == {}
    assert publish(enrichment.resources, [TUESDAY], keys, "again").announced == {TUESDAY: {"answered": 1}}


def test_a_shard_whose_dataset_somebody_deleted_makes_its_run_red_and_the_next_one_asks_it(enrichment):
    for day in (MONDAY, TUESDAY):
        enrichment.picture(day, "0.png", "red" if day == MONDAY else "blue")
    [key] = enrichment.claim([MONDAY, TUESDAY], "first")
    enrichment.prepare(key)
    with enrichment.resources.service() as service:
        service.delete_dataset(enrichment.resources.shard(key).dataset().dataset_id)
    assert submit(enrichment.resources, key) == Asked(None)
    assert clean(enrichment.resources, key).closed
    assert waiting(enrichment) == {MONDAY: 1, TUESDAY: 1}
    with pytest.raises(FinalError, match="its dataset was deleted"):
        publish(enrichment.resources, [MONDAY, TUESDAY], [key], "first")
    found = enrichment.run([WEDNESDAY], "next")
    assert found.announced == {MONDAY: {"answered": 1}, TUESDAY: {"answered": 1}}
    assert waiting(enrichment) == {}


def test_images_of_a_job_that_a_person_cancelled_do_not_wait(enrichment):
    """They are free, but whoever has stopped a job does not want the next run to start it again."""
    enrichment.picture(MONDAY, "0.png")
    enrichment.emulator.scenario("canceled")
    [key] = enrichment.claim([MONDAY])
    enrichment.ask(key)
    clean_all(enrichment, [key])
    assert waiting(enrichment) == {}


def test_a_run_with_another_model_leaves_nothing_waiting(enrichment):
    enrichment.picture(MONDAY, "0.png", "red")
    own = enrichment.resources
    other = with_overrides(own.declaration, model="gemma-3-4b-it")
    enrichment.resources = replace(own, declaration=other)
    keys = enrichment.claim([MONDAY], "other")
    enrichment.picture(MONDAY, "0.png", "blue", (99, 99))
    load_all(enrichment, keys, "other")
    enrichment.resources = own  # whoever cleans it
    clean_all(enrichment, keys)
    assert waiting(enrichment) == {}


def test_the_janitor_lets_a_shard_leave_what_it_has_not_asked(enrichment):
    enrichment.picture(MONDAY, "0.png", "red")
    keys = enrichment.claim([MONDAY], "dies")
    enrichment.picture(MONDAY, "0.png", "blue", (99, 99))
    load_all(enrichment, keys, "dies")
    enrichment.limits(adopt_after=begins(MONDAY) - begins(MONDAY))
    found = tidy(enrichment.resources)
    assert (found.closed, found.waiting_items) == (tuple(keys), 1)


def test_a_lost_reply_to_the_swap_that_closes_counts_nothing_twice(enrichment, lose_reply):
    enrichment.picture(MONDAY, "0.png", "red")
    keys = enrichment.claim([MONDAY], "monday")
    enrichment.picture(MONDAY, "0.png", "blue", (99, 99))
    load_all(enrichment, keys, "monday")
    lost = lose_reply(f'"noted_by": "{keys[0]}"'.encode())
    clean_all(enrichment, keys)
    assert lost
    assert waiting(enrichment) == {MONDAY: 1}
    clean_all(enrichment, keys)
    assert waiting(enrichment) == {MONDAY: 1}


def test_a_plan_that_looked_while_a_shard_was_open_does_not_take_out_what_that_left(enrichment):
    enrichment.picture(MONDAY, "0.png", "red")
    keys = enrichment.claim([MONDAY], "monday")
    again = plan(enrichment.resources, [MONDAY]).uri  # nothing to ask: it is being asked
    enrichment.picture(MONDAY, "0.png", "blue", (99, 99))
    load_all(enrichment, keys, "monday")
    clean_all(enrichment, keys)
    assert claim(enrichment.resources, again, [MONDAY], "again").shards == ()
    assert waiting(enrichment) == {MONDAY: 1}


def test_a_plan_that_is_claimed_late_does_not_take_out_what_waits_since(enrichment):
    declared(enrichment, pack=Pack(min_tokens=10_000_000))
    empty = plan(enrichment.resources, [MONDAY])
    enrichment.picture(MONDAY, "0.png", "red")
    late = plan(enrichment.resources, [MONDAY])
    enrichment.picture(MONDAY, "1.png", "blue")
    claim(enrichment.resources, plan(enrichment.resources, [MONDAY]).uri, [MONDAY], "second")
    for each in (late, empty, late):
        claim(enrichment.resources, each.uri, [MONDAY], "first")
        assert waiting(enrichment) == {MONDAY: 2}
    enrichment.flush(WEDNESDAY)
    assert len(enrichment.rows()) == 2
    assert waiting(enrichment) == {}


def test_a_late_image_is_not_lost_with_a_flush_that_was_approved_late(enrichment):
    declared(enrichment, pack=Pack(min_tokens=10_000_000))
    enrichment.picture(MONDAY, "0.png", "red")
    enrichment.run([MONDAY], "monday")
    flush = plan(enrichment.resources, [TUESDAY], flush=True)
    enrichment.picture(MONDAY, "late.png", "blue")
    assert enrichment.run([MONDAY], "again").waiting == {MONDAY: 2}
    keys = claim(enrichment.resources, flush.uri, [TUESDAY], "flush", approved=True).shards
    load_all(enrichment, keys, "flush")
    clean_all(enrichment, keys)
    assert publish(enrichment.resources, [TUESDAY], keys, "flush").announced == {}
    assert enrichment.flush(WEDNESDAY).announced == {MONDAY: {"answered": 2}}


def test_a_lost_reply_to_the_swap_that_claims_changes_nothing(enrichment, lose_reply):
    enrichment.limits(max_rows_per_shard=1, max_shards_per_run=1)
    for day, colour in ((MONDAY, "red"), (TUESDAY, "blue")):
        enrichment.picture(day, "0.png", colour)
    uri = plan(enrichment.resources, [MONDAY, TUESDAY]).uri
    lost = lose_reply(b'"run_id": "run"')
    claimed = claim(enrichment.resources, uri, [MONDAY, TUESDAY], "run")
    assert lost
    assert (len(claimed.shards), claimed.new, claimed.adopted, claimed.dropped) == (1, 1, 0, 0)
    assert waiting(enrichment) == {TUESDAY: 1}
    state = enrichment.resources.work().open_state()
    assert claim(enrichment.resources, uri, [MONDAY, TUESDAY], "run").shards == claimed.shards
    assert enrichment.resources.work().open_state() == state


def test_a_day_is_as_complete_as_its_newest_listing_says_however_late_an_older_plan_is_claimed(enrichment):
    enrichment.picture(MONDAY, "0.png", "red")
    late = plan(enrichment.resources, [MONDAY])
    enrichment.picture(MONDAY, "1.png", "blue")
    enrichment.emulator.scenario("canceled")
    [key] = enrichment.claim([MONDAY], "cancelled")
    enrichment.ask(key)
    clean_all(enrichment, [key])
    keys = claim(enrichment.resources, late.uri, [MONDAY], "late").shards
    load_all(enrichment, keys, "late")
    clean_all(enrichment, keys)
    assert publish(enrichment.resources, [MONDAY], keys, "late").announced == {}
    assert enrichment.run([MONDAY], "again").announced == {MONDAY: {"answered": 2}}
