"""Our client at a real emulator, with the steps that every test takes; and bare calls where our client is too careful."""

import base64
import hashlib
import io
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from PIL import Image

from vision_batch.emulator.answerer import answer
from vision_batch.service.calls import ReadRetries
from vision_batch.service.join import Joined, ResultRow, SentRequest, join, marker_line
from vision_batch.service.request_hash import RequestHash
from vision_batch.service.rows import request_line, results
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import Dataset, Job, ServiceConfig

MODEL = "gemma-3-12b-it"


def picture(number: int, *, compress_level: int = 6) -> bytes:
    """Draw a picture whose width names it, so that its answer does."""
    target = io.BytesIO()
    Image.new("RGB", (40 + number, 30), (number * 37 % 256, 90, 160)).save(target, "PNG", compress_level=compress_level)
    return target.getvalue()


def _eventually(look: Callable[[], Any], *, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing after {seconds} s"
        time.sleep(0.01)
    return found


@dataclass
class Question:
    """Requests that were sent as one dataset, and what the emulator must answer to each."""

    dataset_id: str
    marker: bool
    requests: list[SentRequest]
    answers: dict[int, str]
    lines: list[bytes]

    def answers_of(self, rows: Any) -> dict[int, str]:
        return {row: self.answers[row] for row in rows}


@dataclass
class Session:
    """Our client in a folder of its own."""

    emulator: Any
    client: SyncAIStudioClient
    config: ServiceConfig
    files: Path
    opened: ExitStack = field(default_factory=ExitStack)

    def again(self, **changes: Any) -> "Session":
        """Connect anew, to where the emulator is now, as somebody else perhaps."""
        config = replace(self.config, endpoint=self.emulator.grpc, **changes)
        return replace(self, config=config, client=self.opened.enter_context(client_of(config)))

    def draft(self, lines: list[bytes] | bytes, *, name: str = "data", **upload: Any) -> Dataset:
        path = self.files / f"{uuid.uuid4().hex}.jsonl"
        path.write_bytes(lines if isinstance(lines, bytes) else b"".join(lines))
        dataset = self.client.create_dataset(name, "ImageTextToTextGenerationRequest", labels={})
        self.client.upload(dataset.dataset_id, path, **upload)
        return dataset

    def validated(self, dataset_id: str) -> Any:
        operation_id = self.client.validate(dataset_id)
        return _eventually(lambda: (found := self.client.validation(operation_id)).done and found)

    def ask(self, rows: int = 6, *, marker: bool = True, same_text: bool = False) -> Question:
        """Bring questions about so many pictures to a READY dataset."""
        requests, answers, lines, hashing = [], {}, [], RequestHash.new()
        for row in range(rows):
            mark = hashlib.sha256(f"{row}".encode()).hexdigest()[:8]
            text = "What is in the picture?" if same_text else f"What is in picture {row}?"
            prompt = f"{text}\n\n{marker_line(mark)}" if marker else text
            image = picture(row, compress_level=0 if same_text else 6)  # long texts are hashed in another way
            part = {"type": "image", "image": base64.b64encode(image).decode()}
            whole = [{"role": "user", "content": [{"type": "text", "text": prompt}, part]}]
            digest = hashlib.sha256(prompt.encode()).hexdigest()
            requests.append(SentRequest(row, mark if marker else "", digest, hashing.of(whole)))
            answers[row] = answer(image, prompt)
            lines.append(request_line(prompt, image))
        dataset = self.draft(lines)
        assert self.validated(dataset.dataset_id).is_valid
        return Question(dataset.dataset_id, marker, requests, answers, lines)

    def submit(self, asked: Question | str, model: str = MODEL, **options: Any) -> str:
        dataset_id = asked if isinstance(asked, str) else asked.dataset_id
        return self.client.submit(f"gpt://{self.config.folder_id}/{model}/latest", dataset_id, **options).job_id

    def finished(self, job_id: str) -> Job:
        return _eventually(lambda: (job := self.client.describe_job(job_id)).status.is_terminal and job)

    def rows(self, dataset_id: str, *, hashing: RequestHash | None = None) -> list[ResultRow]:
        batches = results(self.client, dataset_id, hashing=hashing)
        return [
            ResultRow(row["text"], row["response"], row.get("request_hash"))
            for each in batches
            for row in each.to_pylist()
        ]

    def joined(self, asked: Question, job: Job, *, with_images: bool = False) -> Joined:
        hashing = RequestHash.like(asked.requests[0].request_hash) if with_images else None
        rows = self.rows(job.result_dataset_id, hashing=hashing)
        return join(asked.requests, rows, marker=asked.marker)

    def bill_of(self, asked: Question) -> list[dict[str, Any]]:
        return [job for job in self.emulator.bill(rows=True) if job["source_dataset_id"] == asked.dataset_id]


def client_of(config: ServiceConfig) -> SyncAIStudioClient:
    return SyncAIStudioClient(config, retries=ReadRetries(wait_initial_seconds=0.02, wait_max_seconds=0.1))


@pytest.fixture(scope="module")
def session_at(tmp_path_factory) -> Iterator[Callable[..., Session]]:
    """Give a function that opens a session at an emulator. They end with the module."""
    with ExitStack() as opened:

        def start(emulator: Any, **config: Any) -> Session:
            given = {"api_key": "any-key", "folder_id": f"b1g{uuid.uuid4().hex[:17]}", **config}
            whole = ServiceConfig(endpoint=emulator.grpc, tls=False, **given)
            client = opened.enter_context(client_of(whole))
            return Session(emulator, client, whole, tmp_path_factory.mktemp("files"), opened)

        yield start


@pytest.fixture(scope="session")
def fast_emulator(emulators) -> Any:
    """Run one emulator in which a job takes 13 ms, for all tests that change nothing others see."""
    many = [f"--quota={name}=100000" for name in ("jobs_per_hour", "jobs_per_day", "datasets")]
    return emulators(*many, speed=20_000)


@pytest.fixture
def session(fast_emulator, session_at) -> Iterator[Session]:
    yield session_at(fast_emulator)
    fast_emulator.clear()
    fast_emulator.resume()


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Give a function that waits until another one finds something."""
    return _eventually


@dataclass
class Wire:
    """Calls as the wire carries them, with the metadata that a test gives."""

    address: str

    def call(self, stub: type, method: str, request: Any, **metadata: str) -> Any:
        sent = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
        with grpc.insecure_channel(self.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            return getattr(stub(channel), method)(request, metadata=sent, timeout=100)

    def refused(self, *call: Any, **metadata: str) -> tuple[str, str]:
        """Return the code and the details with which a call is refused."""
        with pytest.raises(grpc.RpcError) as caught:
            self.call(*call, **metadata)
        return caught.value.code().name, caught.value.details()


@pytest.fixture
def wire() -> type[Wire]:
    return Wire
