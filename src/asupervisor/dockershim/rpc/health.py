"""gRPC health checking (grpc.health.v1, the health checking protocol of grpc.io) on the CRI socket.

The overall service (the empty name) serves while it is not stopping. The CRI services serve while
the node can run pods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import grpc
from google.protobuf import descriptor_pb2

from asupervisor.dockershim.rpc.methods import API_VERSIONS, SERVICES

UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = 0, 1, 2, 3
_POLL_S = 0.5
_LONGEST_VARINT = 10

SERVICE = "grpc.health.v1.Health"


def health_file() -> descriptor_pb2.FileDescriptorProto:
    """The protocol's own description, for reflection."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="grpc/health/v1/health.proto", package="grpc.health.v1", syntax="proto3"
    )
    request = file.message_type.add(name="HealthCheckRequest")
    request.field.add(
        name="service",
        number=1,
        type=kinds.TYPE_STRING,
        label=kinds.LABEL_OPTIONAL,
        json_name="service",
    )
    response = file.message_type.add(name="HealthCheckResponse")
    status = response.enum_type.add(name="ServingStatus")
    for number, name in enumerate(("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")):
        status.value.add(name=name, number=number)
    response.field.add(
        name="status",
        number=1,
        type=kinds.TYPE_ENUM,
        label=kinds.LABEL_OPTIONAL,
        json_name="status",
        type_name=".grpc.health.v1.HealthCheckResponse.ServingStatus",
    )
    service = file.service.add(name="Health")
    for name, streams in (("Check", False), ("Watch", True)):
        service.method.add(
            name=name,
            input_type=".grpc.health.v1.HealthCheckRequest",
            output_type=".grpc.health.v1.HealthCheckResponse",
            server_streaming=streams,
        )
    return file


class HealthService(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers ``Check`` and ``Watch``.

    Args:
        ready: whether the node can run pods now.
        stopping: whether the service is stopping.
    """

    def __init__(self, ready: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        self._ready = ready
        self._stopping = stopping
        self._handlers = {
            f"/{SERVICE}/Check": grpc.unary_unary_rpc_method_handler(self._check),
            f"/{SERVICE}/Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }
        self._cri = {
            f"runtime.{version}.{service}" for version in API_VERSIONS for service in SERVICES
        }

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler | None:
        """grpc's look-up."""
        return self._handlers.get(handler_call_details.method)

    def status(self, name: str) -> int:
        """The status of a service by its full name; the empty one is the server as a whole."""
        if name not in self._cri and name not in ("", SERVICE):
            return SERVICE_UNKNOWN
        if self._stopping():
            return NOT_SERVING
        return SERVING if name not in self._cri or self._ready() else NOT_SERVING

    async def _check(self, request: bytes, context: Any) -> bytes:
        status = self.status(_name(request))
        if status == SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return _encoded(status)

    async def _watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        name, last = _name(request), -1
        while True:
            status = self.status(name)
            if status != last:
                yield _encoded(status)
                last = status
            await anyio.sleep(_POLL_S)


def _name(request: bytes) -> str:
    """Field 1 of a HealthCheckRequest, the only one it has."""
    if not request or request[0] != 0x0A:
        return ""
    length, shift, index = 0, 0, 1
    while index < min(len(request), _LONGEST_VARINT + 1):
        byte = request[index]
        length |= (byte & 0x7F) << shift
        index, shift = index + 1, shift + 7
        if byte < 0x80:
            break
    return request[index : index + length].decode("utf-8", "replace")


def _encoded(status: int) -> bytes:
    """A HealthCheckResponse."""
    return bytes((0x08, status)) if status else b""
