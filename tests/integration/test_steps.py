"""The steps of a shard against a real emulator, without Airflow: what is asked, paid, loaded and left."""

import re
from dataclasses import replace
from datetime import timedelta

import duckdb
import pytest
from enrichment_lab import COLOURS, DAYS, KEY
from PIL import Image

from vision_batch.enrichment.declaration import with_overrides
from vision_batch.enrichment.source import list_items
from vision_batch.errors import (
    AuthenticationError,
    FinalError,
    ObjectMissingError,
    RequestRefusedError,
    RetryableError,
    SchemaConflictError,
    ServiceUnavailableError,
)
from vision_batch.steps.claim import claim
from vision_batch.steps.clean import clean
from vision_batch.steps.explain import explain
from vision_batch.steps.janitor import tidy
from vision_batch.steps.load import load
from vision_batch.steps.plan import plan
from vision_batch.steps.plan_file import read_plan
from vision_batch.steps.price import tokens_of
from vision_batch.steps.publish import publish
from vision_batch.steps.submit import Asked, NotYet, submit


def test_images_become_rows_in_one_job_and_a_second_run_asks_nothing(enrichment):
    for day in DAYS:
        for colour in COLOURS:
            enrichment.picture(day, f"{colour}-{day}.png", colour, (300 + int(day[-2:]), 200))
    (enrichment.folder / "bucket" / DAYS[0] / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")

    published = enrichment.run()

    assert published.partitions == {DAYS[0]: {"answered": 4, "rejected": 1}, DAYS[1]: {"answered": 4}}
    rows = enrichment.rows()
    [job] = enrichment.emulator.bill()
    for row in rows:
        if row["status"] == "answered":
            assert row["dominant_color"] == row["image_uri"].rsplit("/", 1)[1].split("-")[0]
            assert row["job_id"] == job["task_id"]
            assert row["source_dataset_id"] == job["source_dataset_id"]
            assert row["estimated_tokens"] > 0
        else:
            assert row["error"].startswith(("truncated", "corrupt"))
            assert row["job_id"] is None
    assert (job["rows"], job["billed_tokens"]) == (8, 200_000)
    assert enrichment.datasets() == []
    assert enrichment.resources.work().open_shards() == {}

    again = enrichment.run(run_id="again")
    assert again.partitions == published.partitions
    assert (list(published.announced), again.announced) == ([*DAYS], {})
    assert enrichment.rows() == rows
    assert len(enrichment.emulator.bill()) == 1


def test_every_step_may_be_repeated_at_any_time(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    found = plan(enrichment.resources, DAYS)
    [key] = claim(enrichment.resources, found.uri, DAYS, "one").shards
    assert claim(enrichment.resources, found.uri, DAYS, "one").shards == (key,)
    enrichment.prepare(key)
    enrichment.prepare(key)
    with enrichment.emulator.holding():
        first, second = submit(enrichment.resources, key), submit(enrichment.resources, key)
        assert first == second
        with pytest.raises(RetryableError, match="not ready"):
            load(enrichment.resources, key, "one")
        assert not clean(enrichment.resources, key).closed
    enrichment.wait(first.job_id)
    assert load(enrichment.resources, key, "one") == load(enrichment.resources, key, "two") == {"answered": 1}
    assert clean(enrichment.resources, key).closed
    assert clean(enrichment.resources, key).closed
    assert len(enrichment.emulator.bill()) == 1
    assert len(enrichment.rows()) == 1


def test_what_another_run_settles_between_two_tries_to_claim_is_not_claimed_again(enrichment, monkeypatch):
    """The other run opens, loads and closes its shard after this one has looked, before it swaps open.json."""
    enrichment.picture(DAYS[0], "a.png")
    uri = plan(enrichment.resources, DAYS).uri
    others = iter(["quicker"])

    def be_overtaken(point):
        if point == "before_claim" and (run_id := next(others, None)) is not None:
            enrichment.run(run_id=run_id)

    monkeypatch.setattr("vision_batch.steps.claim.crash_point", be_overtaken)
    claimed = claim(enrichment.resources, uri, DAYS, "slower")
    assert (claimed.shards, claimed.dropped) == ((), 1)
    assert enrichment.resources.work().open_shards() == {}


def test_equal_content_is_asked_once_and_a_copy_of_an_answered_image_never(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    enrichment.picture(DAYS[0], "same.png")
    enrichment.run(DAYS[:1])
    enrichment.picture(DAYS[1], "renamed.png")
    enrichment.run(DAYS[1:])

    assert [job["rows"] for job in enrichment.emulator.bill()] == [1]
    rows = enrichment.rows("image_uri, dominant_color, status, copied_from, job_id")
    assert {row["dominant_color"] for row in rows} == {"red"}
    assert [bool(row["copied_from"]) for row in rows] == [False, False, True]


def test_the_log_of_prepare_tells_what_was_done_to_images(enrichment, caplog):
    for number in range(3):
        path = enrichment.picture(DAYS[0], f"{number}.gif", "red")
        frames = [Image.new("RGB", (320, 240), (20 * number, shade, 0)) for shade in (50, 150)]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    [key] = enrichment.claim(DAYS[:1])
    with caplog.at_level("INFO"):
        enrichment.prepare(key)
    first = (enrichment.folder / "bucket" / DAYS[0] / "0.gif").as_uri()
    assert f"Shard {key}, 3 images: the first of several frames or pages, such as {first}." in caplog.messages


def test_an_image_that_changes_after_the_plan_is_asked_by_the_next_run_only(enrichment):
    enrichment.picture(DAYS[0], "changes.png", "red")
    gone = enrichment.picture(DAYS[0], "goes.png", "green")
    enrichment.picture(DAYS[0], "stays.png", "blue")
    [key] = enrichment.claim(DAYS)
    enrichment.picture(DAYS[0], "changes.png", "white", (200, 210))
    gone.unlink()
    enrichment.ask(key)
    assert load(enrichment.resources, key, "one") == {"answered": 1}
    clean(enrichment.resources, key)

    enrichment.run(run_id="two")
    found = {row["image_uri"].rsplit("/", 1)[1]: row["dominant_color"] for row in enrichment.rows()}
    assert found == {"changes.png": "white", "stays.png": "blue"}
    assert [job["rows"] for job in enrichment.emulator.bill()] == [1, 1]


def test_a_lost_reply_costs_a_look_and_not_a_second_job(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    [key] = enrichment.claim()
    enrichment.prepare(key)
    enrichment.emulator.scenario("reply_lost")
    outcome = submit(enrichment.resources, key)
    if isinstance(outcome, NotYet):
        outcome = submit(enrichment.resources, key)
    assert isinstance(outcome, Asked)
    if outcome.job_id is not None:  # it may have ended by now
        enrichment.wait(outcome.job_id)
    assert load(enrichment.resources, key, "run") == {"answered": 1}
    assert len(enrichment.emulator.bill()) == 1


def test_a_failed_job_is_tried_once_more_then_its_items_are_failed_and_the_run_is_red(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    enrichment.emulator.scenario("failed_without_reason", times=2)
    [key] = enrichment.claim()
    enrichment.ask(key)
    assert not clean(enrichment.resources, key).closed
    with pytest.raises(FinalError, match="still open"):
        publish(enrichment.resources, DAYS, [key], "run")

    assert enrichment.claim(run_id="two") == (key,)
    enrichment.ask(key)
    assert clean(enrichment.resources, key).closed
    assert [row["status"] for row in enrichment.rows()] == ["failed"]
    with pytest.raises(FinalError, match="was given up"):
        publish(enrichment.resources, DAYS, [key], "run")
    assert enrichment.datasets() == []

    # A later run asks the item again, as a new shard: attempts are left.
    published = enrichment.run(run_id="three")
    assert published.partitions[DAYS[0]] == {"answered": 1}
    assert [(row["attempt"], row["status"]) for row in enrichment.rows()] == [(2, "answered")]
    assert len(enrichment.emulator.bill()) == 3


def test_a_shard_that_was_loaded_and_closed_is_not_loaded_again_and_the_log_says_so(enrichment, caplog):
    enrichment.picture(DAYS[0], "a.png")
    [key] = enrichment.claim()
    enrichment.ask(key)
    counts = load(enrichment.resources, key, "one")
    assert clean(enrichment.resources, key).closed
    rows = enrichment.rows()
    with caplog.at_level("INFO"):
        assert load(enrichment.resources, key, "a year later") == counts == {"answered": 1}
    assert f"Shard {key} is loaded already, nothing is changed: {{'answered': 1}}" in caplog.messages
    assert enrichment.rows() == rows


def test_a_field_of_another_type_stops_the_plan_before_anything_is_asked(enrichment, caplog):
    enrichment.picture(DAYS[0], "a.png")
    enrichment.run(DAYS[:1])
    enrichment.picture(DAYS[1], "b.png")
    declaration = enrichment.resources.declaration
    fields = {
        field.name: field.model_dump(exclude_defaults=True, exclude={"name"}) for field in declaration.answer.fields
    }
    fields["dominant_color"] = {"type": "integer", "description": "its number"}
    answer = type(declaration.answer).model_validate({"fields": fields})
    enrichment.resources = replace(
        enrichment.resources, declaration=declaration.model_copy(update={"answer": answer, "revision": 2})
    )
    with pytest.raises(
        SchemaConflictError, match=r"column 'dominant_color' of \S+ is VARCHAR.* BIGINT: give the field"
    ):
        plan(enrichment.resources, DAYS)
    assert enrichment.resources.work().open_shards() == {}
    assert len(enrichment.emulator.bill()) == 1
    del fields["dominant_color"]
    answer = type(declaration.answer).model_validate({"fields": fields})
    narrow = replace(enrichment.resources, declaration=declaration.model_copy(update={"answer": answer}))
    with caplog.at_level("INFO"):
        found = plan(narrow, DAYS)
        assert found.planned == 2
        claim(narrow, found.uri, DAYS, "two")
    assert any("column dominant_color stays, empty in new rows" in line for line in caplog.messages)


def test_a_cancelled_jobs_items_are_free_for_the_next_run(enrichment, caplog):
    enrichment.picture(DAYS[0], "a.png")
    enrichment.emulator.scenario("canceled")
    [key] = enrichment.claim()
    enrichment.ask(key)
    assert clean(enrichment.resources, key).closed
    with caplog.at_level("INFO"):
        assert load(enrichment.resources, key, "again") == {}
    [said] = [line for line in caplog.messages if line.startswith(f"Shard {key} is closed, nothing is loaded: ")]
    assert "cancelled" in said
    with pytest.raises(FinalError, match="cancelled"):
        publish(enrichment.resources, DAYS, [key], "run")
    [other] = enrichment.claim(run_id="two")
    assert other != key
    enrichment.ask(other)
    assert load(enrichment.resources, other, "two") == {"answered": 1}


def test_rows_that_the_service_loses_repeats_and_invents_do_not_touch_the_others(enrichment):
    for number in range(9):
        enrichment.picture(DAYS[0], f"{number}.png", list(COLOURS)[number % 4], (100 + number, 90))
    for name, params in {
        "shuffled_rows": {"seed": 3},
        "several_files": {"files": 3},
        "missing_rows": {"rows": [2]},
        "duplicated_rows": {"rows": [4]},
        "foreign_rows": {"count": 2},
        "null_response": {"rows": [6]},
    }.items():
        enrichment.emulator.scenario(name, **params)

    [key] = enrichment.claim()
    enrichment.ask(key)
    assert load(enrichment.resources, key, "one") == {"answered": 7, "missing": 1, "failed": 1}
    for row in enrichment.rows():
        if row["status"] == "answered":
            number = int(row["image_uri"].rsplit("/", 1)[1].removesuffix(".png"))
            assert row["dominant_color"] == list(COLOURS)[number % 4]
            assert row["image_sha256"]
    clean(enrichment.resources, key)

    assert enrichment.run(run_id="two").partitions[DAYS[0]] == {"answered": 9}
    assert [job["rows"] for job in enrichment.emulator.bill()] == [9, 2]


def test_another_model_is_another_question_whose_answers_stand_beside_the_declared_ones(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    enrichment.run()
    own = enrichment.resources
    enrichment.resources = replace(own, declaration=with_overrides(own.declaration, model="gemma-3-4b-it"))
    enrichment.run(run_id="other")

    rows = enrichment.rows("model, question_key")
    assert len({row["question_key"] for row in rows}) == 2
    with duckdb.connect(f"{enrichment.folder}/warehouse.duckdb", read_only=True) as db:
        current = db.sql("select model from enrichment.photo_quality_current").fetchall()
    assert current == [(own.declaration.model,)]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"api_key": "wrong"}, AuthenticationError, "API key"),
        ({"folder_id": "b1gother000000000000"}, AuthenticationError, "folder_id 'b1gother000000000000'"),
        ({"endpoint": "127.0.0.1:1"}, ServiceUnavailableError, "endpoint '127.0.0.1:1'"),
    ],
)
def test_a_wrong_connection_stops_the_plan_and_nothing_is_claimed_or_paid(enrichment, change, error, words):
    enrichment.picture(DAYS[0], "a.png")
    enrichment.resources = replace(enrichment.resources, service_config=replace(enrichment.config, **change))
    with pytest.raises(error, match=re.escape(words)) as raised:
        enrichment.claim()
    assert KEY not in str(raised.value)
    assert enrichment.resources.work().open_shards() == {}
    assert enrichment.emulator.bill() == []


def test_a_refused_job_is_final_and_the_next_run_is_not_stuck_with_it(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    enrichment.emulator.scenario("failed_call", method="Completion", code="INVALID_ARGUMENT", message="no such model")
    [key] = enrichment.claim()
    enrichment.prepare(key)
    with pytest.raises(RequestRefusedError, match="no such model"):
        submit(enrichment.resources, key)
    assert clean(enrichment.resources, key).closed
    assert [row["status"] for row in enrichment.rows()] == ["failed"]
    assert enrichment.emulator.bill() == []
    assert enrichment.run(run_id="two").partitions[DAYS[0]] == {"answered": 1}


def test_a_used_up_quota_is_waited_for(enrichment):
    enrichment.limits(max_rows_per_shard=1)
    for number in range(2):
        enrichment.picture(DAYS[0], f"{number}.png", list(COLOURS)[number])
    keys = enrichment.claim()
    assert len(keys) == 2
    enrichment.emulator.scenario("resource_exhausted", method="Completion")
    enrichment.prepare(keys[0])
    outcome = submit(enrichment.resources, keys[0])
    assert isinstance(outcome, NotYet)
    assert isinstance(submit(enrichment.resources, keys[0]), Asked)
    assert len(enrichment.emulator.bill()) == 1


def test_a_lost_plan_is_an_error_and_not_an_empty_plan(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    found = plan(enrichment.resources, DAYS)
    for path in (enrichment.folder / "work" / "photo-quality" / "plans").rglob("*.*"):
        path.unlink()
    with pytest.raises(ObjectMissingError):
        claim(enrichment.resources, found.uri, DAYS, "run")


def test_nothing_to_ask_makes_rows_without_a_job(enrichment):
    path = enrichment.folder / "bucket" / DAYS[0] / "broken.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a picture")
    assert enrichment.run().partitions[DAYS[0]] == {"rejected": 1}
    assert enrichment.emulator.bill() == []
    assert enrichment.run(run_id="two").partitions[DAYS[0]] == {"rejected": 1}


def packing(enrichment, min_tokens, max_wait=timedelta(days=1)):
    declaration = enrichment.resources.declaration
    pack = declaration.pack.model_copy(update={"min_tokens": min_tokens, "max_wait": max_wait})
    enrichment.resources = replace(enrichment.resources, declaration=declaration.model_copy(update={"pack": pack}))


def test_small_days_wait_and_ride_along_with_the_one_that_fills_a_job(enrichment):
    packing(enrichment, 1500)
    days = [f"2026-11-{number:02d}" for number in range(1, 8)]
    for number, day in enumerate(days):
        enrichment.picture(day, "a.png", list(COLOURS)[number % 4], (300 + number, 200))

    published = [enrichment.run([day], run_id=day) for day in days]
    counts = [each.partitions[day] for each, day in zip(published, days, strict=True)]
    assert published[0].waiting == {days[0]: 1}
    waiting = enrichment.resources.work().open_state().waiting
    jobs = enrichment.emulator.bill()
    assert jobs
    assert all(job["tokens"] >= 1500 for job in jobs)
    assert sum(job["rows"] for job in jobs) + sum(entry.items for entry in waiting.values()) == 7
    assert counts[0] == {}
    assert waiting
    items = list_of(enrichment, waiting)
    bounds = tokens_of(enrichment.resources, items)
    assert {day: (entry.tokens, entry.least_tokens) for day, entry in waiting.items()} == {
        item.partition: bounds[item.item_key] for item in items
    }
    assert 0 < sum(entry.least_tokens for entry in waiting.values()) < 1500

    # A second run over a day that waits changes nothing; a flush sends what is left; then there is nothing to do.
    enrichment.run([days[-1]], run_id="again")
    assert whoever_noted(enrichment.resources.work().open_state().waiting) == whoever_noted(waiting)
    enrichment.flush(days[-1])
    assert enrichment.resources.work().open_state().waiting == {}
    assert [row["status"] for row in enrichment.rows()] == ["answered"] * 7
    before = len(enrichment.emulator.bill())
    enrichment.flush(days[-1])
    assert len(enrichment.emulator.bill()) == before


def whoever_noted(waiting):
    return {day: replace(entry, noted_by="") for day, entry in waiting.items()}


def list_of(enrichment, days):
    store, source = enrichment.resources.source_store(), enrichment.resources.declaration.source
    return [item for day in days for item in list_items(store, source, day)]


def test_one_run_over_a_range_packs_all_its_days_into_the_fewest_jobs(enrichment):
    packing(enrichment, 200_000)
    days = [f"2026-10-{number:02d}" for number in range(1, 32)]
    for number, day in enumerate(days):
        enrichment.picture(day, "a.png", list(COLOURS)[number % 4], (300 + number, 200))
    assert enrichment.run(days).partitions == {day: {} for day in days}
    enrichment.flush(*days)
    assert [job["rows"] for job in enrichment.emulator.bill()] == [31]
    assert {row["partition"] for row in enrichment.rows()} == set(days)


def test_two_plans_that_count_on_the_same_waiting_day_make_one_job_and_leave_the_rest_waiting(enrichment):
    packing(enrichment, 700)
    days = ["2026-11-01", "2026-11-02", "2026-11-03"]
    for number, day in enumerate(days):
        enrichment.picture(day, "a.png", list(COLOURS)[number], (300 + number, 200))
    enrichment.run(days[:1], run_id="first")
    plans = [plan(enrichment.resources, [day]).uri for day in days[1:]]
    claimed = [claim(enrichment.resources, uri, [day], day) for uri, day in zip(plans, days[1:], strict=True)]
    assert [(each.new, each.waiting) for each in claimed] == [(1, 0), (0, 1)]
    assert list(enrichment.resources.work().open_state().waiting) == [days[2]]
    items = [item.item_key for key in claimed[0].shards for item in enrichment.resources.shard(key).manifest()]
    assert len(items) == 2


def test_a_shard_that_is_full_is_sent_below_the_floor_and_only_what_others_have_left_of_it_waits(enrichment):
    packing(enrichment, 200_000)
    enrichment.limits(max_rows_per_shard=2)
    for number in range(3):
        enrichment.picture(DAYS[0], f"{number}.png", list(COLOURS)[number])
    uri = plan(enrichment.resources, DAYS[:1]).uri
    claimed = claim(enrichment.resources, uri, DAYS[:1], "full")
    assert (claimed.new, claimed.waiting) == (1, 1)
    own = enrichment.resources
    enrichment.limits(max_rows_per_shard=1)
    enrichment.picture(DAYS[1], "3.png", "white")
    [late, early] = [plan(resources, DAYS[1:]).uri for resources in (own, enrichment.resources)]
    assert claim(enrichment.resources, early, DAYS[1:], "quicker").new == 1
    assert claim(own, late, DAYS[1:], "slower").waiting == 1


def test_what_is_more_than_one_run_may_send_is_sent_by_the_next_runs_whatever_their_days(enrichment):
    enrichment.limits(max_rows_per_shard=1, max_shards_per_run=1)
    for number, colour in enumerate(list(COLOURS)[:3]):
        enrichment.picture(f"2026-11-0{number + 1}", "a.png", colour)
    days = ("2026-11-01", "2026-11-02", "2026-11-03")
    found = plan(enrichment.resources, days)
    assert (found.planned, found.left) == (1, 2)
    assert enrichment.run(days, run_id="first").waiting == {days[1]: 1, days[2]: 1}
    assert enrichment.run(["2026-12-01"], run_id="second").waiting == {}
    assert list(enrichment.resources.work().open_state().waiting) == [days[2]]
    enrichment.run(["2026-12-02"], run_id="third")
    assert enrichment.resources.work().open_state().waiting == {}
    assert [row["partition"] for row in enrichment.rows()] == list(days)
    assert [job["rows"] for job in enrichment.emulator.bill()] == [1, 1, 1]


def test_the_newest_days_can_be_asked_first(enrichment):
    enrichment.limits(max_rows_per_shard=1, max_shards_per_run=1)
    for day in DAYS:
        enrichment.picture(day, "a.png")
    newest = plan(enrichment.resources, DAYS, newest_first=True)
    oldest = plan(enrichment.resources, DAYS)
    asked = [read_plan(enrichment.resources.work(), each.uri).shard(0)[0].partition for each in (newest, oldest)]
    assert asked == [DAYS[1], DAYS[0]]


def test_a_run_with_another_model_leaves_the_days_that_wait_alone(enrichment):
    packing(enrichment, 3000)
    enrichment.picture(DAYS[0], "a.png")
    enrichment.run(DAYS[:1])
    own = enrichment.resources
    before = own.work().open_state().waiting
    assert list(before) == [DAYS[0]]
    enrichment.resources = replace(own, declaration=with_overrides(own.declaration, model="gemma-3-4b-it"))
    assert enrichment.run(DAYS[:1], run_id="other").partitions == {DAYS[0]: {"answered": 1}}
    assert own.work().open_state().waiting == before


def test_the_janitor_asks_for_a_flush_when_a_day_has_waited_long_enough(enrichment):
    packing(enrichment, 3000)
    enrichment.picture(DAYS[0], "a.png")
    enrichment.run(DAYS[:1])
    first = enrichment.resources.work().open_state().waiting[DAYS[0]].since
    found = tidy(enrichment.resources)
    assert (found.waiting_items, found.flush_since) == (1, None)
    enrichment.picture(DAYS[1], "b.png", "blue")
    enrichment.run(DAYS[1:])
    packing(enrichment, 3000, timedelta(microseconds=1))
    found = tidy(enrichment.resources)
    assert (found.waiting_items, found.flush_since) == (2, first)
    assert found.as_dict()["flush_since"] == first.isoformat()
    enrichment.flush(DAYS[0])
    assert tidy(enrichment.resources).flush_since is None


def told(enrichment, name, day=DAYS[0]):
    return "\n".join(explain(enrichment.resources, f"file://{enrichment.folder}/bucket/{day}/{name}"))


def test_it_can_be_explained_why_a_row_is_what_it_is(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    assert "Next: the next run over its partition asks it, as attempt 1: it has not been asked" in told(
        enrichment, "a.png"
    )
    assert "never seen" in told(enrichment, "nothing.png")

    [key] = enrichment.claim()
    assert f"claimed by shard {key}" in told(enrichment, "a.png")
    assert "its dataset is not ready" in told(enrichment, "a.png")
    enrichment.prepare(key)
    assert "no job was asked for yet; the item is sent" in told(enrichment, "a.png")
    job_id = submit(enrichment.resources, key).job_id
    assert f"job {job_id} was made at" in told(enrichment, "a.png")
    enrichment.wait(job_id)
    load(enrichment.resources, key, "the-run")
    assert "loaded, not cleaned yet" in told(enrichment, "a.png")
    clean(enrichment.resources, key)
    text = told(enrichment, "a.png")
    assert f"answered, attempt 1, shard {key}, partition {DAYS[0]}: by job {job_id}" in text
    assert "loaded by run the-run" in text
    assert "Next: nothing; it is settled." in text

    enrichment.picture(DAYS[0], "a.png", "blue")
    assert "as attempt 1: the image has changed since" in told(enrichment, "a.png")
    enrichment.picture(DAYS[1], "copy.png", "red")
    (enrichment.folder / "bucket" / DAYS[1] / "broken.png").write_bytes(b"no picture")
    enrichment.run(DAYS[1:])
    assert "copied from" in told(enrichment, "copy.png", DAYS[1])
    assert "rejected" in told(enrichment, "broken.png", DAYS[1])
    (enrichment.folder / "bucket" / DAYS[1] / "broken.png").unlink()
    assert "The source does not have it any more" in told(enrichment, "broken.png", DAYS[1])
