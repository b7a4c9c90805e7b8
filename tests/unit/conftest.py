"""Servers that answer as a test says, for the client of the service."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest
from blockbuster import blockbuster_ctx
from yandex.cloud.endpoint.api_endpoint_pb2 import ApiEndpoint
from yandex.cloud.endpoint.api_endpoint_service_pb2 import ListApiEndpointsResponse

from vision_batch.service.calls import ReadRetries
from vision_batch.service.types import ServiceConfig


@dataclass(frozen=True)
class Seen:
    """One call, as it arrived."""

    method: str
    body: bytes
    metadata: dict[str, str]


@dataclass
class GrpcService:
    """Answers each method by its script, in turn; the last entry of a script is repeated."""

    address: str = ""
    calls: list[Seen] = field(default_factory=list)
    scripts: dict[str, deque[Any]] = field(default_factory=lambda: defaultdict(deque))
    date: str | None = None

    def answer(self, method: str, *replies: Any) -> None:
        """Each reply is a message, bytes, a status code, or a function of the request's bytes and the context."""
        self.scripts[method] = deque(replies)

    def count(self, method: str) -> int:
        return sum(call.method == method for call in self.calls)

    def last(self, method: str) -> Seen:
        return [call for call in self.calls if call.method == method][-1]

    def handle(self, method: str, body: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls.append(Seen(method, body, dict(context.invocation_metadata())))
        if self.date is not None:
            context.send_initial_metadata((("date", self.date),))
        script = self.scripts[method]
        if not script:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the test has no answer to {method}")
        reply = script.popleft() if len(script) > 1 else script[0]
        if callable(reply):
            reply = reply(body, context)
        if isinstance(reply, grpc.StatusCode):
            context.abort(reply, f"scripted {reply.name}")
        return reply if isinstance(reply, bytes) else reply.SerializeToString()


class _AnyMethod(grpc.GenericRpcHandler):
    def __init__(self, service: GrpcService) -> None:
        self._service = service

    def service(self, details):
        method = "/".join(details.method.rsplit(".", 1)[-1].split("/"))
        return grpc.unary_unary_rpc_method_handler(lambda body, context: self._service.handle(method, body, context))


@pytest.fixture
def grpc_service() -> Iterator[GrpcService]:
    """A gRPC server that lists itself as the endpoint of everything."""
    service = GrpcService()
    server = grpc.server(ThreadPoolExecutor(4), handlers=[_AnyMethod(service)])
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    listed = [ApiEndpoint(id=name, address=service.address) for name in ("ai-foundation-models", "iam", "operation")]
    service.answer("ApiEndpointService/List", ListApiEndpointsResponse(endpoints=listed))
    server.start()
    yield service
    server.stop(None).wait()


@pytest.fixture
def config(grpc_service: GrpcService) -> ServiceConfig:
    return ServiceConfig("b1gfolder", api_key="AQVN-secret-key", endpoint=grpc_service.address, tls=False)


@pytest.fixture
def retries() -> ReadRetries:
    """Quick ones."""
    return ReadRetries(attempts=3, total_seconds=100, call_seconds=50, wait_initial_seconds=0.01, wait_max_seconds=0.02)


@pytest.fixture(scope="session")
def grpc_runtime() -> Iterator[None]:
    """Keep gRPC's own thread: when the last channel of all goes, gRPC waits for it to end, on whatever loop that is."""
    with asyncio.Runner() as runner:  # it needs a loop, and other tests leave none behind

        async def start() -> None:
            grpc.aio.init_grpc_aio()

        runner.run(start())
    yield
    grpc.aio.shutdown_grpc_aio()


@pytest.fixture
def no_blocking(grpc_runtime) -> Iterator[None]:  # noqa: ARG001 - it must only be there
    """Let a call of ours that blocks an event loop raise."""
    with blockbuster_ctx("vision_batch.service"):
        yield


@dataclass
class HttpStorage:
    """Keeps bodies by path; a test may put a function in ``before`` that answers first and returns true."""

    base: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    before: Callable[[BaseHTTPRequestHandler], bool] = lambda _: False
    sent_bytes: int = 0

    def url(self, name: str) -> str:
        return f"{self.base}/{name}?X-Amz-Signature=SECRETSIGNATURE"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    storage: HttpStorage

    def name(self) -> str:
        self.storage.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        return self.path.split("?")[0].strip("/")

    def do_PUT(self) -> None:
        name = self.name()
        if self.storage.before(self):
            return
        body = self.rfile.read(int(self.headers["content-length"]))
        self.storage.bodies[name] = body
        self.reply(200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    def do_GET(self) -> None:
        name = self.name()
        if self.storage.before(self):
            return
        body = self.storage.bodies[name]
        first, last = self.range(len(body))
        headers = {"Content-Range": f"bytes {first}-{last}/{len(body)}", "ETag": '"v1"'}
        self.reply(206, body[first : last + 1], headers)

    def range(self, size: int) -> tuple[int, int]:
        first, last = self.headers["range"].removeprefix("bytes=").split("-")
        if not first:
            return max(0, size - int(last)), size - 1
        return int(first), min(int(last), size - 1)

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)
        self.storage.sent_bytes += len(body)

    def log_message(self, *_: Any) -> None:
        pass


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that go away are what these tests are about."""


@pytest.fixture
def storage() -> Iterator[HttpStorage]:
    """An HTTP server that behaves like a bucket behind presigned URLs."""
    found = HttpStorage()
    server = _QuietServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"storage": found}))
    found.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def free_address() -> str:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"
