"""The store on S3: odd keys, retries, refusals in words, and the proof that a storage is fit for a work folder."""

from __future__ import annotations

import itertools

import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from stand_in import Fault, Key

from vision_batch.errors import (
    ConnectionInputError,
    InputError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    ObjectUnreadableError,
    ServiceUnavailableError,
    StaleWriteError,
    VisionBatchError,
)
from vision_batch.hooks.storage import CLIENT
from vision_batch.store import DeclaredPlaces, open_store
from vision_batch.store.proof import prove_conditional_writes
from vision_batch.store.s3 import _said

ODD = [
    "with space.jpg", " begins and ends ", "плюс+and%20percent%.jpg", "a\nnew line\r.jpg", "тёмно-синий/ё.png",
    "a&b=c?d#e;f'g\"h<i>.jpg", "../up.jpg", "a//b.jpg", "emoji-🖼.webp", "tab\there.jpg", "*~|\\^`{}[].jpg",
]  # fmt: skip
QUICK = {**CLIENT, "retries": {"mode": "standard", "total_max_attempts": 4}}


@pytest.fixture
def store(s3):
    client = s3.client("all", **QUICK)
    client.create_bucket(Bucket="photos")
    for found in client.list_objects_v2(Bucket="photos").get("Contents", ()):
        client.delete_object(Bucket="photos", Key=found["Key"])
    s3.calls.clear()
    return open_store("s3://photos/", s3_client=lambda: client)


