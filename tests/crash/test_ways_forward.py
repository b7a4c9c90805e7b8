"""Whatever happens to a shard around its paid call, or to what it left on the service: one way forward, paid once."""

import time
from datetime import timedelta

import pytest
from lab import KILLED
from matrix import WAYS
from test_paid_once import A_QUARTER, claimed, prepared, resources, wait

from vision_batch.errors import DatasetInvalidError, FinalError
from vision_batch.service.admission import NotYet
from vision_batch.service.types import RowError
from vision_batch.steps.clean import clean
from vision_batch.steps.load import load
from vision_batch.steps.prepare import named_rows
from vision_batch.steps.publish import publish
from vision_batch.steps.submit import Asked, submit


def test_a_job_that_is_recorded_and_not_listed_yet_is_not_made_again(lab):
    made = resources(lab)
    key = claimed(made)
    prepared(made, key)
    lab.emulator.scenario("late_visibility", seconds=A_QUARTER)
    with lab.emulator.holding():
        assert submit(made, key) == submit(made, key)
    assert len(lab.jobs()) == 1


@pytest.mark.parametrize("way", WAYS)
def test_killed_after_the_reply_while_the_lists_show_no_job_yet(lab, way):
    lab.emulator.scenario("late_visibility", seconds=A_QUARTER, times=2)
    assert lab.run("first", crash_at="after_job_file") == KILLED
    assert WAYS[way](lab) in ([0], [0, 0])
    assert lab.run("last") == 0
    assert lab.problems() == []


def test_a_process_that_stands_still_between_fence_and_call_does_not_call(lab, monkeypatch):
    """For longer than others wait for its job, as a suspended machine does."""
    settle = timedelta(seconds=0.6)
    made = resources(lab, settle=settle)
    key = claimed(made)
    prepared(made, key)
    others = []

    def stand_still(point):
        if point == "after_attempt" and not others:
            others.append(None)
            time.sleep((2 * settle + timedelta(seconds=0.1)).total_seconds())
            others.append(submit(made, key))

    monkeypatch.setattr("vision_batch.steps.submit.crash_point", stand_still)
    with lab.emulator.holding():
        assert submit(made, key) == others[1]
    assert len(lab.jobs()) == 1


def test_a_claim_of_waiting_days_that_dies_is_brought_forward_by_its_retry(lab):
    text = lab.declaration.read_text()
    lab.declaration.write_text(text.replace("max_rows_per_shard: 2", "max_rows_per_shard: 2, max_shards_per_run: 1"))
    assert lab.run("first") == 0  # its second day is left to a later run, and waits
    assert lab.run("second", crash_at="after_claim", partitions=("2026-11-26",)) == KILLED
    assert len(lab.open_shards()) == 1
    assert lab.run("second", partitions=("2026-11-26",)) == 0
    assert lab.problems() == []


def test_rows_that_the_validation_refuses_keep_no_others_from_being_asked(lab):
    made = resources(lab)
    key = claimed(made)
    lab.emulator.scenario("validation_failure", rows=[4], error="BadImage", description="cannot be decoded")
    with pytest.raises(DatasetInvalidError, match=r"rows 4: BadImage cannot be decoded.*leaves out 1 of 4 images"):
        prepared(made, key)
    prepared(made, key)
    wait(made, submit(made, key).job_id)
    assert load(made, key, "here") == {"answered": 3, "failed": 1}
    [bad] = [row for row in lab.rows() if row["status"] == "failed"]
    assert "BadImage" in bad["error"]
    assert clean(made, key).closed
    assert lab.run("next") == 0
    assert lab.problems() == []


@pytest.mark.parametrize(
    ("numbers", "rows", "named"),
    [((0, 2), 3, {0, 2}), ((3,), 3, {2}), ((1,), 3, {0, 1}), ((), 3, set()), ((0, 3), 3, set()), ((9,), 3, set())],
    ids=["from 0", "from 1", "either", "none", "neither", "beyond"],
)
def test_the_rows_that_a_validation_may_mean(numbers, rows, named):
    assert named_rows([RowError("bad", "", numbers)], rows) == named


