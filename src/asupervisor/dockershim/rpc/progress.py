"""The progress of pulls, for which the CRI has no RPC: a method of this project on the CRI socket,
for its own client. Reflection does not show it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import grpc
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import ListValue

from asupervisor.dockershim.image.pulls import Pulls
from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri
from asupervisor.remote.images import PULL_PROGRESS
from asupervisor.translate.images import parse_reference

_POLL_S = 0.25


class ProgressService(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers an ``ImageSpec`` with the layers of its pulls under way: at once, and whenever they
    changed, until the caller leaves.

    Args:
        pulls: those of this service.
    """

    def __init__(self, pulls: Pulls) -> None:
        self._pulls = pulls
        self._handler = grpc.unary_stream_rpc_method_handler(self._tell)

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler | None:
        """grpc's look-up."""
        return self._handler if handler_call_details.method == PULL_PROGRESS else None

    async def _tell(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            name = parse_reference(cri.ImageSpec.FromString(request).image).name
        except (DecodeError, InvalidArgument):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not an image")
        told = None
        while True:
            layers: Any = self._pulls.layers(name)
            if layers != told:
                message = ListValue()
                message.extend(layers)
                yield message.SerializeToString()
                told = layers
            await anyio.sleep(_POLL_S)
