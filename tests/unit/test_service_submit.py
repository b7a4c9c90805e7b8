"""A submit is one request on the wire, whatever becomes of it; its outcome is told as sure or as not known."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2 import (
    BatchCompletionMetadata,
    BatchCompletionRequest,
)
from yandex.cloud.operation.operation_pb2 import Operation

from vision_batch.errors import (
    AuthenticationError,
    NotFoundError,
    QuotaExceededError,
    RequestRefusedError,
    ServiceUnavailableError,
    SubmitUnknownError,
)
from vision_batch.service.client import AIStudioClient
from vision_batch.service.types import ServiceConfig, SubmittedJob

COMPLETION = "TextGenerationBatchService/Completion"
MODEL = "gpt://b1gfolder/gemma-3-12b-it/latest"

REFUSED = {
    grpc.StatusCode.INVALID_ARGUMENT: RequestRefusedError,
    grpc.StatusCode.FAILED_PRECONDITION: RequestRefusedError,
    grpc.StatusCode.OUT_OF_RANGE: RequestRefusedError,
    grpc.StatusCode.UNIMPLEMENTED: RequestRefusedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: AuthenticationError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: QuotaExceededError,
}

pytestmark = pytest.mark.usefixtures("no_blocking")


def accepted(job_id: str) -> Operation:
    operation = Operation(id="fbi-operation")
    operation.metadata.Pack(BatchCompletionMetadata(task_id=job_id))
    return operation


async def submit(config: ServiceConfig, **options) -> SubmittedJob:
    async with AIStudioClient(config) as client:
        return await client.submit(MODEL, "fds1", **{"temperature": 0.0, "max_tokens": 300, **options})


async def test_an_accepted_job_is_named_by_its_task_id_not_by_its_operation(grpc_service, config):
    grpc_service.answer(COMPLETION, accepted("fbi-task"))
    assert await submit(config) == SubmittedJob("fbi-task", "fbi-operation")
    sent = BatchCompletionRequest.FromString(grpc_service.last(COMPLETION).body)
    assert (sent.model_uri, sent.source_dataset_id) == (MODEL, "fds1")
    assert (sent.completion_options.temperature.value, sent.completion_options.max_tokens.value) == (0.0, 300)
    assert sent.completion_options.HasField("temperature")


async def test_options_that_are_not_given_are_not_sent(grpc_service, config):
    grpc_service.answer(COMPLETION, accepted("fbi-task"))
    await submit(config, temperature=None, max_tokens=None)
    sent = BatchCompletionRequest.FromString(grpc_service.last(COMPLETION).body)
    assert not sent.completion_options.HasField("temperature")
    assert not sent.completion_options.HasField("max_tokens")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_every_status_is_one_call_and_one_clear_outcome(grpc_service, config, code):
    grpc_service.answer(COMPLETION, code)
    expected = REFUSED.get(code, SubmitUnknownError)
    with pytest.raises(expected, match=f"{config.endpoint} answered {code.name}") as raised:
        await submit(config)
    assert type(raised.value) is expected
    assert grpc_service.count(COMPLETION) == 1


async def test_an_operation_without_a_job_is_an_unknown_outcome(grpc_service, config):
    grpc_service.answer(COMPLETION, Operation(id="fbi-operation"))
    with pytest.raises(SubmitUnknownError, match="accepted as operation fbi-operation, but no job is named"):
        await submit(config)


async def test_an_unreadable_reply_is_an_unknown_outcome(grpc_service, config):
    grpc_service.answer(COMPLETION, b"\xff\xff\xff")
    with pytest.raises(SubmitUnknownError, match="do not send it again"):
        await submit(config)
    assert grpc_service.count(COMPLETION) == 1


async def test_a_reply_above_any_limit_is_not_taken_for_a_quota(grpc_service, config):
    """The client itself says RESOURCE_EXHAUSTED to a reply that it finds too large: the job would be made."""
    grpc_service.answer(COMPLETION, Operation(id="fbi", description="x" * 5_000_000))
    with pytest.raises(SubmitUnknownError):
        await submit(config)


async def test_no_answer_in_time_is_an_unknown_outcome(grpc_service, config):
    told = threading.Event()

    def late(_body, _context):
        told.wait(100)
        return accepted("fbi-late")

    grpc_service.answer(COMPLETION, late)
    with pytest.raises(SubmitUnknownError, match="DEADLINE_EXCEEDED"):
        await submit(config, timeout_seconds=3)
    assert not told.is_set()  # the answer is still to come
    assert grpc_service.count(COMPLETION) == 1
    told.set()


async def test_a_quota_may_say_when_to_come_back(grpc_service, config):
    def refuse(_body, context):
        detail = AnyMessage()
        detail.Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=90)))
        status = status_pb2.Status(code=8, message="10 an hour", details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        return grpc.StatusCode.RESOURCE_EXHAUSTED

    grpc_service.answer(COMPLETION, refuse)
    with pytest.raises(QuotaExceededError) as raised:
        await submit(config)
    assert raised.value.retry_after is not None
    assert raised.value.retry_after.total_seconds() == 90


async def test_nothing_is_sent_and_nothing_is_unknown_if_discovery_fails(free_address, retries):
    config = ServiceConfig("b1gfolder", api_key="key", endpoint=free_address, tls=False)
    with pytest.raises(ServiceUnavailableError):
        async with AIStudioClient(config, retries=retries) as client:
            await client.submit(MODEL, "fds1", temperature=None, max_tokens=None)


async def test_an_unreachable_service_is_an_unknown_outcome_at_once(free_address):
    """Not at the deadline: that would be told as DEADLINE_EXCEEDED, after the test's own time."""
    config = ServiceConfig("f", api_key="key", tls=False, endpoints={"ai-foundation-models": free_address})
    with pytest.raises(SubmitUnknownError, match=f"{free_address} answered UNAVAILABLE"):
        await submit(config, timeout_seconds=3600)


