"""Make gRPC calls: endpoints, credentials, deadlines, bounded retries of reads, and no retry of anything else."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import grpc
import stamina
from yandex.cloud.endpoint.api_endpoint_service_pb2 import ListApiEndpointsRequest
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import ApiEndpointServiceStub
from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest
from yandex.cloud.iam.v1.iam_token_service_pb2_grpc import IamTokenServiceStub

from vision_batch.errors import (
    ConnectionInputError,
    FinalError,
    SubmitTooLateError,
    SubmitUnknownError,
    VisionBatchError,
)
from vision_batch.service.credentials import IamToken, make_credentials
from vision_batch.service.refusals import CallSite, refusal, submit_refusal, unreadable
from vision_batch.service.types import ServiceConfig

#: Endpoint id of datasets, jobs and their operations (as the vendor's SDK uses them).
FOUNDATION_MODELS = "ai-foundation-models"

#: Endpoint id of the exchange of tokens.
IAM = "iam"

#: A list of jobs with many errors outgrows gRPC's default of 4 MiB.
MAX_READ_BYTES = 64 * 1024 * 1024

#: Statuses after which a read is worth repeating.
REPEATABLE = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}
)

_OPTIONS: tuple[tuple[str, Any], ...] = (
    # gRPC would repeat a call by itself, or as a service config in DNS says: a repeated submit is paid twice.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.primary_user_agent", "vision-batch"),
)

# The first retry would import them, on the event loop, from disk.
stamina.instrumentation.get_on_retry_hooks()


@dataclass(frozen=True)
class ReadRetries:
    """Bound the retries of reads.

    :param attempts: at most so many calls for one read.
    :param total_seconds: no new attempt after so long.
    :param call_seconds: the deadline of one call.
    """

    attempts: int = 5
    total_seconds: float = 60.0
    call_seconds: float = 30.0
    wait_initial_seconds: float = 0.5
    wait_max_seconds: float = 10.0


class ServiceCalls:
    """Hold the channels of one client. Belongs to one event loop; connects at the first call.

    :param config: where and as whom.
    :param retries: how long reads are repeated.
    """

    def __init__(self, config: ServiceConfig, retries: ReadRetries) -> None:
        self._config = config
        self._retries = retries
        self._credentials = make_credentials(config, self._exchange)
        self._addresses: dict[str, str] = dict(config.endpoints)
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._discovering = asyncio.Lock()
        self._closed = False
        self.last_date: datetime | None = None

    async def close(self) -> None:
        """Close the channels; no call can be made after that."""
        self._closed = True
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            await channel.close(None)

    async def repeatable(self, stub: type, method: str, request: Any, what: str) -> Any:
        """Make a call that does no harm when made twice, again if a named status says that this may help.

        :raises VisionBatchError: what the last status means.
        """
        address = await self._address(FOUNDATION_MODELS)
        return await self._repeat(_Call(stub, method, request, what, address))

    async def once(self, stub: type, method: str, request: Any, what: str) -> Any:
        """Make a call that changes something, once.

        :raises VisionBatchError: what its status means.
        """
        address = await self._address(FOUNDATION_MODELS)
        call = _Call(stub, method, request, what, address)
        request_id = str(uuid.uuid4())
        try:
            return await self._send(call, request_id, self._retries.call_seconds)
        except grpc.aio.AioRpcError as error:
            raise refusal(error, self._site(call, request_id)) from None
        except _UnreadableReplyError:
            raise unreadable(self._site(call, request_id)) from None

    async def pay(
        self,
        stub: type,
        method: str,
        request: Any,
        what: str,
        timeout_seconds: float,
        *,
        not_after: datetime | None = None,
    ) -> Any:
        """Make the paid call: one request on the wire, whatever happens.

        :param not_after: by the clock here; later than that nothing is sent.
        :raises SubmitTooLateError: if nothing was sent for that.
        :raises SubmitUnknownError: if it was sent and anything but a definite refusal came back.
        """
        address = await self._address(FOUNDATION_MODELS)
        call = _Call(stub, method, request, what, address)
        request_id = str(uuid.uuid4())
        try:
            return await self._send(call, request_id, timeout_seconds, not_after=not_after)
        except grpc.aio.AioRpcError as error:
            raise submit_refusal(error, self._site(call, request_id)) from None
        except VisionBatchError:
            # There were no credentials to send, or it was too late: nothing was sent.
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is: the call may have been sent
            raise SubmitUnknownError(
                f"{what}: {type(error).__name__} after the call was begun (request id {request_id}). A job may have "
                "been made: look for it in the list of jobs, do not send it again."
            ) from None

    async def _repeat(self, call: _Call, *, authorized: bool = True) -> Any:
        limits = self._retries
        request_id = str(uuid.uuid4())
        site = self._site(call, request_id)
        try:
            async for attempt in stamina.retry_context(
                on=_AgainError,
                attempts=limits.attempts,
                timeout=limits.total_seconds,
                wait_initial=limits.wait_initial_seconds,
                wait_max=limits.wait_max_seconds,
                wait_jitter=limits.wait_initial_seconds,
            ):
                with attempt:
                    try:
                        return await self._send(call, request_id, limits.call_seconds, authorized=authorized)
                    except grpc.aio.AioRpcError as error:
                        meaning = refusal(error, site)
                        raise _AgainError(meaning) if error.code() in REPEATABLE else meaning from None
        except _AgainError as last:
            raise last.meaning from None
        except _UnreadableReplyError:
            raise unreadable(site) from None
        raise AssertionError("a retry ends with a result or an error")

    async def _send(
        self,
        call: _Call,
        request_id: str,
        timeout_seconds: float,
        *,
        authorized: bool = True,
        not_after: datetime | None = None,
    ) -> Any:
        headers = [
            ("x-client-request-id", request_id),
            ("x-data-logging-enabled", "true" if self._config.data_logging else "false"),
        ]
        if authorized:
            headers.append(("authorization", await self._credentials.authorization()))
        channel = self._channel(call.address)
        if not_after is not None and (now := datetime.now(UTC)) > not_after:
            raise SubmitTooLateError(
                f"{call.what}: it is {now:%H:%M:%S}, and nothing is sent after {not_after:%H:%M:%S}"
            )
        rpc = getattr(call.stub(channel), call.method)(
            call.request, metadata=headers, timeout=timeout_seconds, wait_for_ready=False
        )
        try:
            reply = await rpc
        except grpc.aio.AioRpcError as error:
            self._note_date(error.initial_metadata())
            if error.code() is grpc.StatusCode.UNAUTHENTICATED and authorized:
                self._credentials.forget()
            raise
        self._note_date(await rpc.initial_metadata())
        if reply is None:
            # grpc.aio logs a reply that it cannot parse and gives None in its place.
            raise _UnreadableReplyError
        return reply

    def _channel(self, address: str) -> grpc.aio.Channel:
        if self._closed:
            raise FinalError("the client is used after it was closed")
        if address not in self._channels:
            options = [*_OPTIONS, ("grpc.max_receive_message_length", MAX_READ_BYTES)]
            if self._config.tls:
                channel = grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(), options)
            else:
                channel = grpc.aio.insecure_channel(address, options)
            self._channels[address] = channel
        return self._channels[address]

    async def _address(self, endpoint_id: str) -> str:
        """Return where an endpoint is: overridden, or as the service's own list says."""
        if endpoint_id not in self._addresses:
            async with self._discovering:
                if endpoint_id not in self._addresses:
                    await self._discover()
        try:
            return self._addresses[endpoint_id]
        except KeyError:
            raise ConnectionInputError(
                f"the endpoint {self._config.endpoint!r} of the connection lists no {endpoint_id!r}: is it the API "
                f"endpoint of Yandex Cloud? It lists {sorted(self._addresses)[:10]}"
            ) from None

    async def _discover(self) -> None:
        call = _Call(ApiEndpointServiceStub, "List", ListApiEndpointsRequest(), "list endpoints", self._config.endpoint)
        reply = await self._repeat(call, authorized=False)
        self._addresses = {**{each.id: each.address for each in reply.endpoints}, **self._config.endpoints}

    async def _exchange(self, signed: str) -> IamToken:
        call = _Call(
            IamTokenServiceStub,
            "Create",
            CreateIamTokenRequest(jwt=signed),
            "exchange the service account key for a token",
            await self._address(IAM),
        )
        reply = await self._repeat(call, authorized=False)
        return IamToken(reply.iam_token, reply.expires_at.ToDatetime(tzinfo=UTC))

    def _site(self, call: _Call, request_id: str) -> CallSite:
        return CallSite(call.what, call.address, request_id, self._config)

    def _note_date(self, metadata: Any) -> None:
        for name, value in metadata or ():
            if name == "date" and isinstance(value, str):
                try:
                    date = parsedate_to_datetime(value)
                except ValueError:
                    return
                self.last_date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


@dataclass(frozen=True)
class _Call:
    stub: type
    method: str
    request: Any
    what: str
    address: str


class _UnreadableReplyError(Exception):
    """Say that a reply came and is not the message that the call answers with."""


class _AgainError(Exception):
    """Say that a read is worth repeating. Retries are logged: the text is ours, without secrets.

    :param meaning: what to raise if it stays so.
    """

    def __init__(self, meaning: VisionBatchError) -> None:
        super().__init__(str(meaning))
        self.meaning = meaning
