"""A run above its budget asks a person, in a real Airflow: approved, rejected, not answered."""

import json

import duckdb
import pytest
from person import Person

from vision_batch.demo.bill import read_bill
from vision_batch.demo.pictures import draw_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAYS = ("2026-08-01", "2026-08-02", "2026-08-03")


@pytest.fixture(scope="module")
def person(stack, eventually):
    return Person(stack, eventually, "budgeted")


def ask(stack, eventually, person, run_id, day):
    """Start a run and wait until it asks; give what the person is shown."""
    eventually(lambda: stack.api.dag("budgeted"))
    stack.api.pause("budgeted", paused=False)
    stack.api.trigger("budgeted", conf={"partition_from": day}, run_id=run_id)
    return person.asked(run_id)


def jobs(stack):
    return len(read_bill(stack.emulator_url))


def claims(stack):
    path = stack.folder / "work" / "budgeted" / "open.json"
    return json.loads(path.read_text())["shards"] if path.exists() else {}


@pytest.fixture(scope="module", autouse=True)
def pictures(stack):
    draw_pictures(stack.bucket, partitions=DAYS, per_partition=2)


def test_an_approved_plan_runs(stack, eventually, person, finished):
    before = jobs(stack)
    asked = ask(stack, eventually, person, "approved", DAYS[0])
    assert "budget.per_run: the plan costs 200 units, allowed are 150" in asked["body"]
    assert "2 images in 1 jobs of Gemma 3 12B" in asked["body"]
    assert (claims(stack), jobs(stack)) == ({}, before)
    person.answer("approved", "Approve")
    assert finished("budgeted", "approved").state == "success"
    assert jobs(stack) == before + 1
    with duckdb.connect(str(stack.warehouse), read_only=True) as db:
        assert db.sql("select status, count(*) from enrichment.budgeted group by 1").fetchall() == [("answered", 2)]
        [(waste, run)] = db.sql(
            "select wasted_tokens, run_id from enrichment.vision_batch_jobs where enrichment = 'budgeted'"
        ).fetchall()
    assert 0 < waste < 200_000
    assert run == "approved"


def test_a_run_whose_claim_has_failed_by_now_ends_red_although_its_shards_are_known(stack, eventually, finished):
    """Airflow keeps what the claim has returned in an earlier try."""
    run = "/dags/budgeted/dagRuns/approved"

    def publish_again(word):
        body = {"task_ids": ["publish"], "dag_run_id": "approved", "dry_run": False, "only_failed": False}
        stack.api.call("POST", "/dags/budgeted/clearTaskInstances", body=body)
        eventually(lambda: states(stack)["publish"] == word, seconds=120)
        assert finished("budgeted", "approved").state == word

    def states(stack):
        return {each.task_id: each.state for each in stack.api.tasks("budgeted", "approved")}

    for state in ("failed", "success"):
        stack.api.call("PATCH", f"{run}/taskInstances/claim", body={"new_state": state})
        assert states(stack)["claim"] == state
        publish_again(state)


def test_a_rejected_plan_leaves_its_images_free(stack, eventually, person, finished):
    before = jobs(stack)
    ask(stack, eventually, person, "rejected", DAYS[1])
    person.answer("rejected", "Reject")
    assert finished("budgeted", "rejected").state == "success"
    found = person.states("rejected")
    assert (found["plan"], found["approve"], found["claim"], found["publish"]) == (
        "success", "success", "skipped", "skipped",
    )  # fmt: skip
    assert (claims(stack), jobs(stack)) == ({}, before)
    ask(stack, eventually, person, "asked-again", DAYS[1])
    person.answer("asked-again", "Approve")
    assert finished("budgeted", "asked-again").state == "success"
    assert jobs(stack) == before + 1


def test_a_plan_that_nobody_answers_fails_and_says_what_to_do(stack, eventually, finished):
    before = jobs(stack)
    eventually(lambda: stack.api.dag("hurried"))
    stack.api.pause("hurried", paused=False)
    stack.api.trigger("hurried", conf={"partition_from": DAYS[2]}, run_id="unanswered")
    assert finished("hurried", "unanswered").state == "failed"
    [approve] = [each for each in stack.api.tasks("hurried", "unanswered") if each.task_id == "approve"]
    assert approve.state == "failed"
    assert jobs(stack) == before
    assert "Nobody has approved the plan within 0:00:01" in stack.api.log("hurried", "unanswered", approve)
    assert not (stack.folder / "work" / "hurried" / "open.json").exists()
