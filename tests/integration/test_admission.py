"""Two enrichments and a foreign client at a real emulator with the service's real quotas, through the real operators."""

import asyncio
import json
import logging
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import TaskDeferred
from PIL import Image

from vision_batch.enrichment.reader import load_declaration
from vision_batch.errors import QuotaExceededError
from vision_batch.operators.shard import VisionBatchPrepareOperator
from vision_batch.operators.submit import VisionBatchSubmitOperator
from vision_batch.service.admission import NotYet, WaitForRoom
from vision_batch.service.rows import request_line
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import ServiceConfig
from vision_batch.shards.state import Outcome
from vision_batch.steps.claim import claim
from vision_batch.steps.plan import plan
from vision_batch.steps.prepare import TASK_TYPE, Validating, finish_prepare, prepare
from vision_batch.steps.resources import Resources
from vision_batch.steps.submit import Asked, submit

DAY = "2026-11-20"
KEY, FOLDER, MODEL = "key-of-the-tests", "b1gtests000000000000", "gemma-3-12b-it"
CONTEXT = {"params": {}, "run_id": "run"}
SHARDS, FOREIGN, RACING = 8, 5, 20
#: Half of the time after which a claim that does not move loses its place, and the looks after which a trigger gives up.
TURN_SECONDS, LOOKS = 300, 20


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nothing races these triggers, so they need not wait."""
    monkeypatch.setattr("vision_batch.triggers.job.first_look_seconds", lambda: 0.01)


@pytest.fixture
def running(emulator, monkeypatch):
    """An emulator with the documented quotas, whose hours last for six seconds while its clock goes."""
    running = emulator("--api-key", KEY, "--folder", FOLDER, speed=600)
    record = {"conn_type": "ai_studio", "password": KEY, "host": running.grpc}
    extra = {"folder_id": FOLDER, "tls": False}
    monkeypatch.setenv("AIRFLOW_CONN_AI_STUDIO_DEFAULT", json.dumps({**record, "extra": extra}))
    return running


@pytest.fixture
def enrichments(tmp_path, project, running):
    """Two of them in one work folder, each with shards of one picture."""
    found = {}
    for name, width in (("red", 40), ("blue", 60)):
        folder = tmp_path / name / DAY
        folder.mkdir(parents=True)
        for number in range(SHARDS):
            Image.new("RGB", (width, 30 + number), name).save(folder / f"{number}.png")
        environ = {
            "VISION_BATCH_IMAGES": f"file://{tmp_path}/{name}",
            "VISION_BATCH_WORK": f"file://{tmp_path}/work",
            "VISION_BATCH_WAREHOUSE": f"{tmp_path}/{name}.duckdb",
        }
        path = project / "include" / "enrichments" / "photo_quality.yaml"
        declared = load_declaration(path, include_folder=project / "include", environ=environ)
        limits = declared.limits.model_copy(update={"max_rows_per_shard": 1, "poll_interval_seconds": 0.2})
        declared = declared.model_copy(update={"name": name, "limits": limits})
        config = ServiceConfig(folder_id=FOLDER, api_key=KEY, endpoint=running.grpc, tls=False)
        found[name] = Resources(declared, config)
    return found


def claimed(resources, pictures=SHARDS):
    """Claim, and return the shards in the order in which they were claimed."""
    for number in range(pictures, SHARDS):
        Path(resources.declaration.source.uri.format(partition=DAY).removeprefix("file://"), f"{number}.png").unlink()
    claim(resources, plan(resources, [DAY]).uri, [DAY], "run")
    shards = resources.work().open_shards().values()
    return [shard.key for shard in sorted(shards, key=lambda shard: shard.claimed_at)]


def carry_out(operator, wait):
    """Execute a task; whenever it defers, wait as the triggerer does, and go on."""
    method, given = operator.execute, {}
    while True:
        try:
            return method(CONTEXT, **given)
        except TaskDeferred as deferred:
            event = wait(deferred.trigger)
            method, given = getattr(operator, deferred.method_name), {"event": event, **(deferred.kwargs or {})}


def triggered(trigger):
    return asyncio.run(first_event(trigger))


class Turns:
    """Let the service's time pass when all who are there wait, and only then: nobody is ever late.

    :param there: how many they are.
    """

    def __init__(self, emulator, there):
        self._emulator, self._there, self._waiting, self._turn = emulator, there, 0, 0
        self._changed = threading.Condition()

    def triggered(self, trigger):
        """Look as a trigger does, once in a turn."""
        for _ in range(LOOKS):
            if isinstance(trigger, DateTimeTrigger):
                self._wait()
                return None
            trigger.deadline = 0.0  # look once
            event = triggered(trigger)
            if event["outcome"] != "timeout":
                break
            self._wait()
        return event

    def leave(self):
        with self._changed:
            self._there -= 1
            self._go_on()

    def _wait(self):
        with self._changed:
            turn = self._turn
            self._waiting += 1
            self._go_on()
            self._changed.wait_for(lambda: self._turn != turn)

    def _go_on(self):
        if 0 < self._there == self._waiting:
            self._emulator.advance(TURN_SECONDS)
            self._waiting = 0
            self._turn += 1
            self._changed.notify_all()


async def first_event(trigger):
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger ended without an event")


def bring_forward(resources, key, wait):
    given = {"declaration": resources.declaration, "shard": key}
    carry_out(VisionBatchPrepareOperator(task_id="prepare", **given), wait)
    return carry_out(VisionBatchSubmitOperator(task_id="submit", **given), wait)


def foreign_jobs(config, folder, jobs, pause_seconds=0.0):
    """Ask with somebody else's client, who looks at no quota; return how many were refused."""
    path = folder / "foreign.jsonl"
    Image.new("RGB", (20, 20)).save(folder / "foreign.png")
    path.write_bytes(request_line("What is it?", (folder / "foreign.png").read_bytes()))
    refused = 0
    with SyncAIStudioClient(config) as client:
        dataset = client.create_dataset("somebody else's", TASK_TYPE, labels={})
        client.upload(dataset.dataset_id, path)
        operation = client.validate(dataset.dataset_id)
        while not client.validation(operation).done:
            threading.Event().wait(0.1)
        made = 0
        while made < jobs:
            threading.Event().wait(pause_seconds)
            try:
                client.submit(f"gpt://{FOLDER}/{MODEL}/latest", dataset.dataset_id)
                made += 1
            except QuotaExceededError:
                refused += 1
    return refused


