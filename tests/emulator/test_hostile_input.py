"""What nobody should send, and what happens side by side: a clear refusal, and nothing is lost or stuck."""

import io
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from PIL import Image
from yandex.cloud.ai.dataset.v1 import dataset_service_pb2 as api
from yandex.cloud.ai.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from yandex.cloud.iam.v1 import iam_token_service_pb2 as iam
from yandex.cloud.iam.v1.iam_token_service_pb2_grpc import IamTokenServiceStub

from vision_batch.emulator.clock import ClockChange, ClockOrigin, VirtualClock
from vision_batch.emulator.measures import UnreadableImageError, measure
from vision_batch.service.rows import request_line

MIB = 1024**2
KNOWN = {"authorization": "Api-Key any", "x_data_logging_enabled": "false"}
TYPE = "ImageTextToTextGenerationRequest"


def post(emulator, body):
    return httpx.post(f"{emulator.http}/_emulator/scenario", content=body, trust_env=False)


def row(part):
    return json.dumps({"request": [{"role": "user", "content": [part]}]}).encode() + b"\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            b'{"name":"late_visibility","params":{"seconds":1e400}}',
            "seconds is inf; write a number from 0 to 1000000000",
        ),
        (b'{"name":"late_visibility","params":{"seconds":1' + b"0" * 400 + b"}}", "write a number from 0 to"),
        (b'{"name":"several_files","params":{"files":10000000000}}', "write a whole number from 0 to 1000000000"),
        (b'{"name":"failed_call","params":{"message":"\\ud800"}}', "write a text"),
        (b'{"name":"failed_call","times":' + b"9" * 30 + b"}", "write a number from 1"),
        (b'{"name":[]}', "there is no scenario []"),
        (b"[" * 100_000, "recursion"),
    ],
    ids=["infinite", "huge", "many", "half a character", "times", "no name", "deep"],
)
def test_a_refused_scenario_leaves_nothing_behind(session, body, words):
    refused = post(session.emulator, body)
    assert refused.status_code == 400
    assert words in refused.json()["error"]
    shown = post(session.emulator, b'{"name": "shuffled_rows"}').json()
    assert [each["name"] for each in shown["active"]] == ["shuffled_rows"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (row({"type": ["text"], "text": "a"}), "InvalidContent"),
        (row({"type": {}, "text": "a"}), "InvalidContent"),
        (row({"type": "text", "text": "\ud800"}), "InvalidEncoding"),
        (b'{"request": [], "\\udfff": 1}\n', "InvalidEncoding"),
    ],
)
def test_a_strange_row_is_a_fault_of_that_row(session, line, error):
    dataset = session.draft(request_line("Q", b"image") + line)
    found = session.validated(dataset.dataset_id)
    assert [(each.error, each.row_numbers) for each in found.errors] == [(error, (2,))]


def test_a_whole_pair_of_surrogates_is_a_character(session):
    dataset = session.draft(row({"type": "text", "text": "\N{GRINNING FACE}"}))
    assert session.validated(dataset.dataset_id).is_valid


def test_a_dataset_of_mistakes_can_still_be_listed(session):
    lines = b"".join(b'{"request": [], "key%d": 1}\n' % number for number in range(30_000))
    dataset = session.draft(lines)
    faults = session.validated(dataset.dataset_id).errors
    assert len(faults) == 21
    assert faults[-1].description == "more rows with such mistakes"
    assert dataset.dataset_id in {each.dataset_id for each in session.client.list_datasets()}


def test_times_in_a_jwt_are_numbers(session, wire):
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    claims = {"iss": "a", "aud": "https://iam.api.cloud.yandex.net/iam/v1/tokens", "iat": "1", "exp": "99999999999"}
    token = jwt.encode(claims, key, algorithm="PS256", headers={"kid": "k"})
    refused = wire(session.emulator.grpc).refused(IamTokenServiceStub, "Create", iam.CreateIamTokenRequest(jwt=token))
    assert refused[0] == "UNAUTHENTICATED"


def test_a_signature_of_other_letters_is_wrong(session):
    dataset = session.draft(request_line("Q", b"image"))
    assert session.validated(dataset.dataset_id).is_valid
    [file] = session.client.result_files(dataset.dataset_id)
    bare = file.url.rpartition("X-Amz-Signature=")[0]
    assert httpx.get(f"{bare}X-Amz-Signature=%C3%A9", trust_env=False).status_code == 403


