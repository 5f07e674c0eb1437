"""A CRI server at the wire for the client's tests: real gRPC on a real socket, answers chosen by
the test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass

from asupervisor.proto import cri

METHODS = {
    f"{service.name}/{method.name}": method
    for service in cri.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
Behaviour = Callable[[Any, Any], Awaitable[Any]]


class CriServer(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every RPC of the versions it speaks with an empty message, or as ``behaviours`` says.

    Args:
        versions: of the API, each ``v1`` or ``v1alpha2``.
        lacking: RPCs (``Service/Method``) that are UNIMPLEMENTED, or whole services (``Service``).
    """

    def __init__(self, *versions: str, lacking: tuple[str, ...] = ()) -> None:
        self.versions = versions
        self.lacking = lacking
        self.behaviours: dict[str, Behaviour] = {}
        """``Service/Method`` → ``async (request, context) → response``, or a list of responses for
        a stream.
        """
        self.calls: list[tuple[str, str]] = []
        """Version and ``Service/Method`` of every call, in order, whether or not it was answered.
        """
        self.requests: dict[str, Any] = {}
        self.remaining_s: dict[str, float | None] = {}
        """What each method's last call had left of its deadline on arrival."""
        self.cancelled: list[str] = []

    def service(self, handler_call_details: Any) -> Any:
        package, _, rest = handler_call_details.method.removeprefix("/runtime.").partition(".")
        self.calls.append((package, rest))
        service = rest.partition("/")[0]
        if (
            package not in self.versions
            or rest in self.lacking
            or service in self.lacking
            or rest not in METHODS
        ):
            return None
        descriptor = METHODS[rest]
        response_type = GetMessageClass(descriptor.output_type)

        async def unary(request: Any, context: Any) -> Any:
            self.requests[rest] = request
            self.remaining_s[rest] = context.time_remaining()
            answer = self.behaviours.get(rest)
            try:
                return await answer(request, context) if answer else response_type()
            except BaseException:
                self.cancelled.append(rest)
                raise

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            answers = await unary(request, context)
            for answer in answers if isinstance(answers, list) else [answers]:
                yield answer

        make = (
            grpc.unary_stream_rpc_method_handler
            if descriptor.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make(
            stream if descriptor.server_streaming else unary,
            request_deserializer=GetMessageClass(descriptor.input_type).FromString,
            response_serializer=response_type.SerializeToString,
        )

    @asynccontextmanager
    async def listening(self, endpoint: str) -> AsyncIterator[CriServer]:
        """Serve at ``endpoint`` for the length of the block."""
        size = 16 * 1024 * 1024
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", size),
                ("grpc.max_send_message_length", size),
            ]
        )
        server.add_generic_rpc_handlers((self,))
        server.add_insecure_port(endpoint)
        await server.start()
        try:
            yield self
        finally:
            await server.stop(None)
