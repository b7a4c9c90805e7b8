"""What jobs cost stands beside the answers, and a budget is kept before anything is claimed."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pytest
from enrichment_lab import COLOURS, DAYS

from vision_batch.enrichment.terms import Budget
from vision_batch.errors import BudgetExceededError, ConnectionInputError
from vision_batch.steps.claim import claim
from vision_batch.steps.clean import clean
from vision_batch.steps.load import load
from vision_batch.steps.plan import plan


def books(enrichment, columns="*"):
    with duckdb.connect(f"{enrichment.folder}/warehouse.duckdb", read_only=True) as db:
        found = db.sql(f"select {columns} from enrichment.vision_batch_jobs order by created_at, job_id")
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def allow(enrichment, **budget):
    declaration = enrichment.resources.declaration.model_copy(update={"budget": Budget(**budget)})
    enrichment.resources = replace(enrichment.resources, declaration=declaration)


def priced(enrichment, price="0.2"):
    enrichment.resources = replace(enrichment.resources, unit_price=Decimal(price))


def test_every_job_has_a_row_whose_tokens_are_a_bound_of_the_bill_and_the_sum_of_its_answers(enrichment):
    priced(enrichment)
    for number, day in enumerate((*DAYS, *DAYS)):
        enrichment.picture(day, f"{number}.png", list(COLOURS)[number], (300 + number, 200))
    enrichment.picture(DAYS[1], "same.png", "red", (300, 200))
    (enrichment.folder / "bucket" / DAYS[0] / "broken.png").write_bytes(b"no picture")
    enrichment.emulator.scenario("missing_rows", rows=[1])
    enrichment.emulator.scenario("null_response", rows=[2])
    [key] = enrichment.claim(run_id="the-run")
    job_id = enrichment.ask(key).job_id
    metered = []
    enrichment.resources = replace(enrichment.resources, meter=lambda *found: metered.append(found))
    counts = load(enrichment.resources, key, "the-run")
    load(enrichment.resources, key, "again")
    assert clean(enrichment.resources, key).closed

    [row], [bill] = books(enrichment), enrichment.emulator.bill()
    assert (row["job_id"], row["shard"], row["run_id"]) == (job_id, key, "the-run")
    assert (row["enrichment"], row["table_name"], row["outcome"]) == ("photo-quality", "photo_quality", "COMPLETED")
    assert row["partitions"] == f'{{"{DAYS[0]}": 2, "{DAYS[1]}": 2}}'
    assert (row["requests"], row["rejected"], row["copied"]) == (bill["rows"], 1, 0) == (4, 1, 0)
    statuses = {name: row[name] for name in ("answered", "failed", "missing", "invalid") if row[name]}
    assert {**statuses, "rejected": 1} == counts
    assert row["created_at"] <= row["started_at"] <= row["finished_at"]
    assert bill["tokens"] <= row["tokens"] < 200_000
    assert (row["billed_tokens"], row["tokens"] + row["wasted_tokens"]) == (bill["billed_tokens"], 200_000)
    assert (row["units"], row["cost"]) == (200.0, 40.0)

    name = {"enrichment": "photo-quality"}
    assert [found for found in metered if found[0] == "rows"] == [
        ("rows", number, {**name, "status": status}) for status, number in counts.items()
    ]
    figures = ("requests", "tokens", "billed_tokens", "wasted_tokens")
    assert [found for found in metered if found[0] != "rows"] == [
        ("jobs", 1, {**name, "outcome": "COMPLETED"}),
        *((figure, row[figure], {**name, "model": "gemma-3-12b-it"}) for figure in figures),
    ]

    answers = enrichment.rows("image_uri, estimated_tokens, estimated_units, estimated_cost")
    assert sum(answer["estimated_tokens"] or 0 for answer in answers) == row["tokens"]
    charged = {answer["image_uri"].rsplit("/", 1)[1]: answer["estimated_tokens"] for answer in answers}
    assert charged["broken.png"] is None
    assert min(charged["0.png"], charged["same.png"]) == 0
    for answer in answers:
        if answer["estimated_tokens"]:
            assert answer["estimated_units"] == answer["estimated_tokens"] / 1000
            assert answer["estimated_cost"] == pytest.approx(answer["estimated_units"] / 5)


def test_jobs_that_failed_or_were_cancelled_are_in_the_books(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    enrichment.emulator.scenario("failed_without_reason")
    [key] = enrichment.claim()
    dead = enrichment.ask(key)
    assert enrichment.ask(key).job_id != dead.job_id
    load(enrichment.resources, key, "run")
    clean(enrichment.resources, key)
    found = books(enrichment, "job_id, outcome, answered, requests, billed_tokens, cost")
    assert [(row["outcome"], row["answered"], row["requests"]) for row in found] == [
        ("FAILED", None, 1),
        ("COMPLETED", 1, 1),
    ]
    assert {row["cost"] for row in found} == {None}

    enrichment.picture(DAYS[1], "b.png", "blue")
    enrichment.emulator.scenario("canceled")
    [key] = enrichment.claim(run_id="two")
    cancelled = enrichment.ask(key)
    assert clean(enrichment.resources, key).closed
    last = books(enrichment, "job_id, outcome, answered")[-1]
    assert last == {"job_id": cancelled.job_id, "outcome": "CANCELED", "answered": None}


def test_a_plan_above_the_budget_of_a_run_is_not_claimed_unless_a_person_has_approved_it(enrichment):
    allow(enrichment, per_run=150)
    enrichment.picture(DAYS[0], "a.png")
    found = plan(enrichment.resources, DAYS)
    assert found.budget.as_dict() == {
        "measure": "units", "cost": "200", "spent": "0", "per_run": "150", "per_month": None,
        "above": ["budget.per_run: the plan costs 200 units, allowed are 150"],
    }  # fmt: skip
    with pytest.raises(BudgetExceededError, match=r"costs 200 units, allowed are 150.*Nothing was claimed"):
        claim(enrichment.resources, found.uri, DAYS, "run")
    assert enrichment.resources.work().open_shards() == {}
    assert claim(enrichment.resources, found.uri, DAYS, "run", approved=True).new == 1


def test_what_was_approved_is_asked_without_what_was_answered_meanwhile(enrichment):
    enrichment.picture(DAYS[0], "a.png")
    enrichment.picture(DAYS[0], "b.png", "blue")
    allow(enrichment, per_run=150)
    found = plan(enrichment.resources, DAYS)
    (enrichment.folder / "bucket" / DAYS[0] / "b.png").rename(enrichment.folder / "b.png")
    allow(enrichment)
    enrichment.run(run_id="other")
    (enrichment.folder / "b.png").rename(enrichment.folder / "bucket" / DAYS[0] / "b.png")
    enrichment.picture(DAYS[1], "new.png", "white")  # not in the plan

    claimed = claim(enrichment.resources, found.uri, DAYS, "approved", approved=True)
    assert (claimed.new, claimed.dropped) == (1, 1)
    [key] = claimed.shards
    assert [item.item_key.rsplit("/", 1)[1] for item in enrichment.resources.shard(key).manifest()] == ["b.png"]


def test_a_month_has_a_budget_that_answers_and_open_shards_use_up(enrichment):
    allow(enrichment, per_month=450)
    for number, day in enumerate(DAYS):
        enrichment.picture(day, f"{number}.png", list(COLOURS)[number])
    enrichment.run(DAYS[:1], run_id="first")
    second = plan(enrichment.resources, DAYS[1:])
    assert (second.budget.spent, second.budget.above) == (200, ())
    assert claim(enrichment.resources, second.uri, DAYS[1:], "second").new == 1
    enrichment.picture("2026-11-22", "2.png", "blue")
    third = plan(enrichment.resources, ["2026-11-22"])
    said = "400 units of this month are spent or being asked, the plan costs 200, allowed are 450"
    assert third.budget.above == (f"budget.per_month: {said}",)
    with pytest.raises(BudgetExceededError, match=said):
        claim(enrichment.resources, third.uri, ["2026-11-22"], "third")
    assert plan(enrichment.resources, DAYS).budget.above == ()  # nothing of it is new


def test_of_two_plans_that_each_fit_the_month_only_one_is_claimed(enrichment):
    allow(enrichment, per_month=300)
    for number, day in enumerate(DAYS):
        enrichment.picture(day, f"{number}.png", list(COLOURS)[number])
    plans = [plan(enrichment.resources, [day]) for day in DAYS]
    assert [each.budget.above for each in plans] == [(), ()]
    assert claim(enrichment.resources, plans[0].uri, DAYS[:1], "one").new == 1
    assert claim(enrichment.resources, plans[0].uri, DAYS[:1], "one").adopted == 1  # as a retry does
    with pytest.raises(BudgetExceededError, match="Clear the task plan"):
        claim(enrichment.resources, plans[1].uri, DAYS[1:], "two")
    assert len(enrichment.resources.work().open_shards()) == 1


def test_last_months_jobs_do_not_count(enrichment):
    allow(enrichment, per_month=300)
    enrichment.picture(DAYS[0], "a.png")
    enrichment.run(DAYS[:1])
    with duckdb.connect(f"{enrichment.folder}/warehouse.duckdb") as db:
        first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        db.execute("update enrichment.vision_batch_jobs set created_at = ?::timestamptz - interval 1 day", [first])
    enrichment.picture(DAYS[1], "b.png", "blue")
    assert plan(enrichment.resources, DAYS).budget.spent == 0


def test_a_budget_in_money_needs_the_price_of_a_unit(enrichment):
    allow(enrichment, per_run=30, measure="money")
    enrichment.picture(DAYS[0], "a.png")
    with pytest.raises(ConnectionInputError, match="give the connection its Unit price"):
        plan(enrichment.resources, DAYS)
    priced(enrichment)
    assert plan(enrichment.resources, DAYS).budget.above == ("budget.per_run: the plan costs 40 money, allowed are 30",)
