"""A remote file read by ranges: only what is needed, again from where it broke, never two versions mixed."""

import hashlib
import io
import logging
import socket

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import urllib3

from vision_batch.errors import FinalError, TransferError, UrlExpiredError
from vision_batch.service import range_file, result_files
from vision_batch.service.range_file import (
    AHEAD,
    BLOCK_BYTES,
    GAP_BYTES,
    KEPT_BYTES,
    TAIL_BYTES,
    WHOLE_BYTES,
    RangeFile,
)
from vision_batch.service.request_hash import RequestHash
from vision_batch.service.result_files import read_result_file, read_result_files
from vision_batch.service.storage import StorageRetries, downloads
from vision_batch.service.types import ResultFile

QUICK = StorageRetries(attempts=3, total_seconds=200, wait_initial_seconds=0.01, wait_max_seconds=0.02)
MIB = 1024**2
BODY = hashlib.shake_256(b"body").digest(BLOCK_BYTES + MIB + 123)


@pytest.fixture
def http():
    with urllib3.PoolManager(timeout=100, retries=False) as client:
        yield client


@pytest.fixture
def opened(storage, http):
    """A function that opens a body as a file; with URLs that count up."""
    files = []

    def opening(body=BODY, *, expired=0):
        storage.bodies.update({f"file-{number}": body for number in range(9)})
        asked = iter(range(expired, 9))
        files.append(RangeFile(http, lambda: storage.url(f"file-{next(asked)}"), name="a file", retries=QUICK))
        return files[-1]

    yield opening
    for file in files:
        file.close()


def ranges(storage):
    return [headers["range"] for _, _, headers in storage.requests]


def on_request(number, what):
    """Do something at one request, counted from 0."""
    count = iter(range(999))

    def before(request):
        return next(count) == number and (what(request), True)[1]

    return before


def test_reading_it_all(opened):
    file = opened()
    assert (file.size, file.readable(), file.seekable()) == (len(BODY), True, True)
    assert file.read(len(BODY)) == BODY
    assert file.read(1) == b""
    file.seek(-5, io.SEEK_END)
    assert (file.tell(), file.read(99)) == (len(BODY) - 5, BODY[-5:])


def test_only_what_is_planned_is_fetched_and_near_ranges_together(opened, storage):
    file = opened()
    file.plan([(100, 200), (1000, 3000), (2 * MIB, 2 * MIB + 10), (5, 5)])
    for start, end in ((100, 200), (1000, 3000), (2 * MIB, 2 * MIB + 10)):
        file.seek(start)
        assert file.read(end - start) == BODY[start:end]
    assert sorted(ranges(storage)) == sorted(
        [f"bytes=-{TAIL_BYTES}", "bytes=100-2999", f"bytes={2 * MIB}-{2 * MIB + 9}"]
    )
    assert file.fetched_bytes == TAIL_BYTES + 2900 + 10


def test_what_was_not_planned_can_be_read_all_the_same(opened):
    file = opened()
    file.seek(777)
    assert file.read(1000) == BODY[777:1777]


def test_a_file_smaller_than_its_tail_is_one_request(opened, storage):
    file = opened(b"small")
    assert file.read(99) == b"small"
    assert len(ranges(storage)) == 1


def test_few_blocks_are_kept(opened):
    body = bytes(KEPT_BYTES + WHOLE_BYTES)
    file = opened(body)
    file.plan([(0, len(body))])
    while file.read(BLOCK_BYTES):
        assert file._kept_bytes() <= KEPT_BYTES


def test_what_is_fetched_ahead_is_kept_whatever_its_size(opened, storage, monkeypatch):
    monkeypatch.setattr(range_file, "KEPT_BYTES", 1)
    file = opened()
    file.plan([(start, start + MIB) for start in range(0, 4 * MIB, MIB + GAP_BYTES + 1)])
    for start, end in file._spans:
        file.seek(start)
        assert file.read(end - start) == BODY[start:end]
        assert len(file._blocks) <= 1 + AHEAD
    assert len(ranges(storage)) == 1 + len(file._spans)