def compete(enrichments, lockstep=None):
    """Bring every shard of both forward at the same time; return their jobs in the order of the claims.

    :param lockstep: an emulator that is frozen.
    """
    keys = [(resources, key) for resources in enrichments.values() for key in claimed(resources)]
    turns = lockstep and Turns(lockstep, len(keys))

    def one(resources, key):
        try:
            return bring_forward(resources, key, turns.triggered if turns else triggered)
        finally:
            if turns:
                turns.leave()

    with ThreadPoolExecutor(len(keys)) as pool:
        return list(pool.map(lambda each: one(*each), keys))


def refused_for_quota(running):
    return [entry for entry in running.refused() if entry["code"] == "RESOURCE_EXHAUSTED"]


def test_the_quota_is_shared_with_a_foreign_client_and_nobody_is_refused(running, enrichments, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = enrichments["red"].service_config
    assert foreign_jobs(config, tmp_path, FOREIGN) == 0
    running.freeze()

    jobs = compete(enrichments, running)

    assert refused_for_quota(running) == []
    bill = {job["task_id"]: job for job in running.bill()}
    assert len(bill) == 2 * SHARDS + FOREIGN
    assert len(set(jobs)) == 2 * SHARDS
    assert set(jobs) < set(bill)
    assert Counter(bill[job]["rows"] for job in jobs) == {1: 2 * SHARDS}
    made = sorted(datetime.fromisoformat(job["created_at"]) for job in bill.values())
    assert all(later - first >= timedelta(hours=1) for first, later in zip(made, made[10:], strict=False))
    order = [bill[job]["created_at"] for job in jobs]
    assert max(sum(later < at for later in order[place:]) for place, at in enumerate(order)) <= 10
    told = r"Waiting: jobs made: 10 of 10 in the last hour, .*; earlier shards that go first: \d+\. Place \d+ in the queue, expected at 2"
    assert any(re.match(told, record.message) for record in caplog.records)


def test_a_foreign_client_that_races_is_obeyed_and_no_job_is_lost(running, enrichments, tmp_path):
    # It has to come to an end: on a busy machine it would take every place before we see one.
    with ThreadPoolExecutor(1) as pool:
        foreign = pool.submit(foreign_jobs, enrichments["red"].service_config, tmp_path, RACING, pause_seconds=0.1)
        jobs = compete({"red": enrichments["red"]})
        assert foreign.result() > 0, "it was never refused, so nobody raced"
    bill = {job["task_id"]: job for job in running.bill()}
    assert len(set(jobs)) == SHARDS
    assert set(jobs) < set(bill)
    sources = Counter(job["source_dataset_id"] for job in bill.values())
    assert sorted(sources.values())[:-1] == [1] * SHARDS, "a shard has two jobs"


def drafts(resources, *names):
    with resources.service() as service:
        return [service.create_dataset(name, TASK_TYPE, labels={}).dataset_id for name in names]


def with_quotas(resources, **quotas):
    return replace(resources, service_config=replace(resources.service_config, quotas=quotas))


def test_a_full_folder_is_told_with_who_holds_it(enrichments):
    red = with_quotas(enrichments["red"], datasets=5)
    [key, *_] = claimed(red)
    assert isinstance(prepare(red, key), Validating)
    drafts(red, "old pictures", "more")
    [blue, *_] = claimed(enrichments["blue"])
    wait = prepare(with_quotas(enrichments["blue"], datasets=5), blue)
    assert isinstance(wait, WaitForRoom)
    words = "2 of 5 datasets and 300.0 GB are free, 15 datasets and"
    assert words in wait.reason
    assert re.search(r"It holds 1 of red, 2 made by others \(the oldest: 'old pictures' of \d{4}-", wait.reason)
    assert wait.needed.datasets == 15, "the result of one, six earlier ones, and this one"


def test_earlier_claims_beside_come_first_unless_they_use_another_connection(enrichments):
    red, blue = enrichments["red"], enrichments["blue"]
    claimed(red)
    [key, *_] = claimed(blue)
    wait = prepare(blue, key)
    assert isinstance(wait, WaitForRoom)
    assert (wait.ahead, wait.needed.new_jobs) == (SHARDS, 1)
    for question in enrichments["red"].work().store.list(f"{red.work().folder}/"):
        if question.uri.endswith("question.json"):
            path = Path(question.uri.removeprefix("file://"))
            path.write_text(path.read_text().replace("ai_studio_default", "another"))
    assert isinstance(prepare(blue, key), Validating)


@pytest.mark.usefixtures("hurried")
def test_what_the_service_refuses_is_obeyed_and_leaves_nothing_behind(emulator, enrichments):
    """The connection says that more is allowed than the service allows."""
    quotas = {"datasets": 1, "total_bytes": 1000}
    for quota, limit in quotas.items():
        strict = emulator("--api-key", KEY, "--folder", FOLDER, f"--quota={quota}={limit}", speed=600)
        red = enrichments["red"]
        red = replace(red, service_config=replace(red.service_config, endpoint=strict.grpc))
        [key, *_] = claimed(red)
        taken = drafts(red, *["somebody else's"] * (quota == "datasets"))
        for _ in range(2):
            again = prepare(red, key)
            assert isinstance(again, NotYet)
            assert f"the quota is {limit}" in again.why
        with red.service() as service:
            assert [dataset.dataset_id for dataset in service.list_datasets()] == taken


def prepared_one(resources):
    """Claim a shard of one picture and make its dataset."""
    [key] = claimed(resources, pictures=1)
    validating = prepare(resources, key)
    while finish_prepare(resources, key, validating) is None:
        threading.Event().wait(0.05)
    return key


@pytest.mark.parametrize(("settle_minutes", "waits"), [(2, False), (5, True)])
def test_a_paid_call_is_under_way_for_as_long_as_its_shard_was_claimed_with(enrichments, settle_minutes, waits):
    """The one who asks has another `settle`, and was claimed first: only the call under way can keep him waiting."""
    blue, red = (with_quotas(enrichments[name], jobs_per_hour=1) for name in ("blue", "red"))
    limits = red.declaration.limits.model_copy(update={"settle": timedelta(minutes=settle_minutes)})
    red = replace(red, declaration=red.declaration.model_copy(update={"limits": limits}))
    first, second = prepared_one(blue), prepared_one(red)
    assert red.shard(second).fence(1, frozenset(), datetime.now(UTC) - timedelta(minutes=6))
    assert isinstance(submit(blue, first), WaitForRoom) is waits


def test_a_paid_call_under_way_counts_as_a_job(enrichments):
    """Somebody else's call may have made its job, though no list shows it yet."""
    red, blue = (with_quotas(enrichments[name], jobs_per_hour=1) for name in ("red", "blue"))
    prepared = [prepared_one(resources) for resources in (red, blue)]
    assert red.shard(prepared[0]).fence(1, frozenset(), datetime.now(UTC))
    wait = submit(blue, prepared[1])
    assert isinstance(wait, WaitForRoom)
    assert (wait.needed.jobs, wait.ahead) == (2, 0)
    red.shard(prepared[0]).settle_attempt(1, Outcome.REFUSED)
    assert "earlier shards that go first: 1" in submit(blue, prepared[1]).reason
    assert isinstance(submit(red, prepared[0]), Asked)