class TestUploads:
    """Calls of uploads in any order."""

    @pytest.fixture
    def call(self, session, wire):
        def call(method, request):
            return wire(session.emulator.grpc).call(DatasetServiceStub, method, request, **KNOWN)

        return call

    @pytest.fixture
    def in_parts(self, session, call):
        """An upload in two parts that only has to be finished: the dataset's id and how to finish it."""
        dataset_id = session.client.create_dataset("data", TYPE, labels={}).dataset_id
        line = request_line("Q" * 11 * MIB, b"image")
        half = -(-len(line) // 2)
        start = api.StartMultipartUploadDraftRequest(dataset_id=dataset_id, size_bytes=len(line), parts=2)
        urls = call("StartMultipartUploadDraft", start).multipart_upload_urls
        parts = [line[:half], line[half:]]
        etags = [
            httpx.put(url, content=each, trust_env=False).headers["etag"] for url, each in zip(urls, parts, strict=True)
        ]
        named = [api.UploadedPartInfo(part_num=number, etag=etag) for number, etag in enumerate(etags, 1)]
        return dataset_id, api.FinishMultipartUploadDraftRequest(dataset_id=dataset_id, uploaded_parts=named)

    def test_parts_are_joined_once_however_often_it_is_said(self, session, call, in_parts):
        dataset_id, finish = in_parts
        with ThreadPoolExecutor(3) as pool:
            done = list(pool.map(lambda _: call("FinishMultipartUploadDraft", finish), range(3)))
        assert {each.dataset_id for each in done} == {dataset_id}
        assert session.validated(dataset_id).is_valid

    def test_a_new_name_stays_that_is_given_while_parts_are_joined(self, session, call, in_parts):
        dataset_id, finish = in_parts
        with ThreadPoolExecutor(2) as pool:
            joining = pool.submit(call, "FinishMultipartUploadDraft", finish)
            rename = api.UpdateDatasetRequest(dataset_id=dataset_id, name="new", update_mask={"paths": ["name"]})
            call("Update", rename)
            joining.result()
        assert session.client.describe_dataset(dataset_id).name == "new"

    def test_a_part_of_another_length_loses_no_other(self, session, call):
        dataset_id = session.client.create_dataset("data", TYPE, labels={}).dataset_id
        start = api.StartMultipartUploadDraftRequest(dataset_id=dataset_id, size_bytes=10 * MIB, parts=2)
        urls = call("StartMultipartUploadDraft", start).multipart_upload_urls
        whole = request_line("Q", b"image")
        parts = [whole[:-1] + b" " * (5 * MIB - len(whole) + 1), b"short"]
        etags = [
            httpx.put(url, content=part, trust_env=False).headers["etag"] for url, part in zip(urls, parts, strict=True)
        ]

        def finish():
            named = [api.UploadedPartInfo(part_num=number, etag=etag) for number, etag in enumerate(etags, 1)]
            return api.FinishMultipartUploadDraftRequest(dataset_id=dataset_id, uploaded_parts=named)

        with pytest.raises(Exception, match="announced were 10485760"):
            call("FinishMultipartUploadDraft", finish())
        rest = b" " * (5 * MIB - 1) + b"\n"
        etags[1] = httpx.put(urls[1], content=rest, trust_env=False).headers["etag"]
        call("FinishMultipartUploadDraft", finish())
        assert session.validated(dataset_id).is_valid

    def test_an_upload_that_ends_after_the_validation_replaces_nothing(self, session, call):
        dataset_id = session.client.create_dataset("data", TYPE, labels={}).dataset_id
        first, second = (request_line(text, b"image") for text in ("A", "B"))
        asked = api.GetUploadDraftUrlRequest(dataset_id=dataset_id, size_bytes=len(first))
        url = call("GetUploadDraftUrl", asked).upload_url
        assert httpx.put(url, content=first, trust_env=False).status_code == 200

        def late():
            yield second[:5]
            assert session.validated(dataset_id).is_valid
            yield second[5:]

        answer = httpx.put(url, content=late(), headers={"content-length": str(len(second))}, trust_env=False)
        assert answer.status_code == 403
        folder = session.emulator.state / "datasets" / dataset_id
        assert (folder / "upload.jsonl").read_bytes() == first
        assert not list(folder.glob("*.part"))

    def test_only_the_upload_that_was_asked_for_last_counts(self, session, call):
        dataset_id = session.client.create_dataset("data", TYPE, labels={}).dataset_id
        large, small = (
            call("GetUploadDraftUrl", api.GetUploadDraftUrlRequest(dataset_id=dataset_id, size_bytes=size)).upload_url
            for size in (1000, 10)
        )
        assert httpx.put(large, content=b"x" * 1000, trust_env=False).status_code == 403
        assert httpx.put(small, content=b"x" * 10, trust_env=False).status_code == 200

    def test_a_dataset_without_a_name_takes_labels(self, session, call):
        made = call(
            "Create",
            api.CreateDatasetRequest(folder_id=session.config.folder_id, task_type=TYPE, upload_format="jsonlines"),
        )
        change = api.UpdateDatasetRequest(
            dataset_id=made.dataset_id, labels={"a": "b"}, update_mask={"paths": ["labels"]}
        )
        assert dict(call("Update", change).dataset.labels) == {"a": "b"}


def test_what_a_kill_leaves_of_a_transfer_goes(emulator, session_at):
    session = session_at(emulator(speed=2000))
    dataset = session.client.create_dataset("data", TYPE, labels={})
    draft = session.emulator.state / "datasets" / dataset.dataset_id / "upload.jsonl.0a1b2c3d.part"
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.write_bytes(b"half")
    assert session.emulator.stop(signal.SIGKILL) == -signal.SIGKILL
    session.emulator.start()
    assert not draft.exists()


def test_a_list_goes_on_behind_what_was_deleted(session, wire):
    made = [session.client.create_dataset(f"data-{number}", TYPE, labels={}).dataset_id for number in range(4)]
    page = api.ListDatasetsRequest(folder_id=session.config.folder_id, page_size=2)
    first = wire(session.emulator.grpc).call(DatasetServiceStub, "List", page, **KNOWN)
    for each in first.datasets:
        session.client.delete_dataset(each.dataset_id)
    page.page_token = first.next_page_token
    second = wire(session.emulator.grpc).call(DatasetServiceStub, "List", page, **KNOWN)
    assert [each.dataset_id for each in (*first.datasets, *second.datasets)] == made


def test_a_picture_that_would_fill_the_memory_is_not_decoded():
    target = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(target, "PNG")
    with pytest.raises(UnreadableImageError):
        measure(target.getvalue())


def test_the_clock_stands_before_the_calendar_ends():
    far = VirtualClock(speed=1e12, before=ClockOrigin(real=0.0, virtual=0.0, speed=1e12))
    assert datetime.fromtimestamp(far.now(), UTC) == datetime(9990, 1, 1, tzinfo=UTC)
    far.change(ClockChange(advance=3650 * 86_400.0))
    assert datetime.fromtimestamp(far.now(), UTC) == datetime(9990, 1, 1, tzinfo=UTC)
