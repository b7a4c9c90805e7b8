"""Bytes to and from the emulator's storage: lengths, ETags, parts, ranges, URLs that are no longer good."""

import hashlib
import io
import random
import socket
import time

import httpx
import pyarrow.parquet as pq
import pytest
import urllib3
from PIL import Image
from yandex.cloud.ai.dataset.v1 import dataset_service_pb2 as api
from yandex.cloud.ai.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub

from vision_batch.emulator.presign import BadUrlError, Signer
from vision_batch.service.range_file import RangeFile
from vision_batch.service.request_hash import RequestHash
from vision_batch.service.result_files import read_result_file
from vision_batch.service.rows import request_line

MIB = 1024**2
KNOWN = {"authorization": "Api-Key any", "x_data_logging_enabled": "false"}


@pytest.fixture
def http():
    with httpx.Client(trust_env=False, timeout=100) as client:
        yield client


def noise(number):
    """A PNG of about 90 kB."""
    target = io.BytesIO()
    Image.frombytes("RGB", (200, 150), random.Random(number).randbytes(200 * 150 * 3)).save(target, "PNG")
    return target.getvalue()


@pytest.fixture(scope="module")
def large(fast_emulator, session_at):
    """A result of 30 rows with about 4 MB of images."""
    session = session_at(fast_emulator)
    dataset = session.draft([request_line(f"Which, {number}?", noise(number)) for number in range(30)])
    assert session.validated(dataset.dataset_id).is_valid
    return session, session.finished(session.submit(dataset.dataset_id)).result_dataset_id


@pytest.fixture
def upload_url(session, wire):
    """A function that gives the URL for an upload of so many bytes, as the wire carries it."""

    def url(size):
        dataset = session.client.create_dataset("data", "ImageTextToTextGenerationRequest", labels={})
        request = api.GetUploadDraftUrlRequest(dataset_id=dataset.dataset_id, size_bytes=size)
        call = (DatasetServiceStub, "GetUploadDraftUrl", request)
        return wire(session.emulator.grpc).call(*call, **KNOWN).upload_url

    return url


def test_the_etag_of_an_upload_is_its_md5(upload_url, http):
    answer = http.put(upload_url(5), content=b"bytes")
    assert answer.status_code == 200
    assert answer.headers["etag"] == f'"{hashlib.md5(b"bytes").hexdigest()}"'


@pytest.mark.parametrize("body", [b"byte", b"bytes!", iter([b"bytes"])], ids=["shorter", "longer", "chunked"])
def test_the_length_of_an_upload_is_signed(upload_url, http, body):
    answer = http.put(upload_url(5), content=body)
    assert (answer.status_code, "SignatureDoesNotMatch" in answer.text) == (403, True)


def test_two_uploads_at_once_are_not_mixed_and_a_cut_one_leaves_nothing(session, upload_url, http):
    url = upload_url(200_000)
    slow = socket.create_connection((httpx.URL(url).host, httpx.URL(url).port))
    with slow:
        slow.sendall(f"PUT {httpx.URL(url).raw_path.decode()} HTTP/1.1\r\nHost: x\r\n".encode())
        slow.sendall(b"Content-Length: 200000\r\n\r\n" + b"A" * 100_000)
        assert http.put(url, content=b"B" * 200_000).status_code == 200
    folder = session.emulator.state / "datasets" / httpx.URL(url).path.rpartition("/")[2]
    while [path.name for path in folder.iterdir()] != ["upload.jsonl"]:
        time.sleep(0.01)
    assert (folder / "upload.jsonl").read_bytes() == b"B" * 200_000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"), "SignatureDoesNotMatch"),
        (lambda url: url.replace("X-Amz-Expires=", "X-Amz-Expires=9"), "SignatureDoesNotMatch"),
        (lambda url: url.split("?")[0], "AccessDenied"),
    ],
    ids=["signature", "expiry", "unsigned"],
)
def test_a_changed_url_is_refused(upload_url, http, change, code):
    answer = http.put(change(upload_url(5)), content=b"bytes")
    assert (answer.status_code, code in answer.text) == (403, True)


def test_a_url_is_good_for_a_day():
    signer = Signer(b"secret")
    path, _, query = signer.path_and_query("GET", "/bucket/key", 1000.0).partition("?")
    assert signer.check("GET", path, query, 1000.0 + 86_399, content_length=None)["X-Amz-Expires"] == "86400"
    with pytest.raises(BadUrlError, match="Request has expired"):
        signer.check("GET", path, query, 1000.0 + 86_400, content_length=None)


