"""Serve a protobuf service from an object whose methods are named as its calls, in snake case.

One place does what every call needs: ``date`` and the echoed ``x-client-request-id`` in the initial metadata,
credentials, the data logging rule, faults, and the log of refused calls.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from vision_batch.emulator.clock import http_date

_REQUEST_ID = "x-client-request-id"


class RefusalError(Exception):
    """Refuse a call with a status code and a message."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Call:
    """Hold what came with a request.

    :param method: ``Service/Method`` without the package.
    """

    method: str
    metadata: dict[str, str]


class Gate(Protocol):
    """Decide about a call before its method runs."""

    def now(self) -> float:
        """Return the virtual time."""

    async def admit(self, call: Call) -> None:
        """Return, or raise :class:`RefusalError`."""

    def note(self, call: Call, code: str, message: str) -> None:
        """Remember a refused call."""


def service_handler(
    descriptor: ServiceDescriptor, implementation: object, gate: Gate
) -> grpc.GenericRpcHandler[Any, Any]:
    """Return the handler of a service; calls without a method of the object are UNIMPLEMENTED."""
    handlers = {}
    for method in descriptor.methods:
        behaviour = getattr(implementation, _snake(method.name), None)
        if behaviour is not None:
            handlers[method.name] = _unary(method, behaviour, gate)
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _unary(method: MethodDescriptor, behaviour: Callable[..., Any], gate: Gate) -> grpc.RpcMethodHandler[Any, Any]:
    async def serve(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        call = Call(f"{method.containing_service.name}/{method.name}", metadata)
        shown = [("date", http_date(gate.now()))]
        if _REQUEST_ID in metadata:
            shown.append((_REQUEST_ID, metadata[_REQUEST_ID]))
        await context.send_initial_metadata(shown)
        try:
            await gate.admit(call)
            found = behaviour(request, call)
            reply: Message = await _waited(found) if inspect.isawaitable(found) else found
        except RefusalError as refusal:
            gate.note(call, refusal.code.name, refusal.message)
            await context.abort(refusal.code, refusal.message)
        return reply

    return grpc.unary_unary_rpc_method_handler(
        serve,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


async def _waited(found: Awaitable[Message]) -> Message:
    return await found
