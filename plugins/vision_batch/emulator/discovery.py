"""Answer ``ApiEndpointService``: every endpoint is the emulator itself."""

from __future__ import annotations

import grpc
from google.protobuf.message import Message
from yandex.cloud.endpoint.api_endpoint_pb2 import ApiEndpoint
from yandex.cloud.endpoint.api_endpoint_service_pb2 import (
    GetApiEndpointRequest,
    ListApiEndpointsRequest,
    ListApiEndpointsResponse,
)

from vision_batch.emulator.rpc import Call, RefusalError

#: The recorded endpoint ids behind which the emulator has a service.
ENDPOINTS = ("ai-foundation-models", "ai-llm", "endpoint", "fomo-dataset", "fomo-tuning", "iam", "operation")


class ApiEndpointService:
    """Tell where the services are.

    :param address: host and port of the emulator.
    """

    def __init__(self) -> None:
        self.address = ""

    def list(self, _request: ListApiEndpointsRequest, _: Call) -> Message:
        """Give all endpoints."""
        return ListApiEndpointsResponse(endpoints=[ApiEndpoint(id=name, address=self.address) for name in ENDPOINTS])

    def get(self, request: GetApiEndpointRequest, _: Call) -> Message:
        """Give one endpoint."""
        if request.api_endpoint_id not in ENDPOINTS:
            raise RefusalError(grpc.StatusCode.NOT_FOUND, f"Endpoint {request.api_endpoint_id!r} is not found")
        return ApiEndpoint(id=request.api_endpoint_id, address=self.address)
