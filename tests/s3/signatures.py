"""Check AWS Signature Version 4 of a request, in its header or in a presigned URL, as S3 does."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

ALGORITHM = "AWS4-HMAC-SHA256"
#: A signed header is good for so long, before and after its date.
SKEW = timedelta(minutes=15)


class RefusedError(Exception):
    """Say why a request is not let in, as S3 would."""

    def __init__(self, code: str, status: int = 403) -> None:
        super().__init__(code)
        self.code, self.status = code, status


@dataclass(frozen=True)
class Request:
    """Hold a request as it came.

    :param path: percent-encoded.
    :param headers: by name in lower case.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def signer(request: Request, secrets: Mapping[str, str], now: datetime) -> str:
    """Return the id of the key that signed a request.

    :raises RefusedError: if none did, another did, or the time is over.
    """
    query = {name: unquote(value) for name, _, value in (pair.partition("=") for pair in request.query.split("&"))}
    if "X-Amz-Signature" in query:
        given = {name: query.get(f"X-Amz-{name}", "") for name in ("Credential", "SignedHeaders", "Signature")}
        made_at, payload = query["X-Amz-Date"], "UNSIGNED-PAYLOAD"
        good_until = _time(made_at) + timedelta(seconds=int(query["X-Amz-Expires"]))
    else:
        kind, _, words = request.headers.get("authorization", "").partition(" ")
        if kind != ALGORITHM:
            raise RefusedError("AccessDenied")
        given = dict(word.strip().partition("=")[::2] for word in words.split(","))
        made_at, payload = request.headers["x-amz-date"], request.headers["x-amz-content-sha256"]
        good_until = _time(made_at) + SKEW
        if payload not in {"UNSIGNED-PAYLOAD", hashlib.sha256(request.body).hexdigest()}:
            raise RefusedError("XAmzContentSHA256Mismatch", 400)
    key_id, _, scope = given["Credential"].partition("/")
    if key_id not in secrets:
        raise RefusedError("InvalidAccessKeyId")
    text = "\n".join([ALGORITHM, made_at, scope, hashlib.sha256(_canonical(request, given, payload)).hexdigest()])
    if not hmac.compare_digest(_signature(secrets[key_id], scope, text), given["Signature"]):
        raise RefusedError("SignatureDoesNotMatch")
    if not _time(made_at) - SKEW <= now <= good_until:
        raise RefusedError("AccessDenied" if "X-Amz-Signature" in query else "RequestTimeTooSkewed")
    return key_id


def _canonical(request: Request, given: Mapping[str, str], payload: str) -> bytes:
    names = given["SignedHeaders"].split(";")
    pairs = sorted(pair.partition("=")[::2] for pair in request.query.split("&") if pair)
    query = "&".join(f"{name}={value}" for name, value in pairs if name != "X-Amz-Signature")
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names)
    return "\n".join([request.method, request.path, query, headers, given["SignedHeaders"], payload]).encode()


def _signature(secret: str, scope: str, text: str) -> str:
    key = f"AWS4{secret}".encode()
    for word in (*scope.split("/"), text):
        key = hmac.digest(key, word.encode(), "sha256")
    return key.hex()


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
