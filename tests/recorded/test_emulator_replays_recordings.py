"""Every recorded message, sent to the emulator: the same kinds and order of fields, the same statuses in their order."""

import importlib
import io
import json
import re
from pathlib import Path

import grpc
import httpx
import pyarrow.parquet as pq
import pytest
import yaml
from google.protobuf.json_format import MessageToDict, ParseDict
from yandex.cloud.ai.batch_inference.v1.batch_inference_service_pb2_grpc import BatchInferenceServiceStub
from yandex.cloud.ai.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2_grpc import (
    TextGenerationBatchServiceStub,
)
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import ApiEndpointServiceStub
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub

#: Of the emulator's seconds, so many pass between two looks; the shortest recorded state, CREATED, lasts 7.5.
STEP_SECONDS = 1
NAMES = ["batch_text_run", "dataset_upload_and_read"]
DATA = Path(__file__).parent / "data"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
ID = re.compile(r"(fds|fbi|aje|b1g)[0-9a-v]{17}")
URL = re.compile(r"https?://.*X-Amz-Signature=.*")


METADATA = (("authorization", "Api-Key any"), ("x-data-logging-enabled", "false"))
METHODS = {
    "ListApiEndpointsRequest": (ApiEndpointServiceStub, "List"),
    "CreateDatasetRequest": (DatasetServiceStub, "Create"),
    "GetUploadDraftUrlRequest": (DatasetServiceStub, "GetUploadDraftUrl"),
    "ValidateDatasetRequest": (DatasetServiceStub, "Validate"),
    "GetOperationRequest": (OperationServiceStub, "Get"),
    "DescribeDatasetRequest": (DatasetServiceStub, "Describe"),
    "BatchCompletionRequest": (TextGenerationBatchServiceStub, "Completion"),
    "DescribeBatchInferenceRequest": (BatchInferenceServiceStub, "Describe"),
    "GetDownloadUrlsRequest": (DatasetServiceStub, "GetDownloadUrls"),
    "DeleteDatasetRequest": (DatasetServiceStub, "Delete"),
}


def interactions_of(name):
    return json.loads((DATA / f"{name}.grpc.json").read_text())["interactions"]


def shape(value, *, key=""):
    """A message without what differs from run to run: times, ids, URLs; everything else stays."""
    if isinstance(value, dict):
        # A map's entries have no order on the wire.
        entries = sorted(value.items()) if key == "labels" else value.items()
        return [(name, shape(inner, key=name)) for name, inner in entries]
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    if isinstance(value, str):
        if key == "sizeBytes":
            return "size"
        if TIME.fullmatch(value):
            return "time"
        value = ID.sub(r"<\1>", value)
        return "url" if URL.fullmatch(value) else value
    return value


def once(shapes):
    """The sequence without repetitions."""
    return [found for number, found in enumerate(shapes) if number == 0 or found != shapes[number - 1]]


def holds_in_order(found, expected):
    rest = iter(found)
    return all(each in rest for each in expected)


def map_shapes(messages):
    return [shape(message) for message in messages]


