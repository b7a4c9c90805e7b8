"""An enrichment whose images and work folder are in object storage, by a key that may do no more than docs/deploy.md says."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from dataclasses import replace

import duckdb
import pytest
from PIL import Image
from stand_in import Fault, Key

from vision_batch.enrichment.declaration import Declaration
from vision_batch.errors import ConnectionInputError, FinalError, InputError
from vision_batch.hooks.storage import CLIENT
from vision_batch.images.opening import ImageLimits
from vision_batch.service.types import ServiceConfig
from vision_batch.shards.records import items_from_parquet, items_to_parquet
from vision_batch.steps.claim import claim
from vision_batch.steps.clean import clean
from vision_batch.steps.janitor import tidy
from vision_batch.steps.load import load
from vision_batch.steps.plan import plan
from vision_batch.steps.prepare import finish_prepare, prepare
from vision_batch.steps.publish import publish
from vision_batch.steps.resources import Resources
from vision_batch.steps.submit import Asked, submit

DAY = "2026-11-22"
ODD = ["with space.png", "плюс+and%20percent%.png", "a\nnew line.png", "ё'\"&?#;=.png"]
COLOURS = ("red", "green", "blue", "white")
#: What docs/deploy.md grants.
RIGHTS = {"images": frozenset({"list", "read"}), "work": frozenset({"list", "read", "write", "delete"})}
QUICK = {**CLIENT, "retries": {"mode": "standard", "total_max_attempts": 2}}


class OnS3:
    """One enrichment in a bucket, with its own emulator and warehouse."""

    def __init__(self, s3, emulator, folder):
        s3.keys["worker"] = Key("secret-of-the-worker", RIGHTS)
        self.s3, self.emulator, self.folder = s3, emulator, folder
        self.owner = s3.client("all")
        for bucket in ("images", "work", "other"):
            self.owner.create_bucket(Bucket=bucket)
        self.root = folder.name
        client = s3.client("worker", **QUICK)
        config = ServiceConfig(folder_id="b1gtests", api_key="key", endpoint=emulator.grpc, tls=False)
        self.resources = Resources(self.declaration(), config, lambda: client)

    def declaration(self, **source):
        found = source or {"uri": f"s3://images/{self.root}/{{partition}}/"}
        return Declaration.model_validate(
            {
                "name": "on-s3",
                "model": "gemma-3-12b-it",
                "work_folder": f"s3://work/{self.root}",
                "source": found,
                "prompt": "Which colour is it?",
                "answer": {
                    "fields": {
                        "dominant_color": {"type": "enum", "values": [*COLOURS], "description": "dominant colour"}
                    }
                },
                "destination": {"path": f"{self.folder}/w.duckdb", "table": "enrichment.photos"},
            }
        )

    def place(self, name, colour="red", size=(64, 48), bucket="images"):
        body = io.BytesIO()
        Image.new("RGB", size, colour).save(body, "PNG")
        key = f"{self.root}/{DAY}/{name}"
        self.owner.put_object(Bucket=bucket, Key=key, Body=body.getvalue())
        return key

    def claim(self, run_id="run"):
        return claim(self.resources, plan(self.resources, (DAY,)).uri, (DAY,), run_id).shards

    def bring_forward(self, key):
        validating = prepare(self.resources, key)
        while validating is not None and finish_prepare(self.resources, key, validating) is None:
            time.sleep(0.02)
        asked = submit(self.resources, key)
        assert isinstance(asked, Asked)
        with self.resources.service() as service:
            while asked.job_id and not service.describe_job(asked.job_id).status.is_terminal:
                time.sleep(0.02)
        load(self.resources, key, "run")
        assert clean(self.resources, key).closed

    def rows(self):
        with duckdb.connect(f"{self.folder}/w.duckdb", read_only=True) as db:
            found = db.sql("select image_uri, status, dominant_color from enrichment.photos")
            return {uri.rpartition(f"{DAY}/")[2]: (status, colour) for uri, status, colour in found.fetchall()}


@pytest.fixture
def on_s3(s3, emulator, tmp_path):
    return OnS3(s3, emulator(speed=20_000), tmp_path)


def test_odd_keys_are_asked_and_answered_with_the_documented_rights_and_no_look_at_each_object(on_s3):
    for number, (name, colour) in enumerate(zip(ODD, COLOURS, strict=True)):
        on_s3.place(name, colour, (64 + number, 48))
    on_s3.s3.calls.clear()
    [key] = on_s3.claim()
    on_s3.bring_forward(key)
    assert on_s3.rows() == {name: ("answered", colour) for name, colour in zip(ODD, COLOURS, strict=True)}
    publish(on_s3.resources, (DAY,), (key,), "run")
    tidy(on_s3.resources)
    assert on_s3.claim() == ()
    calls = Counter((call.method, call.key.rpartition("/")[2]) for call in on_s3.s3.calls if call.bucket == "images")
    assert {method for method, _ in calls} == {"GET"}
    assert calls["GET", ""] == 3, "one listing by each plan, one before the day is announced"
    assert all(calls["GET", name] <= 2 for name in ODD), "its header for the price, then all of it"


def test_what_changed_or_went_between_plan_and_prepare_is_released_to_the_next_plan(on_s3):
    on_s3.place("stays.png", "red")
    on_s3.place("changes.png", "green")
    gone = on_s3.place("goes.png", "blue")
    [key] = on_s3.claim()
    on_s3.place("changes.png", "white", (65, 48))
    on_s3.owner.delete_object(Bucket="images", Key=gone)
    on_s3.bring_forward(key)
    assert on_s3.rows() == {"stays.png": ("answered", "red")}
    [key] = on_s3.claim("second")
    on_s3.bring_forward(key)
    assert on_s3.rows() == {"stays.png": ("answered", "red"), "changes.png": ("answered", "white")}
    assert [job["rows"] for job in on_s3.emulator.bill()] == [1, 1]


@pytest.mark.parametrize(
    ("how", "words"), [("denied", "refuses the connection's key"), ("archived", "it lies in an archive")]
)
def test_an_object_that_cannot_be_read_is_a_row_and_asked_again_and_keeps_no_other_from_its_answer(on_s3, how, words):
    on_s3.place("good.png", "red")
    on_s3.place("bad.png", "green")
    on_s3.s3.faults.append(Fault(how, 99, "GET", "bad.png"))
    found = plan(on_s3.resources, (DAY,))
    assert (found.planned, found.price.rejected) == (2, 0)
    assert found.price.tokens > on_s3.resources.model.window_tokens, "it may be a large one"
    [key] = claim(on_s3.resources, found.uri, (DAY,), "first").shards
    on_s3.bring_forward(key)
    assert on_s3.rows() == {"good.png": ("answered", "red"), "bad.png": ("failed", None)}
    with duckdb.connect(f"{on_s3.folder}/w.duckdb", read_only=True) as db:
        [(error,)] = db.sql("select error from enrichment.photos where status = 'failed'").fetchall()
    assert words in error

    on_s3.s3.faults.clear()
    [key] = on_s3.claim("second")
    on_s3.bring_forward(key)
    assert on_s3.rows() == {"good.png": ("answered", "red"), "bad.png": ("answered", "green")}
    assert [job["rows"] for job in on_s3.emulator.bill()] == [1, 1]


def test_a_shard_of_which_nothing_can_be_read_makes_the_run_red(on_s3):
    on_s3.place("a.png")
    on_s3.place("b.png", "blue")
    on_s3.s3.faults.append(Fault("denied", 99, "GET", f"{DAY}/"))
    keys = on_s3.claim()
    on_s3.bring_forward(*keys)
    with pytest.raises(FinalError, match=r"none of its 2 images could be sent; of the first: .*refuses the connection"):
        publish(on_s3.resources, (DAY,), keys, "run")
    assert on_s3.emulator.bill() == []
    on_s3.s3.faults.clear()


def test_a_manifest_names_odd_keys_as_they_are(on_s3):
    keys = [on_s3.place(name, colour) for name, colour in zip(ODD, COLOURS, strict=True)]
    lines = "".join(json.dumps({"uri": f"s3://images/{key}"}, ensure_ascii=False) + "\n" for key in keys)
    on_s3.owner.put_object(Bucket="images", Key=f"{on_s3.root}/{DAY}.jsonl", Body=lines.encode())
    source = {"manifest": f"s3://images/{on_s3.root}/{{partition}}.jsonl"}
    on_s3.resources = replace(on_s3.resources, declaration=on_s3.declaration(**source))
    assert plan(on_s3.resources, (DAY,)).planned == len(ODD)


def test_a_manifest_cannot_name_another_bucket(on_s3):
    on_s3.place("a.png")
    secret = on_s3.place("secret.png", bucket="other")
    on_s3.owner.put_object(Bucket="images", Key=f"{on_s3.root}/{DAY}.csv", Body=f"uri\ns3://other/{secret}\n".encode())
    source = {"manifest": f"s3://images/{on_s3.root}/{{partition}}.csv"}
    on_s3.resources = replace(on_s3.resources, declaration=on_s3.declaration(**source))
    with pytest.raises(InputError, match=r"s3://other/.* lies outside of s3://images/"):
        plan(on_s3.resources, (DAY,))
    assert not [call for call in on_s3.s3.calls if call.bucket == "other" and call.key_id == "worker"]


def test_a_work_folder_that_was_tampered_with_cannot_make_it_read_another_bucket(on_s3):
    on_s3.place("a.png")
    secret = on_s3.place("secret.png", bucket="other")
    [key] = on_s3.claim()
    name = f"{on_s3.root}/on-s3/{key}/manifest.parquet"
    body = on_s3.owner.get_object(Bucket="work", Key=name)["Body"].read()
    items = [replace(item, uri=f"s3://other/{secret}") for item in items_from_parquet(body)]
    on_s3.owner.put_object(Bucket="work", Key=name, Body=items_to_parquet(items))
    with pytest.raises(InputError, match=r"s3://other/.* lies outside of s3://images/"):
        prepare(on_s3.resources, key)
    assert not [call for call in on_s3.s3.calls if call.bucket == "other" and call.key_id == "worker"]


def test_a_work_folder_without_conditional_writes_is_refused_before_anything_is_prepared(on_s3):
    on_s3.place("a.png")
    on_s3.s3.ignores = {"HTTP_IF_MATCH"}
    try:
        with pytest.raises(ConnectionInputError, match="cannot be a work folder"):
            plan(on_s3.resources, (DAY,))
    finally:
        on_s3.s3.ignores = set()
    assert on_s3.emulator.bill() == []


def test_a_file_that_is_too_large_is_rejected_without_being_read(on_s3, monkeypatch):
    on_s3.place("small.png", "red")
    on_s3.place("large.png", "green", (640, 480))
    monkeypatch.setattr("vision_batch.images.opening.require_bytes.__defaults__", (ImageLimits(max_bytes=600),))
    [key] = on_s3.claim()
    on_s3.s3.calls.clear()
    on_s3.bring_forward(key)
    assert on_s3.rows() == {"small.png": ("answered", "red"), "large.png": ("rejected", None)}
    assert not [call for call in on_s3.s3.calls if call.key.endswith("large.png")]


def test_the_documents_policy_grants_what_these_tests_use(project):
    text = (project / "docs" / "deploy.md").read_text()
    policy = json.loads(text.partition("```json\n")[2].partition("```")[0])
    names = {"s3:ListBucket": "list", "s3:GetObject": "read", "s3:PutObject": "write", "s3:DeleteObject": "delete"}
    granted = {"images": set(), "work": set()}
    for statement in policy["Statement"]:
        for resource in statement["Resource"]:
            bucket = resource.removeprefix("arn:aws:s3:::").partition("/")[0].lower()
            granted[bucket] |= {names[action] for action in statement["Action"]}
    assert granted == RIGHTS
