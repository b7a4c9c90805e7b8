"""What else can go wrong around the paid call: lost replies, late lists, two installs, a fence that is gone."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from lab import DAYS, KILLED, OTHER_DAY, Lab
from matrix import CRASH_POINTS, crash

from vision_batch.enrichment.reader import load_declaration
from vision_batch.errors import RetryableError
from vision_batch.service.types import JobStatus, ServiceConfig
from vision_batch.shards import state
from vision_batch.steps.claim import claim
from vision_batch.steps.clean import Cleaned, clean
from vision_batch.steps.janitor import tidy
from vision_batch.steps.load import load
from vision_batch.steps.plan import plan
from vision_batch.steps.prepare import finish_prepare, prepare
from vision_batch.steps.resources import Resources
from vision_batch.steps.submit import submit

A_QUARTER = 90 * 86_400.0  # of a year, in seconds: an emulator of this speed takes minutes for it


def resources(lab: Lab, *, adopt_after: float = 3600, **limits) -> Resources:
    order = lab.order("here")
    path = lab.declaration
    declaration = load_declaration(path, include_folder=path.parents[1], environ=order["environ"])
    usual = {"adopt_after": timedelta(seconds=adopt_after), "max_rows_per_shard": 100}
    changed = declaration.limits.model_copy(update={**usual, **limits})
    config = ServiceConfig(folder_id=lab.cloud_folder, api_key="key", endpoint=lab.emulator.grpc, tls=False)
    return Resources(declaration.model_copy(update={"limits": changed}), config)


def claimed(made: Resources, days=DAYS) -> str:
    [key] = claim(made, plan(made, days).uri, days, "here").shards
    return key


def prepared(made: Resources, key: str) -> None:
    validating = prepare(made, key)
    while validating is not None and finish_prepare(made, key, validating) is None:
        time.sleep(0.01)


def wait(made: Resources, job_id: str):
    with made.service() as service:
        while not (job := service.describe_job(job_id)).status.is_terminal:
            time.sleep(0.01)
        return job


def test_a_lost_reply_never_becomes_a_second_job(lab):
    lab.emulator.scenario("reply_lost")
    assert lab.run("first") == 0
    assert lab.run("second") == 0
    assert lab.problems() == []


def test_a_job_that_shows_up_late_is_waited_for_and_not_made_again(lab):
    """The lists show it when the run has looked at them in vain, and that more than once."""
    lab.emulator.scenario("late_visibility", seconds=A_QUARTER)
    lab.emulator.scenario("reply_lost")
    pid = lab.workers.start(lab.order("first"))
    lab.until(lambda: lab.log().count("looking at the service's lists again") >= 2)
    lab.emulator.advance(A_QUARTER)
    assert lab.ended(pid) == 0
    assert lab.problems() == []


def test_a_call_that_made_no_job_is_made_again_when_that_is_certain(lab):
    """Nobody else is there who could take it for lost too early, so the settle time may be short."""
    lab.emulator.scenario("unavailable_before_submit")
    assert lab.run("first", settle_seconds=0.5) == 0
    assert "looking at the service's lists again" in lab.log()
    assert lab.problems() == []


def test_a_slow_preparer_whose_dataset_is_gone_leaves_the_shard_to_who_was_quicker(lab):
    made = resources(lab)
    key = claimed(made)
    lab.emulator.scenario("failed_call", how="hang", method="GetUploadDraftUrl", code="NOT_FOUND")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(prepare, made, key)
        lab.until(lambda: not lab.emulator.waiting())
        prepared(made, key)
        chosen = made.shard(key).dataset()
        lab.emulator.clear("failed_call")
        assert slow.result() is None
    assert made.shard(key).dataset() == chosen


def test_a_dataset_that_is_deleted_while_it_is_made_is_made_again(lab):
    made = resources(lab)
    key = claimed(made)
    lab.emulator.scenario("failed_call", method="Validate", code="NOT_FOUND")
    with pytest.raises(RetryableError, match="deleted while it was being prepared"):
        prepare(made, key)
    validating = prepare(made, key)
    with lab.client() as client:
        client.delete_dataset(validating.dataset_id)
    with pytest.raises(RetryableError, match="deleted while it was being prepared"):
        finish_prepare(made, key, validating)
    assert lab.run("next") == 0
    assert lab.run("last") == 0
    assert lab.problems() == []


def test_with_the_fence_switched_off_two_jobs_are_seen_and_the_older_is_kept(lab, monkeypatch):
    made = resources(lab)
    key = claimed(made)
    prepared(made, key)
    monkeypatch.setattr("vision_batch.shards.folder.ShardFolder.fence", lambda *_: True)
    monkeypatch.setattr("vision_batch.steps.submit.observe", nothing_seen_of_jobs)
    with lab.emulator.holding():
        first, second = submit(made, key), submit(made, key)
        assert first.job_id != second.job_id
        assert len(lab.jobs()) == 2
        monkeypatch.undo()

        assert submit(made, key).job_id == first.job_id
        assert wait(made, second.job_id).status is JobStatus.CANCELED
    assert wait(made, first.job_id).status is JobStatus.COMPLETED
    assert load(made, key, "here") == {"answered": 4}
    assert {row["job_id"] for row in lab.rows()} == {first.job_id}
    assert clean(made, key).closed


def nothing_seen_of_jobs(_, shard, __):
    return state.Observed(dataset=shard.dataset())


def test_without_all_this_a_retry_pays_twice(lab):
    """The naive way: submit in ``execute``, retry by the scheduler. Its figure stands in docs/architecture.md."""
    made = resources(lab)
    key = claimed(made)
    prepared(made, key)
    dataset = made.shard(key).dataset().dataset_id
    uri = made.model.uri(lab.cloud_folder)
    for _ in range(2):  # the first reply was lost with its worker
        with made.service() as service:
            service.submit(uri, dataset)
    paid = [request for job in lab.jobs() for request in job["requests"]]
    assert (len(lab.jobs()), len(paid), len(set(paid))) == (2, 8, 4)


def test_claims_of_many_planners_at_once_never_overlap_and_lose_nothing(lab):
    made = resources(lab, max_rows_per_shard=1)
    found = [plan(made, DAYS).uri for _ in range(8)]
    results, errors = [], []

    def one(uri: str, number: int) -> None:
        try:
            results.append(claim(made, uri, DAYS, f"run-{number}"))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            errors.append(error)

    threads = [threading.Thread(target=one, args=(uri, number)) for number, uri in enumerate(found)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    items = [item.item_key for key in lab.open_shards() for item in made.shard(key).manifest()]
    assert len(items) == len(set(items)) == 4
    assert sum(result.new for result in results) == 4
    assert all(len(result.shards) == 4 for result in results)  # each run goes on with all of them


def test_two_installs_in_one_folder_of_the_service_do_not_see_each_other(new_lab):
    staging, production = new_lab(), new_lab()
    production.cloud_folder = staging.cloud_folder
    for lab in (staging, production):
        (lab.folder / "include" / "prompts" / "crash.md").write_text("Which colour?")
        crash(lab, "after_job_file")
    ours, theirs = resources(staging, adopt_after=0), resources(production, adopt_after=0)
    assert ours.work().install_id() != theirs.work().install_id()
    before = {dataset.dataset_id for dataset in _datasets(staging)}

    tidied = tidy(ours)
    assert (tidied.deleted, tidied.unknown) == ((), ())
    assert before <= {dataset.dataset_id for dataset in _datasets(staging)}

    assert staging.run("second") == 0
    names = {dataset.name for dataset in _datasets(staging) if dataset.name.startswith("vb-")}
    assert names
    assert all(name.startswith(f"vb-{theirs.work().install_id()[:6]}-") for name in names)
    assert production.run("second") == 0
    assert len(staging.rows()) == len(production.rows()) == 4


def _datasets(lab: Lab):
    with lab.client() as client:
        return client.list_datasets()


def test_two_enrichments_with_one_question_fill_both_their_tables(lab):
    other = lab.declaration.with_name("other.yaml")
    text = lab.declaration.read_text().replace("name: crash", "name: other").replace("crash.answers", "crash.others")
    other.write_text(text)
    assert lab.run("first") == 0
    assert lab.run("second", declaration=str(other)) == 0
    assert len(lab.rows()) == len(lab.rows("crash.others")) == 4


def test_a_failed_jobs_rows_are_salvaged_and_only_the_rest_is_asked_again(lab):
    made = resources(lab, salvage=True)
    lab.emulator.scenario("failed_with_result", rows=3)
    key = claimed(made)
    prepared(made, key)
    job = wait(made, submit(made, key).job_id)
    assert job.status is JobStatus.FAILED
    assert load(made, key, "here") == {"answered": 3, "failed": 1}
    assert clean(made, key).closed

    key = claimed(made)
    prepared(made, key)
    wait(made, submit(made, key).job_id)
    assert load(made, key, "here") == {"answered": 1}
    assert [job["rows"] for job in lab.jobs()] == [4, 1]


def test_a_locked_warehouse_and_a_failed_load_delete_nothing_and_the_next_run_loads_the_same_job(lab, monkeypatch):
    made = resources(lab)
    key = claimed(made)
    prepared(made, key)
    job_id = submit(made, key).job_id
    wait(made, job_id)

    def down(*_):
        raise ConnectionError("the warehouse is down")

    monkeypatch.setattr("vision_batch.warehouse.duckdb.DuckDBWarehouse.load", down)
    for _ in range(3):
        with pytest.raises(ConnectionError):
            load(made, key, "first")
    assert not clean(made, key).closed
    monkeypatch.undo()
    kept = {dataset.status.name for dataset in _datasets(lab)}
    assert kept == {"READY"}
    assert key in lab.open_shards()

    assert lab.run("second") == 0
    assert {row["job_id"] for row in lab.rows()} == {job_id}
    assert len(lab.jobs()) == 1


def test_a_wait_that_timed_out_deletes_nothing_and_the_next_run_loads_the_same_job(lab):
    made = resources(lab)
    key = claimed(made)
    prepared(made, key)
    with lab.emulator.holding():
        job_id = submit(made, key).job_id
        assert clean(made, key) == Cleaned(closed=False, job_id=job_id)
        assert len(_datasets(lab)) >= 1
    assert lab.run("second", partitions=DAYS) == 0
    assert {row["job_id"] for row in lab.rows()} == {job_id}
    assert len(lab.jobs()) == 1


def test_airflows_database_restored_from_before_the_submit_makes_no_second_job(lab):
    assert lab.run("first", crash_at="before_attempt") == KILLED
    backup = {path: path.read_bytes() for path in lab.folder.glob("xcoms-*.json")}
    assert lab.run("first", crash_at="after_commit") == KILLED
    for path, body in backup.items():
        path.write_bytes(body)
    assert lab.run("first") == 0
    assert lab.problems() == []


def test_an_orphan_of_a_run_that_nobody_repeats_is_adopted_after_a_while(lab):
    crash(lab, "after_job_file")
    lab.picture(OTHER_DAY, 0, "black")
    assert lab.run("soon", partitions=(OTHER_DAY,)) == 0
    assert len(lab.open_shards()) == 2
    assert lab.run("later", partitions=(OTHER_DAY,), adopt_after_seconds=0) == 0
    assert lab.open_shards() == {}
    assert len(lab.rows()) == 5


def test_the_janitor_closes_what_is_over_and_deletes_what_a_slow_worker_left(lab):
    crash(lab, "during_clean")
    made = resources(lab, adopt_after=0)
    assert len(tidy(made).closed) == 1
    assert lab.run("second") == 0

    # A worker that slept since its shard was closed makes a dataset that nobody knows of.
    [key] = sorted({row["shard"] for row in lab.rows()})[:1]
    shard = made.shard(key)
    name = f"vb-{made.work().install_id()[:6]}-crash-{key}"
    with lab.client() as client:
        left = client.create_dataset(
            name, "ImageTextToTextGenerationRequest", labels={"vb_install": made.work().install_id()}
        )
        foreign = client.create_dataset(name, "ImageTextToTextGenerationRequest", labels={"vb_install": "0" * 16})
    assert shard.closed() is not None
    tidied = tidy(made)
    assert tidied.deleted == (left.dataset_id,)
    assert [dataset.dataset_id for dataset in _datasets(lab)] == [foreign.dataset_id]


def test_the_janitor_leaves_a_shard_alone_that_is_paid_and_not_loaded(lab):
    crash(lab, "before_commit")
    before = {dataset.dataset_id for dataset in _datasets(lab)}
    tidied = tidy(resources(lab, adopt_after=0))
    assert (tidied.closed, tidied.deleted) == ((), ())
    assert len(tidied.remaining) == 2
    assert {dataset.dataset_id for dataset in _datasets(lab)} == before
    assert lab.run("second") == 0
    assert lab.problems() == []


def schedule(lab: Lab, seed: int) -> None:
    """Crash again and again, at points and in ways that a seed names, then let two runs end it."""
    chosen = random.Random(seed)
    names = iter(f"run-{number}" for number in range(100))
    name = next(names)
    for _ in range(chosen.randint(1, 4)):
        point = chosen.choice(CRASH_POINTS)
        lab.run(name, crash_at=point, reverse=chosen.random() < 0.3)
        match chosen.choice(["retry", "clear", "new run", "adopt"]):
            case "clear":
                lab.clear_xcoms()
            case "new run":
                name = next(names)
            case "adopt":
                lab.run(
                    next(names), partitions=(OTHER_DAY,), adopt_after_seconds=0, crash_at=chosen.choice(CRASH_POINTS)
                )
    assert set(lab.at_once(next(names), next(names))) == {0}, lab.log()
    assert lab.run(next(names)) == 0


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.slow] if seed >= 4 else []) for seed in range(200)]
)
def test_any_schedule_of_crashes_ends_in_the_same_place(lab, seed):
    schedule(lab, seed)
    assert lab.problems() == [], lab.log()
