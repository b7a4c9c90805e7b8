"""Turn a gRPC status into an error of ours that names the call, the endpoint and the next step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from vision_batch.errors import (
    AuthenticationError,
    NotFoundError,
    QuotaExceededError,
    RequestRefusedError,
    ServiceUnavailableError,
    SubmitUnknownError,
    VisionBatchError,
)
from vision_batch.service.types import ServiceConfig

#: Statuses by which the service says for sure that it did nothing.
DEFINITE = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)

_NO_REPEAT = "The same request would be refused again"
_MAX_DETAILS = 500
_URL_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")


@dataclass(frozen=True)
class CallSite:
    """Say which call was made, where and as whom.

    :param what: the call in words, such as ``describe job fbi...``.
    :param address: the endpoint that was called.
    :param request_id: what the service's support can find the call by.
    """

    what: str
    address: str
    request_id: str
    config: ServiceConfig


def refusal(error: grpc.aio.AioRpcError, site: CallSite) -> VisionBatchError:
    """Return the error of ours that a status means."""
    code = error.code()
    found = _found(error, site)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return AuthenticationError(f"{found} Check the API key or the service account key of the connection.")
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return AuthenticationError(
            f"{found} Check folder_id {site.config.folder_id!r} of the connection, and that its account has the role "
            "ai.editor on that folder."
        )
    if code is grpc.StatusCode.NOT_FOUND:
        return NotFoundError(f"{found} It was deleted, or belongs to another folder.")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return QuotaExceededError(f"{found} Wait for the quota, or ask for a larger one.", retry_after=_pause(error))
    if code in DEFINITE or code in {grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.ABORTED}:
        is_elsewhere = code is grpc.StatusCode.UNIMPLEMENTED
        step = f"Check the endpoint {site.config.endpoint!r} of the connection" if is_elsewhere else _NO_REPEAT
        return RequestRefusedError(f"{found} {step}.")
    return ServiceUnavailableError(
        f"{found} Check the endpoint {site.config.endpoint!r} of the connection, whether it speaks "
        f"{'TLS' if site.config.tls else 'plaintext'}, and the network; if they are right, try again later."
    )


def submit_refusal(error: grpc.aio.AioRpcError, site: CallSite) -> VisionBatchError:
    """Return what a status means for a paid call: refused for sure, or an outcome that is not known."""
    if error.code() in DEFINITE:
        return refusal(error, site)
    return SubmitUnknownError(
        f"{_found(error, site)} A job may have been made: look for it in the list of jobs, do not send it again."
    )


def unreadable(site: CallSite) -> VisionBatchError:
    """Return the error for a reply that is not the message that was expected."""
    return ServiceUnavailableError(
        f"{site.what}: AI Studio at {site.address} answered with something that cannot be read (request id "
        f"{site.request_id}). Check the endpoint {site.config.endpoint!r} of the connection; if it is right, try again "
        "later."
    )


def hide(text: str, config: ServiceConfig, secrets: Mapping[str, str] | None = None) -> str:
    """Return a text of the service without credentials and without the queries of URLs, which may be signatures.

    :param secrets: what to hide besides the configuration's own secrets, by name.
    """
    key = (config.service_account_key or {}).get("private_key")
    for secret in (config.api_key, key, *(secrets or {}).values()):
        if secret:
            text = text.replace(secret, "***")
    return _URL_QUERY.sub(r"\1?***", text)


def _found(error: grpc.aio.AioRpcError, site: CallSite) -> str:
    details = hide(error.details() or "no details", site.config)
    if len(details) > _MAX_DETAILS:
        details = f"{details[:_MAX_DETAILS]}..."
    return (
        f"{site.what}: AI Studio at {site.address} answered {error.code().name}: {details.rstrip('.')} "
        f"(request id {site.request_id})."
    )


def _pause(error: grpc.aio.AioRpcError) -> timedelta | None:
    """Return the pause that the status asks for in its details (``google.rpc.RetryInfo``), if it does."""
    trailing: Any = error.trailing_metadata() or ()
    for name, value in trailing:
        if name != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        try:
            status = status_pb2.Status.FromString(value)
        except DecodeError:
            return None
        for detail in status.details:
            info = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                return timedelta(seconds=info.retry_delay.seconds, microseconds=info.retry_delay.nanos // 1000)
    return None