def test_one_look_at_another_column_fetches_nothing_ahead(opened, storage):
    file = opened()
    file.plan([(start, start + 10) for start in range(0, 4 * MIB, MIB // 2)])
    file.seek(2 * MIB)
    assert file.read(10) == BODY[2 * MIB :][:10]
    file.close()
    assert len(ranges(storage)) == 1 + 1


def test_a_range_that_is_not_too_long_is_one_request_and_no_copy(opened, storage):
    file = opened()
    file.plan([(0, 3 * MIB), (3 * MIB, len(BODY))])
    first, second = file.read(3 * MIB), file.read(MIB)
    assert (first, second) == (BODY[: 3 * MIB], BODY[3 * MIB : 4 * MIB])
    assert first.obj is second.obj
    assert len(ranges(storage)) == 2


def test_a_longer_range_is_cut_and_joined(opened, storage, monkeypatch):
    monkeypatch.setattr(range_file, "WHOLE_BYTES", MIB)
    monkeypatch.setattr(range_file, "BLOCK_BYTES", 300_000)
    file = opened()
    file.plan([(0, 1000), (1000, 2 * MIB), (2 * MIB, 2 * MIB + 10)])
    assert file.read(2 * MIB + 10) == BODY[: 2 * MIB + 10]
    assert file.read(5) == BODY[2 * MIB + 10 :][:5]
    assert len(ranges(storage)) == 1 + 1 + 7 + 1 + 1


def partly(count):
    """Send so many bytes of the answer, then cut."""

    def answer(request):
        first, last = request.range(len(BODY))
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {first}-{last}/{len(BODY)}")
        request.send_header("Content-Length", str(last + 1 - first))
        request.send_header("ETag", '"v1"')
        request.end_headers()
        request.wfile.write(BODY[first : first + count])
        request.wfile.flush()
        request.connection.shutdown(socket.SHUT_RDWR)
        request.close_connection = True

    return answer


@pytest.mark.parametrize("at", [0, 1], ids=["tail", "block"])
@pytest.mark.parametrize("count", [0, 1000])
def test_a_cut_is_mended_from_where_it_was(opened, storage, at, count):
    storage.before = on_request(at, partly(count))
    file = opened()
    file.plan([(0, BLOCK_BYTES)])
    assert file.read(BLOCK_BYTES) == BODY[:BLOCK_BYTES]
    assert file.fetched_bytes == TAIL_BYTES + BLOCK_BYTES


def plain(status, body, **headers):
    return lambda request: request.reply(status, body, headers)


def test_an_expired_url_is_replaced_also_in_the_middle(opened, storage):
    storage.before = on_request(1, plain(403, b"<Error><Code>AccessDenied</Code></Error>"))
    file = opened()
    assert file.read(1000) == BODY[:1000]
    assert [path.split("?")[0] for _, path, _ in storage.requests] == ["/file-0", "/file-0", "/file-1"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (plain(403, b""), (UrlExpiredError, "403; its URL is no longer valid")),
        (plain(404, b"<Code>NoSuchKey</Code>"), (TransferError, "404 NoSuchKey")),
        (plain(500, b""), (TransferError, "broke: the storage answered 500")),
        (plain(200, b"whole"), (TransferError, "sent the whole file instead of a range")),
        (plain(206, b"x"), (TransferError, "did not say which range it sent")),
        (partly(0), (TransferError, "broke: ")),
        (plain(206, b"x", **{"Content-Range": f"bytes 7-7/{len(BODY)}"}), (TransferError, "sent bytes 7 to 7")),
        (plain(206, b"x", **{"Content-Range": f"bytes 0-1000/{len(BODY)}"}), (TransferError, "sent bytes 0 to 1000")),
    ],
    ids=["403", "404", "500", "whole", "no range", "cut", "another range", "more"],
)
def test_what_stays_broken_is_told_without_the_url(opened, storage, caplog, answer, told):
    error, message = told
    file = opened()
    storage.before = lambda request: (answer(request), True)[1]
    with caplog.at_level(logging.DEBUG), pytest.raises(error, match=message) as raised:
        file.read(1000)
    assert "a file" in str(raised.value)
    assert "SECRETSIGNATURE" not in caplog.text + str(raised.value) + repr(file._source)


def test_a_tail_that_is_longer_than_asked_for_is_refused(opened, storage):
    body = bytes(TAIL_BYTES + 1)
    storage.before = lambda request: (
        request.reply(206, body, {"Content-Range": f"bytes 0-{TAIL_BYTES}/{len(body)}"}),
        True,
    )[1]
    with pytest.raises(TransferError, match=f"the storage sent bytes 0 to {TAIL_BYTES}"):
        opened(body)


def test_two_versions_are_never_mixed(opened, storage):
    file = opened()
    storage.before = on_request(
        0, plain(206, BODY[:1000], **{"Content-Range": f"bytes 0-999/{len(BODY)}", "ETag": '"v2"'})
    )
    with pytest.raises(TransferError, match="the file changed while it was read"):
        file.read(1000)


HASHING = RequestHash.new()
PART = pa.struct([("type", pa.string()), ("text", pa.string()), ("image", pa.string())])
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.list_(PART))])
RESULT = pa.schema([("request", pa.list_(MESSAGE)), ("response", pa.string())])
SENT = [{"role": "user", "content": [{"type": "text", "text": "Q"}, {"type": "image", "image": "QUJD"}]}]


