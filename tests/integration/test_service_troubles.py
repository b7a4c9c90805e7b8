"""What the service shows late, twice or broken, and what others do with our datasets: nothing is paid twice or lost."""

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import TaskDeferred
from enrichment_lab import DAYS, FOLDER, KEY

from vision_batch.errors import ForeignJobError, OtherFolderError, ResultUnseenError, ServiceUnavailableError
from vision_batch.operators.base import EnrichmentOperator
from vision_batch.operators.shard import VisionBatchLoadOperator
from vision_batch.service.types import JobStatus
from vision_batch.steps.clean import clean
from vision_batch.steps.janitor import tidy
from vision_batch.steps.load import load
from vision_batch.steps.prepare import prepare
from vision_batch.steps.publish import publish
from vision_batch.steps.submit import submit

DAY = DAYS[:1]
OTHER_FOLDER = "b1gother000000000000"
SHORT = timedelta(seconds=0.4)
A_YEAR = 365 * 86_400
STEPS = [prepare, submit, lambda resources, key: load(resources, key, "run"), clean]


def claim(enrichment, **limits):
    """Claim a shard of two pictures."""
    enrichment.limits(**limits)
    enrichment.picture(DAYS[0], "0.png", "red")
    enrichment.picture(DAYS[0], "1.png", "blue")
    [key] = enrichment.claim(DAY)
    return key


@pytest.fixture
def claimed(enrichment):
    return claim(enrichment)


def answered(enrichment, key):
    """Load and close the shard; tell whether its two pictures have their answers, from one job."""
    counts = load(enrichment.resources, key, "run")
    assert clean(enrichment.resources, key).closed
    enrichment.run(DAY, "again")
    return (counts, len(enrichment.emulator.bill()), enrichment.datasets()) == ({"answered": 2}, 1, [])


# Another folder


@contextmanager
def moved(enrichment, emulator):
    """Let the connection name another folder, in another place, as long as the block lasts."""
    before = enrichment.resources
    other = emulator("--api-key", KEY, "--folder", OTHER_FOLDER, speed=20_000)
    config = replace(enrichment.config, folder_id=OTHER_FOLDER, endpoint=other.grpc)
    enrichment.resources = replace(before, service_config=config)
    yield other
    enrichment.resources = before


@pytest.mark.parametrize("loaded", [False, True])
def test_a_connection_that_names_another_folder_is_refused_until_it_is_put_back(enrichment, emulator, loaded):
    claimed = claim(enrichment, settle=timedelta(seconds=0.01))
    enrichment.ask(claimed)
    if loaded:
        load(enrichment.resources, claimed, "run")
    files = enrichment.resources.shard(claimed).events()
    with moved(enrichment, emulator) as other:
        assert enrichment.claim(DAY, "again") == (claimed,)
        for step in STEPS:
            with pytest.raises(OtherFolderError) as told:
                step(enrichment.resources, claimed)
            for words in (repr(FOLDER), repr(OTHER_FOLDER), "'ai_studio_default'", "bring back", "closed.json"):
                assert words in str(told.value)
        enrichment.limits(adopt_after=timedelta(microseconds=1))
        [left] = tidy(enrichment.resources).remaining
        assert OTHER_FOLDER in left.problem
        assert other.bill() == []
    assert enrichment.resources.shard(claimed).events() == files
    assert answered(enrichment, claimed)


def test_a_shard_whose_folder_is_lost_can_be_given_up(enrichment, emulator, claimed):
    enrichment.ask(claimed)
    with moved(enrichment, emulator) as other:
        closed = enrichment.resources.shard(claimed).uri.removeprefix("file://") + "/closed.json"
        with pytest.raises(OtherFolderError, match=f'create file://{closed} with {{"reason": "its folder is lost"}}'):
            clean(enrichment.resources, claimed)
        Path(closed).write_text(json.dumps({"reason": "its folder is lost"}))
        assert load(enrichment.resources, claimed, "again") == {}
        assert clean(enrichment.resources, claimed).closed
        assert enrichment.resources.work().open_shards() == {}
        enrichment.run(DAY, "again")
        assert {row["status"] for row in enrichment.rows("status")} == {"answered"}
        assert len(other.bill()) == 1


