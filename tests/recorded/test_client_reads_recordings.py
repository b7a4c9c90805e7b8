"""Our client against the recorded service: each of its requests must be the recorded one, each reply is the recorded one."""

import importlib
import json
import re
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from pathlib import Path

import grpc
import pytest
import yaml
from google.protobuf.json_format import MessageToDict, ParseDict

from vision_batch.service.client import AIStudioClient
from vision_batch.service.rows import results
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import DatasetStatus, JobStatus, ServiceConfig, SubmittedJob

DATA = Path(__file__).parent / "data"
FOLDER = "b1ghsjum2v37c2un8h64"
STORAGE = "https://storage.yandexcloud.net"


class RecordedService(grpc.GenericRpcHandler):
    """Answers call by call as recorded; hosts are its own."""

    def __init__(self, name):
        self.waiting = deque(json.loads((DATA / f"{name}.grpc.json").read_text())["interactions"])
        self.files = yaml.safe_load((DATA / f"{name}.http.yaml").read_text())["interactions"]
        self.differences = []
        self.address = self.storage = ""

    def service(self, details):
        del details
        return grpc.unary_unary_rpc_method_handler(self.answer)

    def answer(self, body, context):
        metadata = dict(context.invocation_metadata())
        interaction = self.waiting.popleft()
        asked = MessageToDict(message_type(interaction["request"]).FromString(body))
        if asked != interaction["request"]["message"]:
            self.differences.append((asked, interaction["request"]["message"]))
        is_discovery = interaction["request"]["cls"] == "ListApiEndpointsRequest"
        if ("authorization" in metadata) == is_discovery or metadata["x-data-logging-enabled"] != "false":
            self.differences.append(metadata)
        text = json.dumps(interaction["response"]["message"]).replace(STORAGE, self.storage)
        text = re.sub(r"[a-z0-9.-]+\.cloud\.yandex\.net:443", self.address, text)
        return ParseDict(json.loads(text), message_type(interaction["response"])()).SerializeToString()


def message_type(recorded):
    return getattr(importlib.import_module(recorded["module"]), recorded["cls"])


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Storage(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: RecordedService

    def do_PUT(self):
        recorded = self.service.files[0]
        body = self.rfile.read(int(self.headers["content-length"]))
        expected = (recorded["request"]["uri"].removeprefix(STORAGE), recorded["request"]["body"].encode())
        if (self.path, body) != expected or "authorization" in self.headers:
            self.service.differences.append((self.path, body))
        self.reply(recorded["response"], b"")

    def do_GET(self):
        recorded = self.service.files[1]
        if self.path != recorded["request"]["uri"].removeprefix(STORAGE):
            self.service.differences.append(self.path)
        body = recorded["response"]["body"]["string"]
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers["range"]).groups()
        start = int(first) if first else max(0, len(body) - int(last))
        end = min(len(body), int(last) + 1) if first else len(body)
        self.reply(recorded["response"], body[start:end], f"bytes {start}-{end - 1}/{len(body)}")

    def reply(self, recorded, body, content_range=None):
        self.send_response_only(206 if content_range else recorded["status"]["code"])
        # The recorder has put the chunks together.
        own = {"content-length": str(len(body)), "content-range": content_range, "transfer-encoding": None}
        sent = {name.lower(): values[0] for name, values in recorded["headers"].items()} | own
        for name, value in sent.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def recorded():
    """A function that starts the recorded service and gives it with the configuration of a client for it."""
    stops = []

    def start(name):
        service = RecordedService(name)
        server = grpc.server(ThreadPoolExecutor(1), handlers=[service])
        service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        http = _Server(("127.0.0.1", 0), type("Storage", (_Storage,), {"service": service}))
        service.storage = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        stops.extend([lambda: server.stop(None).wait(), http.shutdown, thread.join, http.server_close])
        return service, ServiceConfig(FOLDER, api_key="key", endpoint=service.address, tls=False)

    yield start
    for stop in stops:
        stop()


