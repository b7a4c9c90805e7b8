"""Cancelled is only what a person has killed without any doubt: whatever else it may be keeps the paid job."""

from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from vision_batch.enrichment.reader import load_declaration
from vision_batch.operators.shard import VisionBatchCleanOperator
from vision_batch.steps.clean import Cleaned
from vision_batch.triggers.kills import NOTE, Deferral, is_killed, was_killed

DEFERRED = Deferral("fbi1", try_number=1, max_tries=5, clear_number=0, deadline=1000.0)
KILLED = {"state": "failed", "deferral": DEFERRED, "job_id": "fbi1", "clear_number": 0, "now": 999.0}


def test_a_wait_that_failed_while_it_was_deferred_and_had_tries_left_was_killed():
    assert is_killed(**KILLED)
    assert is_killed(**KILLED | {"deferral": replace(DEFERRED, try_number=5)})


@pytest.mark.parametrize(
    "doubt",
    [
        *({"state": state} for state in (None, "deferred", "up_for_retry", "upstream_failed", "skipped", "success")),
        {"deferral": None},
        {"deferral": replace(DEFERRED, try_number=6)},
        {"deferral": replace(DEFERRED, max_tries=0)},
        {"job_id": "fbi2"},
        {"clear_number": 1},
        {"now": 1000.0},
    ],
    ids=str,
)
def test_any_doubt_keeps_the_job(doubt):
    assert not is_killed(**KILLED | doubt)


@pytest.mark.parametrize("note", [None, [], "deferred", {}, {"job_id": "fbi1"}, {**asdict(DEFERRED), "more": 1}])
def test_a_note_of_another_version_is_no_note(note):
    assert Deferral.read(note) is None
    assert Deferral.read(asdict(DEFERRED)) == DEFERRED


@pytest.fixture
def told(monkeypatch):
    """Give a function that tells whether the wait of map index 1 was killed, by its state and its note."""

    def tell(states, note):
        asked = []

        def pull(**given):
            asked.append(given)
            return note() if callable(note) else note

        def read(**given):
            asked.append(given)
            return states() if callable(states) else {"run": states}

        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", read)
        ti = SimpleNamespace(dag_id="dag", run_id="run", map_index=1, xcom_pull=pull)
        context = {"ti": ti, "dag_run": SimpleNamespace(clear_number=0)}
        killed = was_killed(context, "shard.wait", job_id="fbi1", now=0.0)
        assert asked[0] == {"task_ids": "shard.wait", "key": NOTE, "map_indexes": 1}
        for given in asked[1:]:
            assert given == {"dag_id": "dag", "task_ids": ["shard.wait"], "run_ids": ["run"], "map_index": 1}
        return killed

    return tell


def test_the_state_and_the_note_are_those_of_the_own_shard(told):
    assert told({"shard.wait_1": "failed"}, asdict(DEFERRED))
    assert not told({"shard.wait_1": "deferred"}, asdict(DEFERRED))
    assert not told({"shard.wait_1": "failed"}, None)


def test_what_cannot_be_read_keeps_the_job(told):
    def unreadable():
        raise RuntimeError("the API server is away")

    assert not told({}, asdict(DEFERRED))
    assert not told(unreadable, asdict(DEFERRED))
    assert not told({"shard.wait_1": "failed"}, unreadable)


@pytest.mark.parametrize(("wait", "killed"), [("shard.wait", True), ("shard.wait", False), (None, True)])
def test_clean_cancels_a_living_job_only_if_its_wait_was_killed(project, monkeypatch, wait, killed):
    include = project / "include"
    path = include / "enrichments" / "photo_quality.yaml"
    declaration = load_declaration(path, include_folder=include, environ={})
    monkeypatch.setattr("vision_batch.steps.clean.clean", lambda *_: Cleaned(closed=False, job_id="fbi1"))
    monkeypatch.setattr("vision_batch.operators.shard.was_killed", lambda *_, **__: killed)
    clean = VisionBatchCleanOperator(task_id="clean", declaration=declaration, shard="0" * 20, wait=wait)
    monkeypatch.setattr(clean, "open_resources", lambda _: None)
    with pytest.raises(TaskDeferred) as deferred:
        clean.execute({})
    trigger = deferred.value.trigger
    assert (trigger.remote_id, trigger.cancel) == ("fbi1", killed and wait is not None)
    assert (trigger.deadline is None) is trigger.cancel