def test_a_shard_without_a_dataset_moves_with_its_connection(enrichment, emulator, claimed):
    with moved(enrichment, emulator) as other:
        enrichment.ask(claimed)
        assert load(enrichment.resources, claimed, "run") == {"answered": 2}
        assert clean(enrichment.resources, claimed).closed
        assert (len(other.bill()), enrichment.emulator.bill()) == (1, [])


def test_the_address_of_the_service_may_change_while_a_job_runs(enrichment, claimed):
    """As it does where an emulator is started again on other ports."""
    with enrichment.emulator.holding():
        enrichment.prepare(claimed)
        asked = submit(enrichment.resources, claimed)
    enrichment.emulator.stop()
    enrichment.emulator.start()
    config = replace(enrichment.config, endpoint=enrichment.emulator.grpc)
    assert config != enrichment.config
    enrichment.resources = replace(enrichment.resources, service_config=config)
    assert submit(enrichment.resources, claimed).job_id in {asked.job_id, None}  # none to wait for if it is done
    enrichment.wait(asked.job_id)
    assert answered(enrichment, claimed)


def test_a_shard_of_a_version_that_did_not_note_its_folder_goes_on(enrichment, claimed):
    enrichment.ask(claimed)
    path = enrichment.folder / "work" / "photo-quality" / claimed / "dataset.json"
    record = json.loads(path.read_text())
    assert record.pop("folder_id") == FOLDER
    path.write_text(json.dumps(record))
    assert answered(enrichment, claimed)


# Another model


@pytest.mark.parametrize("ended", [True, False])
def test_a_job_of_another_model_is_not_taken_for_ours(enrichment, claimed, ended):
    enrichment.prepare(claimed)
    dataset = enrichment.resources.shard(claimed).dataset().dataset_id
    with enrichment.resources.service() as service, enrichment.emulator.holding():
        theirs = service.submit(f"gpt://{FOLDER}/gemma-3-4b-it/latest", dataset).job_id
        if ended:
            enrichment.emulator.clear("hold_job")
            enrichment.wait(theirs)
        for step in STEPS[1:]:
            with pytest.raises(ForeignJobError) as told:
                step(enrichment.resources, claimed)
            for words in (theirs, "gemma-3-4b-it/latest", "gemma-3-12b-it/latest", dataset, "delete that job"):
                assert words in str(told.value)
        assert [job["task_id"] for job in enrichment.emulator.bill()] == [theirs]
    result = enrichment.wait(theirs).result_dataset_id
    with enrichment.resources.service() as service:
        service.delete_job(theirs)
    job = enrichment.ask(claimed)
    assert load(enrichment.resources, claimed, "run") == {"answered": 2}
    assert {row["job_id"] for row in enrichment.rows("job_id")} == {job.job_id}
    assert clean(enrichment.resources, claimed).closed
    assert [dataset.dataset_id for dataset in enrichment.datasets()] == [result]
    assert len(enrichment.emulator.bill()) == 2


def test_what_another_model_has_answered_is_left_to_those_who_asked_it(enrichment, claimed):
    """They ask after our answers were loaded, so nothing is in the way."""
    enrichment.ask(claimed)
    load(enrichment.resources, claimed, "run")
    dataset = enrichment.resources.shard(claimed).dataset().dataset_id
    with enrichment.resources.service() as service:
        theirs = enrichment.wait(service.submit(f"gpt://{FOLDER}/gemma-3-4b-it/latest", dataset).job_id)
    assert clean(enrichment.resources, claimed).closed
    assert [dataset.dataset_id for dataset in enrichment.datasets()] == [theirs.result_dataset_id]


def test_a_lost_reply_of_ours_is_found_by_its_model(enrichment, claimed):
    enrichment.prepare(claimed)
    enrichment.emulator.scenario("reply_lost")
    submit(enrichment.resources, claimed)
    [billed] = enrichment.emulator.bill()
    enrichment.wait(billed["task_id"])
    assert answered(enrichment, claimed)


# One job twice in a list