# --- on the wire ------------------------------------------------------------------------------------------------------

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, RST_STREAM, SETTINGS, GOAWAY = 1, 3, 4, 7
REFUSED_STREAM = 7


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


class Http2Server:
    """Speaks just enough HTTP/2 to count requests and to break each in one way."""

    def __init__(self, refuse: Callable[[socket.socket, int], None]) -> None:
        self._refuse = refuse
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as incoming:
            try:
                assert incoming.read(len(PREFACE)) == PREFACE
                connection.sendall(frame(SETTINGS, 0))
                while len(head := incoming.read(9)) == 9:
                    length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
                    incoming.read(length)
                    if kind == SETTINGS and not flags:
                        connection.sendall(frame(SETTINGS, 0, flags=1))
                    elif kind == HEADERS:
                        self.requests += 1
                        self._refuse(connection, int.from_bytes(head[5:9]))
            except OSError:
                return


def refuse_stream(connection: socket.socket, stream: int) -> None:
    connection.sendall(frame(RST_STREAM, stream, struct.pack("!I", REFUSED_STREAM)))


def go_away(connection: socket.socket, _stream: int) -> None:
    connection.sendall(frame(GOAWAY, 0, struct.pack("!II", 0, 0)))


def cut(connection: socket.socket, _stream: int) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def http2(refuse) -> Iterator[Http2Server]:
    server = Http2Server(refuse)
    yield server
    server.close()


@pytest.mark.parametrize("refuse", [refuse_stream, go_away, cut], ids=lambda each: each.__name__)
async def test_grpc_does_not_repeat_a_submit_by_itself(refuse):
    with http2(refuse) as server:
        config = ServiceConfig("f", api_key="key", tls=False, endpoints={"ai-foundation-models": server.address})
        with pytest.raises(SubmitUnknownError):
            await submit(config, timeout_seconds=30)
        assert server.requests == 1


async def test_grpc_left_alone_would_repeat_it():
    """The control: the server above sees what gRPC does by default."""
    with http2(go_away) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary("/service/Method")(b"", timeout=30)
        assert server.requests > 1
