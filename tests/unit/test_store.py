"""The same cases on file:// and on an S3 server."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import boto3
import pytest
from moto.server import ThreadedMotoServer

from vision_batch.errors import (
    InputError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    ObjectUnreadableError,
    StaleWriteError,
)
from vision_batch.store import Store, open_store


@pytest.fixture(scope="module")
def s3_client() -> Iterator[Callable[[], object]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="images")
    yield lambda: client
    server.stop()


@pytest.fixture(params=["file", "s3"])
def place(request, tmp_path, s3_client) -> tuple[Store, str]:
    if request.param == "file":
        return open_store(f"file://{tmp_path}"), f"file://{tmp_path}"
    root = f"s3://images/{os.urandom(4).hex()}"
    return open_store(root, s3_client=s3_client), root


def test_what_is_there_and_cannot_be_read_is_told(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ObjectUnreadableError, match="folder cannot be read: Is a directory"):
        open_store(f"file://{tmp_path}").read(f"file://{tmp_path}/folder")


NAMES = ["a.jpg", "б в.jpg", "c%20+d.jpg", "e/f.jpg", "e/z.jpg", "ж/и.png"]


def test_list_is_sorted_and_complete_with_odd_names(place):
    store, root = place
    for name in reversed(NAMES):
        store.create(f"{root}/p/{name}", name.encode())
    store.create(f"{root}/q/other.jpg", b"not listed")
    found = list(store.list(f"{root}/p/"))
    assert [info.uri for info in found] == sorted(f"{root}/p/{name}" for name in NAMES)
    assert [info.size_bytes for info in found] == [len(info.uri.removeprefix(f"{root}/p/").encode()) for info in found]
    assert all(info.etag and info.modified_at.tzinfo for info in found)
    assert list(store.list(f"{root}/nothing/")) == []


def test_a_prefix_need_not_be_a_folder(place):
    store, root = place
    for name in ("2026-11-22a.jpg", "2026-11-22b.jpg", "2026-11-23.jpg"):
        store.create(f"{root}/{name}", b"x")
    assert [info.uri for info in store.list(f"{root}/2026-11-22")] == [
        f"{root}/2026-11-22a.jpg",
        f"{root}/2026-11-22b.jpg",
    ]


def test_folders_are_those_directly_below(place):
    store, root = place
    for name in ("b/one.json", "a-2/deep/two.json", "a/three.json", "a/x/four.json", "file.json"):
        store.create(f"{root}/{name}", b"x")
    assert list(store.folders(root)) == list(store.folders(f"{root}/")) == ["a", "a-2", "b"]
    assert list(store.folders(f"{root}/a")) == ["x"]
    assert list(store.folders(f"{root}/nowhere")) == []


def test_read_is_conditional(place):
    store, root = place
    uri = f"{root}/image.jpg"
    store.create(uri, b"one")
    etag = store.info(uri).etag
    assert store.read(uri, if_match=etag) == b"one"
    store.delete(uri)
    with pytest.raises(ObjectMissingError):
        store.read(uri, if_match=etag)
    store.create(uri, b"two, longer")
    with pytest.raises(ObjectChangedError):
        store.read(uri, if_match=etag)


def test_create_happens_once(place):
    store, root = place
    store.create(f"{root}/once", b"first")
    with pytest.raises(ObjectExistsError):
        store.create(f"{root}/once", b"second")
    assert store.read(f"{root}/once") == b"first"


def test_swap_refuses_a_stale_version(place):
    store, root = place
    uri = f"{root}/open.json"
    first = store.swap(uri, b"1", version=None)
    with pytest.raises(StaleWriteError):
        store.swap(uri, b"x", version=None)
    assert store.read_versioned(uri) == (b"1", first)
    store.swap(uri, b"2", version=first)
    with pytest.raises(StaleWriteError):
        store.swap(uri, b"x", version=first)
    assert store.read(uri) == b"2"


def test_swap_of_a_missing_object_is_stale(place):
    store, root = place
    with pytest.raises(StaleWriteError):
        store.swap(f"{root}/gone", b"x", version='"0123"')


def test_missing_objects(place):
    store, root = place
    for call in (store.info, store.read, store.read_versioned):
        with pytest.raises(ObjectMissingError):
            call(f"{root}/nothing")
    store.delete(f"{root}/nothing")


def test_many_swappers_lose_no_count(tmp_path):
    """Twenty threads each add one; every increment survives."""
    store, uri = open_store(f"file://{tmp_path}"), f"file://{tmp_path}/n"
    store.swap(uri, b"0", version=None)

    def add_one() -> None:
        while True:
            body, version = store.read_versioned(uri)
            try:
                store.swap(uri, str(int(body) + 1).encode(), version=version)
            except StaleWriteError:
                continue
            return

    threads = [threading.Thread(target=add_one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(uri) == b"20"


def test_hidden_files_are_not_items(tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "a.jpg").write_bytes(b"x")
    store = open_store(f"file://{tmp_path}")
    assert [info.uri for info in store.list(f"file://{tmp_path}/")] == [f"file://{tmp_path}/a.jpg"]


def listed(folder: Path, prefix: str = "") -> list[str]:
    root = f"file://{folder}/"
    return [info.uri.removeprefix(root) for info in open_store(root).list(f"{root}{prefix}")]


def test_links_that_lead_back_or_nowhere_are_passed_over_and_told(tmp_path, caplog):
    (tmp_path / "day" / "shop").mkdir(parents=True)
    (tmp_path / "day" / "shop" / "a.jpg").write_bytes(b"x")
    (tmp_path / "day" / "shop" / "back").symlink_to("..")
    (tmp_path / "day" / "itself").symlink_to("itself")
    (tmp_path / "day" / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "other").symlink_to("day/shop")
    (tmp_path / "one.jpg").symlink_to("day/shop/a.jpg")
    assert listed(tmp_path) == ["day/shop/a.jpg", "one.jpg", "other/a.jpg"]
    assert listed(tmp_path, "day/s") == ["day/shop/a.jpg"]
    assert list(open_store("file:///").folders(f"file://{tmp_path}/day")) == ["shop"]
    told = {record.getMessage() for record in caplog.records}
    assert f"{tmp_path}/day/shop/back is passed over: it is a link to a folder that it is in itself." in told
    assert f"{tmp_path}/day/itself is passed over: it is a link to itself." in told


@pytest.fixture
def stranger() -> Iterator[Path]:
    """Be nobody for a while, who may read some of a folder: the system's owner may read everything."""
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for shut in ("unlisted", "unentered"):
            (folder / "day" / shut).mkdir(parents=True)
            (folder / "day" / shut / "a.jpg").write_bytes(b"x")
        (folder / "day" / "unlisted").chmod(0)
        (folder / "day" / "unentered").chmod(0o444)
        is_owner = os.geteuid() == 0
        if is_owner:
            os.seteuid(65534)
        yield folder
        if is_owner:
            os.seteuid(0)
        for shut in (folder / "day").iterdir():
            shut.chmod(0o755)


@pytest.mark.parametrize(("shut", "said"), [("unlisted", "listed"), ("unentered", "looked at")])
def test_a_folder_that_may_not_be_read_is_told_not_taken_for_an_empty_one(stranger, shut, said):
    assert listed(stranger, "else") == []
    with pytest.raises(ObjectUnreadableError, match=f"{shut}[^ ]* cannot be {said}: Permission denied"):
        listed(stranger, f"day/{shut}/")


@pytest.mark.parametrize("uri", ["images/", "gs://bucket/x", "file://relative/x"])
def test_other_uris_are_refused(uri):
    with pytest.raises(InputError, match="URI"):
        open_store(uri).read(uri)


def test_s3_needs_a_client():
    with pytest.raises(InputError, match="connection"):
        open_store("s3://bucket/x")