class Replay:
    """Send recorded requests with the ids that the emulator has given in place of the recorded ones."""

    def __init__(self, emulator, name):
        self.emulator = emulator
        self.channel = grpc.insecure_channel(emulator.grpc, options=[("grpc.enable_http_proxy", 0)])
        self.storage = httpx.Client(trust_env=False, timeout=100)
        self.interactions = interactions_of(name)
        self.http = yaml.safe_load((DATA / f"{name}.http.yaml").read_text())["interactions"]
        self.ids = {}
        self.replies = []
        self.transfers = 0

    def close(self):
        self.channel.close()
        self.storage.close()

    def request(self, recorded):
        text = json.dumps(recorded["message"])
        for old, new in self.ids.items():
            text = text.replace(old, new)
        return ParseDict(json.loads(text), self.message_type(recorded)())

    @staticmethod
    def message_type(recorded):
        return getattr(importlib.import_module(recorded["module"]), recorded["cls"])

    def send(self, number):
        interaction = self.interactions[number]
        method = self.method(interaction["request"]["cls"])
        reply = method(self.request(interaction["request"]), metadata=METADATA, timeout=100)
        assert type(reply) is self.message_type(interaction["response"])
        return MessageToDict(reply)

    def learn(self, recorded, found):
        for old, new in zip(ID.finditer(json.dumps(recorded)), ID.finditer(json.dumps(found)), strict=False):
            if old[1] == new[1] and old[1] in {"fds", "fbi"}:
                self.ids.setdefault(old[0], new[0])

    def method(self, name):
        stub, method = METHODS[name]
        return getattr(stub(self.channel), method)

    def runs(self):
        """Neighbouring interactions with one request: what a client polls."""
        runs = []
        for number, interaction in enumerate(self.interactions):
            if runs and interaction["request"] == self.interactions[runs[-1][0]]["request"]:
                runs[-1].append(number)
            else:
                runs.append([number])
        return runs

    def play(self):
        for run in self.runs():
            recorded = [self.interactions[number]["response"]["message"] for number in run]
            if self.interactions[run[0]]["request"]["cls"] == "ListApiEndpointsRequest":
                self.check_endpoints(self.send(run[0]), recorded[0])
                continue
            found = self.poll(run[0], shape(recorded[-1]))
            self.compare_sequences(once(map_shapes(found)), once(map_shapes(recorded)))
            self.learn(recorded[-1], found[-1])
            self.replies += found
            if "uploadUrl" in found[-1]:
                self.put(found[-1]["uploadUrl"], recorded[-1]["uploadUrl"])
            if "downloadUrls" in found[-1]:
                self.get(found[-1]["downloadUrls"][0]["url"])

    def poll(self, number, last):
        replies = [self.send(number)]
        while shape(replies[-1]) != last:
            assert len(replies) < 600, f"waiting for {last}, found {shape(replies[-1])}"
            self.emulator.advance(STEP_SECONDS)
            replies.append(self.send(number))
        return replies

    @staticmethod
    def compare_sequences(found, expected):
        """What was recorded is seen in its order; what was passed over there is known from the other recording."""
        assert holds_in_order(found, expected)
        known = [shape(each["response"]["message"]) for name in NAMES for each in interactions_of(name)]
        assert [each for each in found if each not in known] == []

    @staticmethod
    def check_endpoints(found, recorded):
        known = [entry["id"] for entry in recorded["endpoints"]]
        ours = [entry["id"] for entry in found["endpoints"]]
        assert {tuple(entry) for entry in found["endpoints"]} == {("id", "address")}
        assert [name for name in known if name in ours] == ours
        assert {"ai-foundation-models", "operation", "iam"} <= set(ours)

    def put(self, url, recorded_url):
        same_query(url, recorded_url)
        self.transfers += 1
        recorded = self.http[0]
        body = recorded["request"]["body"].encode()
        answer = self.storage.put(url, content=body)
        self.compare(answer, recorded)
        assert answer.headers["etag"] == recorded["response"]["headers"]["Etag"][0]

    def get(self, url):
        self.transfers += 1
        recorded = self.http[1]
        answer = self.storage.get(url)
        self.compare(answer, recorded)
        ours, theirs = (
            pq.ParquetFile(io.BytesIO(body)) for body in (answer.content, recorded["response"]["body"]["string"])
        )
        assert ours.schema_arrow.remove_metadata().equals(theirs.schema_arrow.remove_metadata())
        assert str(ours.schema).partition("\n")[2] == str(theirs.schema).partition("\n")[2]
        assert ours.read().to_pylist() == theirs.read().to_pylist()
        assert {ours.metadata.row_group(0).column(number).compression for number in range(3)} == {"SNAPPY"}
        assert ours.num_row_groups == theirs.num_row_groups

    @staticmethod
    def compare(answer, recorded):
        assert answer.status_code == recorded["response"]["status"]["code"]
        transport = {"connection", "keep-alive", "transfer-encoding", "content-length"}
        expected = {name.lower() for name in recorded["response"]["headers"]} - transport
        assert set(answer.headers) - transport == expected


def same_query(ours, theirs):
    names = [re.findall(r"[?&]([^=]+)=", url) for url in (ours, theirs)]
    assert names[0] == names[1]
    paths = [re.sub(r"^https?://[^/]+|\?.*", "", ID.sub(r"<\1>", url)) for url in (ours, theirs)]
    assert paths[0] == paths[1]
    signed = [re.findall(r"X-Amz-SignedHeaders=([^&]+)", url) for url in (ours, theirs)]
    assert signed[0] == signed[1]


@pytest.fixture
def replay(emulator):
    opened = []

    def start(name):
        running = emulator()
        running.freeze()
        opened.append(Replay(running, name))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_message_is_answered_as_recorded(name, replay):
    replay = replay(name)
    replay.play()
    assert replay.transfers == len(replay.http)
    for reply in replay.replies:
        task = reply.get("task", {})
        if task:
            assert re.fullmatch(r".*:\d\d\.\d{3}Z", task["createdAt"])
        for entry in (reply, reply.get("dataset", {})):
            for moment in ("createdAt", "modifiedAt", "updatedAt"):
                assert "." not in entry.get(moment, "")
