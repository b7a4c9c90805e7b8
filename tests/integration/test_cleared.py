"""A run that is done again, or only half of it: its end says what became of this try, not of an earlier one."""

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest

from vision_batch.dag import build_dag
from vision_batch.enrichment.terms import Budget
from vision_batch.errors import BudgetExceededError, FinalError
from vision_batch.operators.base import EnrichmentOperator
from vision_batch.operators.places import UNCLAIMED
from vision_batch.operators.run import VisionBatchPublishOperator
from vision_batch.steps.clean import clean
from vision_batch.steps.load import load
from vision_batch.steps.plan import plan

MONDAY = "2026-11-23"


class Store(dict):
    """Keep a task's state over its tries, as Airflow does."""

    def set(self, key, value, *, retention):
        assert retention is not None
        self[key] = value


class Run:
    """Airflow's side of one run: what its tasks returned, and their states."""

    def __init__(self):
        self.xcom, self.states = None, {}
        self.context = {
            "run_id": "run",
            "params": {},
            "task_state_store": Store(),
            "ti": self,
            "outlet_events": defaultdict(lambda: SimpleNamespace(extra={}, add_partitions=lambda _: None)),
        }

    def xcom_push(self, key, value):
        assert key == "return_value"
        self.xcom = value

    def get_task_states(self, dag_id, *, task_ids, run_ids):
        assert dag_id == "photo-quality"
        assert run_ids == ["run"]
        return {"run": {name: self.states[name] for name in task_ids if name in self.states}}

    def execute(self, dag, task_id, **rendered):
        """Run a task as its DAG built it, with its templates rendered."""
        task = dag.get_task(task_id).prepare_for_execution()
        for name, value in rendered.items():
            setattr(task, name, value)
        self.states[task_id] = "failed"
        found = task.execute(self.context)
        self.states[task_id] = "success"
        return found


@pytest.fixture
def run(enrichment, monkeypatch):
    """Give a run whose tasks find the enrichment of the test."""
    monkeypatch.setattr(EnrichmentOperator, "open_resources", lambda *_, **__: enrichment.resources)
    return Run()


def planned(enrichment):
    return {"uri": plan(enrichment.resources, [MONDAY]).uri, "partitions": [MONDAY]}


@pytest.fixture
def done_once(enrichment, run):
    """Bring a first try to its end; a late image is there for the second one."""
    enrichment.picture(MONDAY, "0.png", "red")
    dag, found = build_dag(enrichment.resources.declaration), planned(enrichment)
    run.xcom = run.execute(dag, "claim", plan=found, approval=None)
    [key] = run.xcom
    enrichment.ask(key)
    load(enrichment.resources, key, "run")
    assert clean(enrichment.resources, key).closed
    assert list(run.execute(dag, "publish", plan=found, shards=run.xcom)["announced"]) == [MONDAY]
    enrichment.picture(MONDAY, "late.png", "blue")
    return dag


def test_a_cleared_run_whose_claim_fails_ends_red(enrichment, run, done_once):
    found = planned(enrichment)
    declared = enrichment.resources.declaration.model_copy(update={"budget": Budget(per_run=1)})
    own, enrichment.resources = enrichment.resources, replace(enrichment.resources, declaration=declared)
    with pytest.raises(BudgetExceededError):
        run.execute(done_once, "claim", plan=found)
    assert run.xcom == [UNCLAIMED]  # the places of its mapped tasks
    with pytest.raises(FinalError, match="the plan or the claim of this run failed"):
        run.execute(done_once, "publish", plan=found, shards=run.xcom)

    enrichment.resources = own
    run.xcom = run.execute(done_once, "claim", plan=found)
    with pytest.raises(FinalError, match="is still open"):
        run.execute(done_once, "publish", plan=found, shards=run.xcom)


@pytest.mark.parametrize("state", ["upstream_failed", "skipped", "removed", None])
def test_a_cleared_run_that_does_not_reach_its_claim_ends_red(enrichment, run, done_once, state):
    """The claim's output is still that of the first try: Airflow forgets it when the task starts."""
    run.states["claim"] = state
    with pytest.raises(FinalError, match="the plan or the claim of this run failed"):
        run.execute(done_once, "publish", plan=planned(enrichment), shards=run.xcom)


def test_places_without_shards_are_no_claim_however_they_come_to_the_publish(enrichment, run):
    """Such as by a template in a DAG that somebody composed by hand."""
    given = {"plan": planned(enrichment), "shards": [UNCLAIMED]}
    publish = VisionBatchPublishOperator(task_id="publish", declaration=enrichment.resources.declaration, **given)
    with pytest.raises(FinalError, match="the plan or the claim of this run failed"):
        publish.execute(run.context)


def test_shards_that_no_task_has_claimed_are_taken_as_they_are(enrichment, run):
    enrichment.picture(MONDAY, "0.png", "red")
    enrichment.run([MONDAY], "run", publish=False)
    given = {"plan": planned(enrichment), "shards": []}
    publish = VisionBatchPublishOperator(task_id="publish", declaration=enrichment.resources.declaration, **given)
    assert list(publish.execute(run.context)["announced"]) == [MONDAY]