def upload_of(service, tmp_path):
    path = tmp_path / "upload.jsonl"
    path.write_bytes(service.files[0]["request"]["body"].encode())
    return path


async def test_a_whole_text_batch(recorded, tmp_path):
    service, config = recorded("batch_text_run")
    async with AIStudioClient(config) as client:
        draft = await client.create_dataset(
            "43327620-deca-4f8c-840a-4d874df618ea", "TextToTextGenerationRequest", labels={}
        )
        assert (draft.status, draft.rows, draft.created_at) == (DatasetStatus.DRAFT, None, at("12:54:57"))
        await client.upload(draft.dataset_id, upload_of(service, tmp_path))
        operation_id = await client.validate(draft.dataset_id)
        seen = [await client.validation(operation_id) for _ in range(4)]
        assert [(each.done, each.is_valid, each.valid_rows, each.total_rows) for each in seen] == [
            (False, False, None, None),
            (False, False, None, None),
            (False, False, 3, 3),
            (True, True, 3, 3),
        ]
        ready = await client.describe_dataset(draft.dataset_id)
        assert (ready.status, ready.rows, ready.size_bytes, ready.errors) == (DatasetStatus.READY, 3, 3919, ())
        job = await client.submit(f"gpt://{FOLDER}/gemma-3-12b-it/latest", draft.dataset_id)
        assert job == SubmittedJob("fbi0lliaben2rvd22sp2", "fbi7nieaejnkimmdhdia")
        jobs = [await client.describe_job(job.job_id) for _ in range(28)]
        result = await client.describe_dataset("fds54eahbh8tbd2en619")
        for dataset_id in (result.dataset_id, draft.dataset_id):
            await client.delete_dataset(dataset_id)
    assert [status for status, _ in groupby(each.status for each in jobs)] == [
        JobStatus.CREATED,
        JobStatus.PENDING,
        JobStatus.IN_PROGRESS,
        JobStatus.COMPLETED,
    ]
    assert [each.result_dataset_id for each in jobs] == [None, *[result.dataset_id] * 27]
    assert {(each.operation_id, each.source_dataset_id, each.error, each.line_errors) for each in jobs} == {
        (job.operation_id, draft.dataset_id, None, ())
    }
    assert (jobs[0].started_at, jobs[-1].created_at) == (None, at("12:57:58.627"))
    assert (jobs[-1].started_at, jobs[-1].finished_at) == (at("12:59:07.445881"), at("13:02:16.947191"))
    assert (result.rows, result.size_bytes, result.task_type) == (None, 4054, "TextToTextGeneration")
    assert result.labels["foundation_models_batch_task_id"] == job.job_id
    assert (service.differences, list(service.waiting)) == ([], [])


def test_a_dataset_that_the_service_has_written(recorded, tmp_path):
    service, config = recorded("dataset_upload_and_read")
    with SyncAIStudioClient(config) as client:
        draft = client.create_dataset("852bd7a5-a245-4ea9-8458-2d45f0f09efb", "TextToTextGeneration", labels={})
        client.upload(draft.dataset_id, upload_of(service, tmp_path))
        operation_id = client.validate(draft.dataset_id)
        assert [client.validation(operation_id).is_valid for _ in range(2)] == [False, True]
        assert client.describe_dataset(draft.dataset_id).rows == 3
        rows = [row for batch in results(client, draft.dataset_id) for row in batch.to_pylist()]
        client.delete_dataset(draft.dataset_id)
    sent = [json.loads(line) for line in service.files[0]["request"]["body"].splitlines()]
    assert rows == [
        {"text": "\n".join(message["text"] for message in row["request"]), "response": row["response"]} for row in sent
    ]
    assert (service.differences, list(service.waiting)) == ([], [])


def at(time):
    return datetime.fromisoformat(f"2025-08-04T{time}").replace(tzinfo=UTC)