def test_a_dataset_that_is_always_refused_ends_as_failed_rows_and_a_red_run(lab):
    made = resources(lab)
    key = claimed(made)
    lab.emulator.scenario("validation_failure", rows=[], error="Broken", description="for no reason")
    with pytest.raises(DatasetInvalidError, match="Broken"):
        prepared(made, key)
    prepared(made, key)
    assert submit(made, key) == Asked(None)
    assert load(made, key, "here") == {"failed": 4}
    assert clean(made, key).closed
    with pytest.raises(FinalError, match="none of its 4 images could be sent"):
        publish(made, ("2026-11-20",), [key], "here")
    assert lab.jobs() == []
    assert lab.run("next") == 0
    assert lab.problems() == []


def test_what_is_refused_again_and_again_is_given_up(lab):
    made = resources(lab)
    key = claimed(made)
    lab.emulator.scenario("validation_failure", times=4, rows=[0], error="BadImage", description="each time")
    tries = 0
    while made.shard(key).dataset() is None:
        tries += 1
        try:
            prepared(made, key)
        except DatasetInvalidError:
            assert tries < 5
    assert load(made, key, "here") == {"failed": 4}
    assert clean(made, key).closed


def test_a_dataset_that_somebody_deletes_before_it_is_asked_frees_its_items(lab):
    made = resources(lab)
    key = claimed(made)
    prepared(made, key)
    with lab.client() as client:
        client.delete_dataset(made.shard(key).dataset().dataset_id)
    assert submit(made, key) == Asked(None)
    assert load(made, key, "here") == {}
    assert clean(made, key).closed
    with pytest.raises(FinalError, match="its dataset was deleted before a job was made"):
        publish(made, ("2026-11-20",), [key], "here")
    assert lab.run("next") == 0
    assert lab.problems() == []


def test_a_result_that_somebody_deletes_before_it_is_loaded_is_told_and_asked_again(lab):
    made = resources(lab)
    key = claimed(made)
    prepared(made, key)
    job = wait(made, submit(made, key).job_id)
    with lab.client() as client:
        client.delete_dataset(job.result_dataset_id)
    assert load(made, key, "here") == {"failed": 4}
    assert {row["error"] for row in lab.rows()} == {f"the result of job {job.job_id} was deleted before it was loaded"}
    assert clean(made, key).closed
    with pytest.raises(FinalError, match="was deleted before it was loaded"):
        publish(made, ("2026-11-20",), [key], "here")
    assert lab.run("next") == 0
    assert {row["attempt"] for row in lab.rows()} == {2}


def test_a_job_that_is_deleted_from_the_history_is_loaded_from_its_result(lab):
    made = resources(lab)
    key = claimed(made)
    prepared(made, key)
    job = wait(made, submit(made, key).job_id)
    with lab.client() as client:
        client.delete_job(job.job_id)
    assert submit(made, key) == Asked(None)
    assert load(made, key, "here") == {"answered": 4}
    assert {row["job_id"] for row in lab.rows()} == {job.job_id}
    assert clean(made, key).closed
    assert lab.problems() == []


@pytest.mark.parametrize("settle_seconds", [120, 0.6])
def test_a_job_of_which_nothing_is_left_is_given_up_once_it_would_have_shown(lab, settle_seconds):
    made = resources(lab, settle=timedelta(seconds=settle_seconds))
    key = claimed(made)
    prepared(made, key)
    job = wait(made, submit(made, key).job_id)
    with lab.client() as client:
        client.delete_job(job.job_id)
        client.delete_dataset(job.result_dataset_id)
    if settle_seconds == 120:
        assert isinstance(submit(made, key), NotYet)
        assert not clean(made, key).closed
        return
    lab.until(lambda: submit(made, key) == Asked(None))
    assert clean(made, key).closed
    assert {row["status"] for row in lab.rows()} == {"failed"}
    assert {job.job_id in row["error"] for row in lab.rows()} == {True}
    assert len(lab.jobs()) == 1
