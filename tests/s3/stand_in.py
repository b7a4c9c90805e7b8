"""An S3 server for tests: moto's, behind what moto lets pass: signatures, expiry, rights by key, faults on demand.

As a program: ``python stand_in.py --host minio --port 9000 --key ID=SECRET``.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import boto3
from botocore.config import Config
from moto.server import DomainDispatcherApplication, create_backend_app
from signatures import RefusedError, Request, signer
from werkzeug.serving import make_server

REGION = "us-east-1"
#: What a key may be allowed to do in a bucket.
RIGHTS = frozenset({"list", "read", "write", "delete", "make"})

_ANSWERS = {
    "busy": (503, "SlowDown"),
    "unknown": (501, "NotImplemented"),
    "denied": (403, "AccessDenied"),
    "archived": (403, "InvalidObjectState"),
}

#: A character for private use, percent-encoded.
_LINE_BREAK = "%EE%80%8A"

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


@dataclass(frozen=True)
class Key:
    """Be a static key.

    :param rights: by bucket; ``None`` for all rights everywhere.
    """

    secret: str
    rights: Mapping[str, frozenset[str]] | None = None


@dataclass(frozen=True)
class Call:
    """Describe one request that came."""

    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    key_id: str

    @property
    def right(self) -> str:
        if not self.key:
            return "list" if self.method in {"GET", "HEAD"} else "make"
        return {"GET": "read", "HEAD": "read", "DELETE": "delete"}.get(self.method, "write")


@dataclass
class Fault:
    """Break the next calls that fit.

    :param how: ``busy`` answers 503 without doing anything, ``unknown`` 501, ``denied`` and ``archived`` 403; ``lost`` does
        it and answers 500; ``cut`` ends the body early.
    """

    how: str
    times: int = 1
    method: str = "GET"
    key: str = ""


@dataclass
class StandIn:
    """Serve S3 on a port of this machine.

    :param keys: by id.
    """

    keys: dict[str, Key]
    host: str = "127.0.0.1"
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    #: Conditional headers that are not looked at, as ``HTTP_IF_MATCH``.
    ignores: set[str] = field(default_factory=set)

    def start(self) -> None:
        self._inner = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(self.host, self.port, self, threaded=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def client(self, key_id: str, **config: Any) -> Any:
        """Connect as a program would."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key_id,
            aws_secret_access_key=self.keys[key_id].secret,
            config=Config(proxies={}, signature_version="s3v4", **config),
        )

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        request = _request(environ)
        try:
            key_id = signer(request, {name: key.secret for name, key in self.keys.items()}, datetime.now(UTC))
            call = _call(request, key_id)
            self.calls.append(call)
            self._require(call)
        except RefusedError as refused:
            return _error(start_response, refused.status, refused.code)
        fault = self._fault(call)
        if fault in _ANSWERS:
            return _error(start_response, *_ANSWERS[fault])
        for name in self.ignores & environ.keys():
            del environ[name]
        status, headers, body = self._ask_moto(environ, request.body)
        if fault == "lost":
            return _error(start_response, 500, "InternalError")
        if request.method != "HEAD":
            headers = [*((name, value) for name, value in headers if name.lower() != "content-length")]
            headers.append(("Content-Length", str(len(body))))
        start_response(status, headers)
        return [body[:-1] if fault == "cut" else body]

    def _ask_moto(self, environ: dict[str, Any], body: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
        """Let moto answer; its routes know no line break, so another character goes in its place, there and back."""
        for name in ("REQUEST_URI", "RAW_URI", "QUERY_STRING"):
            environ[name] = environ.get(name, "").replace("%0A", _LINE_BREAK)
        environ["PATH_INFO"] = environ["PATH_INFO"].replace("\n", unquote(_LINE_BREAK, "latin-1"))
        environ["wsgi.input"] = _Body(body)
        said: list[Any] = []
        answer = b"".join(self._inner(environ, lambda *given: said.extend(given)))
        return said[0], said[1], answer.replace(_LINE_BREAK.encode(), b"%0A")

    def _require(self, call: Call) -> None:
        rights = self.keys[call.key_id].rights
        if rights is not None and call.right not in rights.get(call.bucket, ()):
            raise RefusedError("AccessDenied")

    def _fault(self, call: Call) -> str | None:
        for fault in self.faults:
            if fault.times and fault.method == call.method and fault.key in call.key:
                fault.times -= 1
                return fault.how
        return None


class _Body:
    """Give a body that was read already once more."""

    def __init__(self, body: bytes) -> None:
        self._left = body

    def read(self, size: int = -1) -> bytes:
        end = len(self._left) if size is None or size < 0 else size
        found, self._left = self._left[:end], self._left[end:]
        return found

    def readline(self, size: int = -1) -> bytes:
        return self.read(size)


def _request(environ: Mapping[str, Any]) -> Request:
    path, _, query = environ["REQUEST_URI"].partition("?")
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    for name in ("content-type", "content-length"):
        headers[name] = str(environ.get(name.replace("-", "_").upper(), ""))
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return Request(environ["REQUEST_METHOD"], path, query, headers, body)


def _call(request: Request, key_id: str) -> Call:
    bucket, _, key = request.path.lstrip("/").partition("/")
    query = dict(pair.partition("=")[::2] for pair in request.query.split("&") if pair)
    return Call(request.method, unquote(bucket), unquote(key), query, key_id)


def _error(start_response: StartResponse, status: int, code: str) -> list[bytes]:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    start_response(f"{status} {code}", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", action="append", required=True, metavar="ID=SECRET")
    options = parser.parse_args()
    keys = {name: Key(secret) for name, _, secret in (given.partition("=") for given in options.key)}
    server = StandIn(keys, options.host, options.port)
    server.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