class TestResults:
    def parquet(self, rows, schema=RESULT):
        target = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), target)
        return target.getvalue()

    def read(self, file, **options):
        return [row for batch in read_result_file(file, "it", **options) for row in batch.to_pylist()]

    def test_texts_and_hashes(self, opened):
        body = self.parquet([{"request": SENT, "response": "A"}, {"request": None, "response": None}])
        rows = [{"text": "Q", "response": "A"}, {"text": "", "response": None}]
        assert self.read(opened(body), hashing=None) == rows
        hashes = [HASHING.of(SENT), HASHING.of([])]
        expected = [{**row, "request_hash": found} for row, found in zip(rows, hashes, strict=True)]
        assert self.read(opened(body), hashing=HASHING) == expected

    @pytest.mark.parametrize("hashing", [None, HASHING])
    def test_row_groups_that_are_too_large_to_be_read_whole(self, opened, storage, monkeypatch, hashing):
        rows = [{"request": SENT, "response": f"{number} " * 9000} for number in range(300)]
        target = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=RESULT), target, compression="none", use_dictionary=False)
        for module in (range_file, result_files):
            monkeypatch.setattr(module, "WHOLE_BYTES", MIB)
        monkeypatch.setattr(range_file, "BLOCK_BYTES", MIB)
        file = opened(target.getvalue())
        assert [row["response"] for row in self.read(file, hashing=hashing)] == [row["response"] for row in rows]
        assert len(ranges(storage)) > file.size / MIB

    def test_no_rows(self, opened):
        assert self.read(opened(self.parquet([])), hashing=HASHING) == []

    def test_another_table(self, opened):
        with pytest.raises(FinalError, match=r"it has the columns \['a'\]; a result has request"):
            self.read(opened(self.parquet([{"a": 1}], pa.schema([("a", pa.int64())]))), hashing=None)

    @pytest.mark.parametrize(
        "damage",
        [lambda body: body[:-8], lambda _: b"", lambda body: body[:99] + bytes(len(body) - 107) + body[-8:]],
    )
    def test_a_torn_file(self, opened, damage):
        body = self.parquet([{"request": SENT, "response": "A"}] * 50)
        with pytest.raises(TransferError, match=r"cannot be read as Parquet|did not say"):
            self.read(opened(damage(body)), hashing=None)

    def test_a_file_that_is_gone_when_its_url_is_renewed(self, storage):
        class Client:
            found = (ResultFile("1.parquet", storage.url("gone")),)

            def result_files(self, dataset_id):
                files, self.found = self.found, ()
                return files if dataset_id == "fds1" else ()

        storage.before = on_request(0, plain(403, b""))
        with pytest.raises(TransferError, match=r"dataset fds1 no longer has the file '1\.parquet'"):
            list(read_result_files(Client(), "fds1", hashing=None, retries=QUICK))


def test_downloads_go_by_the_proxy_of_the_environment(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://user:p%40ss@proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    with downloads("https://storage.example/x") as http:
        assert str(http.proxy) == "http://user:p%40ss@proxy.example:3128"
        assert http.proxy_headers == urllib3.make_headers(proxy_basic_auth="user:p@ss")
    for url in ("https://inside.example/x", "http://storage.example/x"):
        with downloads(url) as http:
            assert http.proxy is None