@pytest.fixture
def hurried(monkeypatch) -> None:
    """Let the client repeat requests without its pauses, which chance decides."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)


def test_keys_are_taken_as_they_are(store):
    for number, name in enumerate(ODD):
        store.create(f"s3://photos/odd/{name}", str(number).encode())
    found = list(store.list("s3://photos/odd/"))
    assert sorted(info.uri for info in found) == sorted(f"s3://photos/odd/{name}" for name in ODD)
    for info in found:
        body = store.read(info.uri, if_match=info.etag)
        assert ODD[int(body)] == info.uri.removeprefix("s3://photos/odd/")
        assert store.info(info.uri) == info
        assert store.head(info.uri, 1, if_match=info.etag) == body[:1]


def test_a_listing_asks_for_pages_and_for_no_object(s3, store):
    for number in range(7):
        store.create(f"s3://photos/list/{number}.jpg", b"x")
    store.create("s3://photos/list/folder/", b"")
    s3.calls.clear()
    assert len(list(store.list("s3://photos/list/"))) == 7
    assert [(call.method, call.key, call.query["list-type"]) for call in s3.calls] == [("GET", "", "2")]


@pytest.mark.usefixtures("hurried")
def test_what_is_broken_for_a_moment_is_done_again(s3, store):
    uri = "s3://photos/moment"
    s3.faults.append(Fault("busy", 2, "PUT"))
    store.create(uri, b"body of some length")
    s3.faults += [Fault("busy", 1), Fault("cut", 2)]
    assert store.read_versioned(uri)[0] == b"body of some length"
    s3.faults += [Fault("busy", 2)]
    assert [info.uri for info in store.list(uri)] == [uri]


def test_a_write_whose_reply_is_lost_is_taken_for_somebody_elses(s3, store):
    s3.faults.append(Fault("lost", 1, "PUT"))
    with pytest.raises(ObjectExistsError):
        store.create("s3://photos/once", b"1")
    assert store.read_versioned("s3://photos/once")[0] == b"1"
    _, version = store.read_versioned("s3://photos/once")
    s3.faults.append(Fault("lost", 1, "PUT"))
    with pytest.raises(StaleWriteError):
        store.swap("s3://photos/once", b"2", version=version)
    assert store.read("s3://photos/once") == b"2"


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("how", ["busy", "cut"])
def test_what_stays_broken_is_told_in_our_words(s3, store, how):
    store.create(f"s3://photos/{how}", b"body")
    s3.faults.append(Fault(how, 100))
    with pytest.raises(ServiceUnavailableError, match=f"s3://photos/{how}"):
        store.read(f"s3://photos/{how}")


def test_refusals_name_place_and_next_step(s3, store):
    store.create("s3://photos/x", b"1")
    s3.keys["none"] = Key("n", {})
    refused = open_store("s3://photos/", s3_client=lambda: s3.client("none"))
    calls = (
        lambda store: list(store.list("s3://photos/x")),
        lambda store: store.read("s3://photos/x"),
        lambda store: store.create("s3://photos/y", b""),
        lambda store: store.delete("s3://photos/x"),
    )
    for call in calls:
        with pytest.raises(
            (ConnectionInputError, ObjectUnreadableError),
            match=r"s3://photos/.: the storage refuses the connection's key",
        ):
            call(refused)
    with pytest.raises(ConnectionInputError, match="no such bucket"):
        list(store.list("s3://nowhere-at-all/"))
    gone = s3.client("all", connect_timeout=1, retries={"total_max_attempts": 1})
    gone.meta.events.register("before-send", lambda **_: (_ for _ in ()).throw(_no_connection()))
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        open_store("s3://photos/", s3_client=lambda: gone).read("s3://photos/x")


def _no_connection() -> Exception:
    return EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def test_every_reply_of_a_storage_means_something_of_ours():
    codes = ["", "412", "404", "403", "NoSuchBucket", "SlowDown", "InternalError", "NotImplemented", "Whatever"]
    for code, status in itertools.product(codes, (400, 403, 404, 409, 412, 429, 500, 501, 503)):
        error = _said("s3://b/k", {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}})
        assert isinstance(error, VisionBatchError), (code, status)


def test_a_read_of_another_version_or_of_nothing(store):
    store.create("s3://photos/v", b"1")
    with pytest.raises(ObjectChangedError):
        store.read("s3://photos/v", if_match="0" * 32)
    with pytest.raises(ObjectMissingError):
        store.read("s3://photos/nothing")
    store.create("s3://photos/empty", b"")
    assert store.head("s3://photos/empty", 10) == b""


def test_a_storage_that_keeps_its_conditions_is_fit_and_is_left_as_it_was(store, tmp_path):
    prove_conditional_writes(store, "s3://photos/work")
    assert list(store.list("s3://photos/work")) == []
    prove_conditional_writes(open_store(f"file://{tmp_path}"), f"file://{tmp_path}/work")
    assert list(open_store(f"file://{tmp_path}").list(f"file://{tmp_path}/work/")) == []


@pytest.mark.parametrize(
    ("ignored", "words"),
    [
        ({"HTTP_IF_NONE_MATCH"}, "it ignores If-None-Match: it created an object that was there"),
        ({"HTTP_IF_MATCH"}, "it ignores If-Match: it replaced an object that had changed"),
    ],
)
def test_a_storage_without_conditional_writes_is_refused(s3, store, ignored, words):
    s3.ignores = ignored
    try:
        with pytest.raises(ConnectionInputError, match="cannot be a work folder") as raised:
            prove_conditional_writes(store, "s3://photos/work/")
    finally:
        s3.ignores = set()
    assert words in str(raised.value)
    assert "Nothing was paid" in str(raised.value)
    assert list(store.list("s3://photos/work")) == []


def test_a_storage_that_does_not_know_the_headers_is_refused(s3, store):
    s3.faults.append(Fault("unknown", 1, "PUT"))
    with pytest.raises(ConnectionInputError, match="NotImplemented"):
        prove_conditional_writes(store, "s3://photos/work/")


def test_only_declared_places_can_be_read(store, tmp_path):
    store.create("s3://photos/in/a", b"1")
    store.create("s3://photos/in/../b", b"2")
    store.create("s3://photos/out/a", b"3")
    declared = DeclaredPlaces(store, ("s3://photos/in/",))
    assert declared.read("s3://photos/in/a") == b"1"
    assert declared.read("s3://photos/in/../b") == b"2", "to S3 this is a name like another"
    for uri in ("s3://photos/out/a", "s3://photos/", "s3://other/in/a", "file:///etc/hostname", "s3://photos/in"):
        for call in (declared.read, declared.info, lambda uri: declared.head(uri, 1), declared.list):
            with pytest.raises(InputError, match="lies outside of s3://photos/in/"):
                call(uri)
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    files = DeclaredPlaces(open_store(f"file://{tmp_path}"), (f"file://{tmp_path}/in/",))
    with pytest.raises(InputError, match="outside"):
        files.read(f"file://{tmp_path}/in/../secret")


def test_settings_of_the_connection_go_before_ours():
    merged = Config(**CLIENT).merge(Config(read_timeout=5, s3={"addressing_style": "path"}))
    assert (merged.read_timeout, merged.s3, merged.retries["mode"]) == (5, {"addressing_style": "path"}, "standard")