def test_a_job_that_is_listed_twice_is_one_job(enrichment, claimed):
    enrichment.prepare(claimed)
    enrichment.emulator.scenario("overlapping_pages", times=None)
    with enrichment.emulator.holding():
        asked = submit(enrichment.resources, claimed)
        assert submit(enrichment.resources, claimed) == asked
    assert enrichment.wait(asked.job_id).status is JobStatus.COMPLETED
    assert answered(enrichment, claimed)


# A result that is late


@pytest.mark.parametrize("part", ["dataset", "files"])
def test_a_result_that_is_not_seen_yet_is_waited_for(enrichment, claimed, part):
    enrichment.emulator.scenario("late_result", part=part, seconds=A_YEAR)
    assert enrichment.ask(claimed).status is JobStatus.COMPLETED
    found = {"dataset": "names no result", "files": "has no files"}[part]
    for _ in range(2):
        with pytest.raises(ResultUnseenError, match=rf"{found}; looking again until"):
            load(enrichment.resources, claimed, "run")
        assert not clean(enrichment.resources, claimed).closed
    enrichment.emulator.advance(A_YEAR)
    assert answered(enrichment, claimed)


def test_a_result_that_its_job_does_not_name_is_found_by_its_label(enrichment, claimed):
    enrichment.emulator.scenario("late_result", part="name", seconds=A_YEAR)
    assert enrichment.ask(claimed).result_dataset_id is None
    assert answered(enrichment, claimed)


@pytest.mark.parametrize("part", ["dataset", "files"])
def test_a_result_that_does_not_come_is_given_up_in_words_and_asked_again(enrichment, part, eventually):
    claimed = claim(enrichment, settle=SHORT)
    enrichment.emulator.scenario("late_result", part=part, seconds=A_YEAR)
    job = enrichment.ask(claimed)

    def loaded():
        try:
            return load(enrichment.resources, claimed, "run")
        except ResultUnseenError:
            return None

    assert loaded() is None
    assert eventually(loaded) == {"failed": 2}
    [error] = {row["error"] for row in enrichment.rows("error")}
    assert error.startswith(f"job {job.job_id} is COMPLETED, but ")
    assert clean(enrichment.resources, claimed).closed
    with pytest.raises(Exception, match=f"was given up: job {job.job_id} is COMPLETED, but"):
        publish(enrichment.resources, DAY, [claimed], "run")
    enrichment.run(DAY, "again")
    assert {row["status"] for row in enrichment.rows("status")} == {"answered"}


def test_a_failed_job_whose_result_has_no_files_leaves_nothing_to_salvage(enrichment):
    claimed = claim(enrichment, salvage=True)
    enrichment.prepare(claimed)
    enrichment.emulator.scenario("failed_with_result")
    enrichment.emulator.scenario("late_result", part="files", seconds=A_YEAR)
    enrichment.wait(submit(enrichment.resources, claimed).job_id)
    assert load(enrichment.resources, claimed, "run") == {"failed": 2}


def test_the_load_waits_deferred_for_a_result(enrichment, claimed, monkeypatch):
    monkeypatch.setattr(EnrichmentOperator, "open_resources", lambda *_: enrichment.resources)
    operator = VisionBatchLoadOperator(task_id="load", declaration=enrichment.resources.declaration, shard=claimed)
    enrichment.emulator.scenario("late_result", part="files", seconds=A_YEAR)
    enrichment.ask(claimed)
    context = {"params": {}, "run_id": "run"}
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert isinstance(deferred.value.trigger, DateTimeTrigger)
    enrichment.emulator.advance(A_YEAR)
    assert getattr(operator, deferred.value.method_name)(context, event=None) == {"answered": 2}


# A validation that breaks


@pytest.mark.parametrize("code", ["INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"])
def test_a_validation_that_breaks_refuses_no_image(enrichment, claimed, code):
    enrichment.emulator.scenario("validation_breaks", code=code, message="try again later")
    with pytest.raises(ServiceUnavailableError, match=f"broke: {code}: try again later. Nothing was paid"):
        enrichment.prepare(claimed)
    assert enrichment.resources.shard(claimed).refusals() == []
    assert enrichment.datasets() == []
    enrichment.ask(claimed)
    assert answered(enrichment, claimed)
