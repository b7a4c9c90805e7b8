"""Cancelled is only what a person has killed without any doubt: whatever else it may be keeps the paid job."""

import time
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from vision_batch.enrichment.reader import load_declaration
from vision_batch.operators.shard import VisionBatchCleanOperator
from vision_batch.sensors.job import VisionBatchSensor
from vision_batch.steps.clean import Cleaned
from vision_batch.triggers.kills import NOTE, SENSOR, is_killed, on_task_instance_failed, was_killed


def test_a_wait_that_a_person_has_marked_as_failed_was_killed():
    assert is_killed("failed", 0, clear_number=0)
    assert is_killed("failed", 2, clear_number=2)


@pytest.mark.parametrize("state", [None, "deferred", "up_for_retry", "upstream_failed", "skipped", "success"])
def test_a_wait_that_is_not_failed_was_not_killed(state):
    assert not is_killed(state, 0, clear_number=0)


@pytest.mark.parametrize("note", [None, 1, "0", [], {"clear_number": 0}])
def test_a_failure_without_a_mark_or_with_one_from_before_a_clear_keeps_the_job(note):
    assert not is_killed("failed", note, clear_number=0)


@pytest.mark.parametrize(("previous_state", "operator"), [("running", "VisionBatchSensor"), (None, "BashOperator")])
def test_no_other_failure_is_noted(previous_state, operator):
    class TaskInstance:
        def __init__(self):
            self.operator = operator

        def __getattr__(self, name):
            raise AssertionError(f"{name} was looked at")

    on_task_instance_failed(previous_state, TaskInstance())


def test_the_listener_knows_the_sensor_by_its_name_in_the_database():
    assert VisionBatchSensor.__name__ == "VisionBatchSensor" == SENSOR
    assert sensor().task_type == SENSOR


def sensor():
    return VisionBatchSensor(task_id="wait", job_id="fbi1")


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
        killed = was_killed(context, "shard.wait")
        assert asked[0] == {"task_ids": "shard.wait", "key": NOTE, "map_indexes": 1}
        for given in asked[1:]:
            assert given == {"dag_id": "dag", "task_ids": ["shard.wait"], "run_ids": ["run"], "map_index": 1}
        return killed

    return tell


def test_the_state_and_the_note_are_those_of_the_own_shard(told):
    assert told({"shard.wait_1": "failed"}, 0)
    assert not told({"shard.wait_1": "deferred"}, 0)
    assert not told({"shard.wait_1": "failed"}, None)


def test_what_cannot_be_read_keeps_the_job(told):
    def unreadable():
        raise RuntimeError("the API server is away")

    assert not told({}, 0)
    assert not told(unreadable, 0)
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
    assert (trigger.deadline > time.time() + 3600) is trigger.cancel
    assert trigger.waited_for_by == (wait or "clean")