@pytest.mark.parametrize("quote", ['"', ""])
def test_parts_are_joined_by_their_etags(session, wire, http, quote):
    parts = [bytes([65 + number]) * (5 * MIB) for number in range(2)] + [b"\n"]
    dataset = session.client.create_dataset("data", "ImageTextToTextGenerationRequest", labels={})
    call = wire(session.emulator.grpc).call
    start = api.StartMultipartUploadDraftRequest(
        dataset_id=dataset.dataset_id, size_bytes=sum(map(len, parts)), parts=len(parts)
    )
    refused = wire(session.emulator.grpc).refused(DatasetServiceStub, "StartMultipartUploadDraft", start, **KNOWN)
    assert refused == ("INVALID_ARGUMENT", "3 parts: each must have 5 MB to 5 GB, 10000 at most")
    start.parts = 2
    start.size_bytes -= 1
    urls = call(DatasetServiceStub, "StartMultipartUploadDraft", start, **KNOWN).multipart_upload_urls
    etags = [http.put(url, content=part).headers["etag"].strip('"') for url, part in zip(urls, parts, strict=False)]
    assert etags == [hashlib.md5(part).hexdigest() for part in parts[:2]]

    def finish(*found):
        named = [api.UploadedPartInfo(part_num=number, etag=quote + etag + quote) for number, etag in found]
        return api.FinishMultipartUploadDraftRequest(dataset_id=dataset.dataset_id, uploaded_parts=named)

    method = (DatasetServiceStub, "FinishMultipartUploadDraft")
    for wrong in ([(1, etags[0])], [(1, etags[0]), (2, etags[0])], [(1, etags[0]), (1, etags[0])]):
        code, _ = wire(session.emulator.grpc).refused(*method, finish(*wrong), **KNOWN)
        assert code == "INVALID_ARGUMENT"
    call(*method, finish(*enumerate(etags, 1)), **KNOWN)
    assert session.validated(dataset.dataset_id).errors[0].error == "InvalidJson"


def test_an_upload_in_parts_is_what_was_on_disk(session):
    texts = [f"{number} {'x' * 1_500_000}" for number in range(9)]
    dataset = session.draft([request_line(text, b"image") for text in texts], part_bytes=5 * MIB, parallel=2)
    assert session.validated(dataset.dataset_id).total_rows == 9
    [file] = session.client.result_files(dataset.dataset_id)
    rows = pq.read_table(io.BytesIO(httpx.get(file.url, trust_env=False).content)).to_pylist()
    assert [row["request"][0]["content"][0]["text"] for row in rows] == texts


class TestDownloads:
    @pytest.fixture
    def url(self, large):
        session, dataset_id = large
        return lambda: session.client.result_files(dataset_id)[0].url

    @pytest.mark.parametrize(
        ("asked", "status", "found"),
        [
            ("bytes=0-3", 206, slice(0, 4)),
            ("bytes=-4", 206, slice(-4, None)),
            ("bytes=9-", 206, slice(9, None)),
            ("lines=1-2", 200, slice(None)),
        ],
    )
    def test_ranges(self, url, http, asked, status, found):
        whole = http.get(url())
        assert (whole.content[:4], whole.headers["accept-ranges"]) == (b"PAR1", "bytes")
        assert whole.headers["etag"] == f'"{hashlib.md5(whole.content).hexdigest()}"'
        answer = http.get(url(), headers={"range": asked})
        assert (answer.status_code, answer.content) == (status, whole.content[found])

    def test_a_range_beyond_the_end(self, url, http):
        answer = http.get(url(), headers={"range": "bytes=999999999-"})
        assert (answer.status_code, "InvalidRange" in answer.text) == (416, True)

    def test_a_range_of_another_version_is_the_whole(self, url, http):
        answer = http.get(url(), headers={"range": "bytes=0-3", "if-range": '"other"'})
        assert answer.status_code == 200

    def test_without_images_a_fiftieth_of_the_file_is_fetched(self, large):
        session, dataset_id = large
        [file] = session.client.result_files(dataset_id)
        with urllib3.PoolManager(retries=False) as http, RangeFile(http, lambda: file.url, name="it") as opened:
            rows = [row for batch in read_result_file(opened, "it", hashing=None) for row in batch.to_pylist()]
            assert opened.fetched_bytes * 50 < opened.size
        assert [row["text"] for row in rows] == [f"Which, {number}?" for number in range(30)]

    def test_a_url_that_expires_between_two_ranges(self, large):
        session, dataset_id = large
        session.emulator.scenario("expired_url", times=2, on="download", after=2)
        assert len(session.rows(dataset_id, hashing=RequestHash.new())) == 30

    def test_what_came_before_a_cut_is_not_fetched_again(self, large, url, http):
        session, _ = large
        with urllib3.PoolManager(retries=False) as pool, RangeFile(pool, url, name="it") as opened:
            opened.plan([(0, opened.size)])
            session.emulator.scenario("download_cut", times=3, bytes=500_000)
            assert hashlib.md5(opened.read(opened.size)).hexdigest() == hashlib.md5(http.get(url()).content).hexdigest()
            assert opened.size <= opened.fetched_bytes <= opened.size + 33_000
