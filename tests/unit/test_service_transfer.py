"""Uploads to presigned URLs against a storage that breaks in every way, without blocking the loop or telling a URL."""

import asyncio
import hashlib
import logging
import socket
import tracemalloc

import pytest

from vision_batch.errors import InputError, TransferError, UrlExpiredError
from vision_batch.service.storage import StorageRetries
from vision_batch.service.transfer import MIN_PART_BYTES, Part, count_parts, put_file

QUICK = StorageRetries(attempts=3, total_seconds=200, wait_initial_seconds=0.01, wait_max_seconds=0.02)
MIB = 1024**2

pytestmark = pytest.mark.usefixtures("no_blocking")


class Urls:
    """URLs of one upload; each renewal gives others."""

    def __init__(self, storage):
        self.storage = storage
        self.given = 0
        self.finished = []

    async def single(self, size_bytes):
        self.given += 1
        self.size = size_bytes
        return self.storage.url(f"single-{self.given}")

    async def start(self, size_bytes, parts):
        self.given += 1
        self.size = size_bytes
        return [self.storage.url(f"part-{self.given}-{number}") for number in range(1, parts + 1)]

    async def finish(self, parts):
        self.finished = list(parts)


@pytest.fixture
def urls(storage):
    return Urls(storage)


@pytest.fixture
def file(tmp_path):
    def make(size):
        path = tmp_path / "upload.jsonl"
        path.write_bytes(hashlib.shake_256(b"").digest(size))
        return path

    return make


def first(times, what):
    """Do something in place of the first answers."""
    left = [times]

    def before(request):
        if left[0] == 0:
            return False
        left[0] -= 1
        what(request)
        return True

    return before


def status(code, body=b"<Error><Code>Reason</Code></Error>", **headers):
    def reply(request):
        request.rfile.read(int(request.headers["content-length"]))
        request.reply(code, body, headers)

    return reply


def cut(request):
    request.rfile.read(1000)
    request.connection.shutdown(socket.SHUT_RDWR)
    request.close_connection = True


async def test_one_piece(storage, urls, file):
    path = file(3_000_000)
    await put_file(path, urls, retries=QUICK)
    assert storage.bodies == {"single-1": path.read_bytes()}
    [(method, _, headers)] = storage.requests
    assert (method, headers["content-length"], urls.size) == ("PUT", "3000000", 3_000_000)
    assert "transfer-encoding" not in headers
    assert "authorization" not in headers


async def test_parts_side_by_side(storage, urls, file):
    path = file(16 * MIB + 5)
    await put_file(path, urls, part_bytes=6 * MIB, parallel=3, retries=QUICK)
    bodies = [storage.bodies[f"part-1-{number}"] for number in (1, 2, 3)]
    assert b"".join(bodies) == path.read_bytes()
    assert {len(body) for body in bodies[:2]} == {-(-(16 * MIB + 5) // 3)}
    md5s = [f'"{hashlib.md5(body).hexdigest()}"' for body in bodies]
    assert urls.finished == [Part(number, md5) for number, md5 in enumerate(md5s, 1)]


@pytest.mark.parametrize(
    ("size", "part_bytes", "parts"),
    [
        (1, MIB, 1), (10 * MIB, 10 * MIB, 1), (10 * MIB + 1, 10 * MIB, 2), (11 * MIB, 100, 2), (9 * MIB, MIB, 1),
        (5 * 10**9, 64 * MIB, 75), (5 * 10**9, 1, 953),
    ],
)  # fmt: skip
def test_how_a_file_is_cut(size, part_bytes, parts):
    assert count_parts(size, part_bytes) == parts
    assert parts == 1 or -(-size // parts) >= MIN_PART_BYTES


@pytest.mark.parametrize(
    "breaking",
    [status(500), status(503), status(429), status(200, b"", ETag='"another"'), status(200, b""), cut],
    ids=["500", "503", "429", "another ETag", "no ETag", "cut"],
)
async def test_a_part_that_breaks_is_sent_again(storage, urls, file, breaking):
    storage.before = first(2, breaking)
    path = file(100_000)
    await put_file(path, urls, retries=QUICK)
    assert storage.bodies == {"single-1": path.read_bytes()}
    assert len(storage.requests) == 3


@pytest.mark.parametrize(
    ("breaking", "told"),
    [
        (status(500), ("the storage answered 500 Reason", 3)),
        (status(400), ("the storage answered 400 Reason", 1)),
        (status(200, b"", ETag='"another"'), ("is not the MD5 of what was sent", 3)),
        (cut, ("bytes 0 to 99999 of upload.jsonl broke: ", 3)),
    ],
    ids=["500", "400", "ETag", "cut"],
)
async def test_what_stays_broken_is_told_without_the_url(storage, file, caplog, breaking, told):
    message, requests = told
    storage.before = first(99, breaking)
    with caplog.at_level(logging.DEBUG), pytest.raises(TransferError, match=message) as raised:
        await put_file(file(100_000), Urls(storage), retries=QUICK)
    assert len(storage.requests) == requests
    assert "SECRETSIGNATURE" not in caplog.text + str(raised.value) + repr(raised.value)
    assert raised.value.__cause__ is None


async def test_expired_urls_are_asked_for_again_and_everything_with_them(storage, urls, file):
    storage.before = first(1, status(403))
    path = file(11 * MIB)
    await put_file(path, urls, part_bytes=6 * MIB, retries=QUICK)
    assert urls.given == 2
    assert b"".join(storage.bodies[f"part-2-{number}"] for number in (1, 2)) == path.read_bytes()
    assert len(urls.finished) == 2


async def test_urls_that_expire_for_ever_are_given_up(storage, urls, file):
    storage.before = first(99, status(403))
    with pytest.raises(UrlExpiredError, match="403 Reason"):
        await put_file(file(10), urls, retries=QUICK)
    assert urls.given == 3


async def test_an_empty_and_a_shrinking_file_are_told(storage, urls, file):
    with pytest.raises(InputError, match="has 0 bytes"):
        await put_file(file(0), urls, retries=QUICK)
    path = file(3 * MIB)

    async def shrunk(size_bytes):
        await asyncio.to_thread(path.write_bytes, b"x" * 100)
        return storage.url("single") if size_bytes else ""

    urls.single = shrunk
    with pytest.raises(TransferError, match="became shorter while it was uploaded"):
        await put_file(path, urls, retries=QUICK)


async def test_a_wrong_number_of_urls_is_noticed(urls, file):
    async def one(*_):
        return ["http://x"]

    urls.start = one
    with pytest.raises(TransferError, match="3 parts were asked for, the service gave 1 URLs"):
        await put_file(file(16 * MIB), urls, part_bytes=6 * MIB, retries=QUICK)


async def test_memory_does_not_grow_with_the_file(storage, urls, file):
    path = file(40 * MIB)

    def swallow(request):
        digest, left = hashlib.md5(), int(request.headers["content-length"])
        while left:
            piece = request.rfile.read(min(left, 65536))
            digest.update(piece)
            left -= len(piece)
        request.reply(200, b"", {"ETag": f'"{digest.hexdigest()}"'})

    storage.before = first(9, swallow)
    tracemalloc.start()
    try:
        await put_file(path, urls, part_bytes=10 * MIB, parallel=2, retries=QUICK)
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
    finally:
        tracemalloc.stop()
