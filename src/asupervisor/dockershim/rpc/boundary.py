"""The RPC boundary: bytes in, bytes out, one error mapping, calls in flight counted.

One generic handler with raw bytes serves every method: a registered servicer costs a waiting task
for each method and call, and its serializers would encode again what the node state keeps ready.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import grpc
from google.protobuf.message import DecodeError, Message

from asupervisor.dockershim.container.outputs import HeldAnswer
from asupervisor.dockershim.fields import subject_fields
from asupervisor.dockershim.rpc.methods import API_VERSIONS, READY_BYTES, Method, all_methods
from asupervisor.dockershim.runtime.version import version_bytes
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import (
    Internal,
    InvalidArgument,
    ResourceExhausted,
    ServiceError,
    Unavailable,
    Unimplemented,
)
from asupervisor.log import enter_call
from asupervisor.metrics import Metrics
from asupervisor.node.fitting import MESSAGE_BYTES
from asupervisor.node.known import Known
from asupervisor.observability.tracing import Tracing
from asupervisor.translate.values import check_values
from asupervisor.words import bounded_line

_logger = logging.getLogger(__name__)
MAXIMUM_MESSAGE_BYTES = MESSAGE_BYTES
STATUS_BYTES = 4096
"""Most bytes of a status text on the wire: a client refuses more than 8 KiB of metadata, and then
sees RESOURCE_EXHAUSTED instead of the status.
"""
_IMAGES_PATIENCE_S = 2.0
"""Seconds that a call waits for the images, which are read right after the containers."""
_CODES = {code.name: code for code in grpc.StatusCode}

Call = Callable[[bytes, Any], Awaitable[Message | bytes | HeldAnswer]]
"""Takes a request and gRPC's context; answers, or has written its answers to the context."""
Handler = Callable[[bytes, Any], Awaitable[bytes]]


class Boundary(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The CRI services ``runtime.v1`` and ``runtime.v1alpha2`` over one shim.

    Args:
        shim: given to the verbs.
        metrics: counts calls, errors and latencies by method.
        tracing: makes a span of each call; None for no tracing.
    """

    def __init__(self, shim: Shim, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self._shim = shim
        self._metrics = metrics
        self._tracing = tracing
        self._stopping = False
        self.in_flight = 0
        self._drained: anyio.Event | None = None
        self._waiting: set[asyncio.Task[Any] | None] = set()
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}
        for method in all_methods():
            for version in API_VERSIONS:
                path = f"/runtime.{version}.{method.service}/{method.name}"
                self._handlers[path] = self._handler(method, version)

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler | None:
        """grpc's look-up: for None it answers UNIMPLEMENTED."""
        return self._handlers.get(handler_call_details.method)

    def stop_accepting(self) -> None:
        """Answer every further call UNAVAILABLE."""
        self._stopping = True

    async def drain(self) -> None:
        """Return once no call is in flight."""
        while self.in_flight:
            if self._drained is None or self._drained.is_set():
                self._drained = anyio.Event()
            await self._drained.wait()

    def cut_off(self) -> None:
        """Cancel the calls in flight while their callers can still get an answer: a server that
        stops only closes their connections.
        """
        self._stopping = True
        for task in self._waiting:
            if task is not None:
                task.cancel()

    def _handler(self, method: Method, api_version: str) -> grpc.RpcMethodHandler:
        call = self._stream(method) if method.streams else self._unary(method)
        handler = self._guarded(method, self._instant(method, api_version), call)
        if self._tracing is not None:
            handler = _traced(self._tracing, method, handler)
        if method.streams:
            return grpc.unary_stream_rpc_method_handler(handler)
        return grpc.unary_unary_rpc_method_handler(handler)

    def _instant(self, method: Method, api_version: str) -> Callable[[bytes], bytes | None]:
        """What answers without a verb: ready bytes, or None where a request needs the verb."""
        shim = self._shim
        if method.name == "Version":
            return lambda request: version_bytes(
                str(shim.engine.version.get("Version") or "unknown"), api_version
            )
        ready = READY_BYTES.get(method.name)
        if ready is None:
            return lambda request: None
        return lambda request: None if request else ready(shim)

    def _unary(self, method: Method) -> Call:
        shim, verb = self._shim, method.unary

        def call(request: bytes, context: Any) -> Awaitable[Message | bytes | HeldAnswer]:
            if verb is None:
                raise Unimplemented(f"{method.name} is not implemented by this runtime service")
            return verb(shim, _parsed(method, request))

        return call

    def _stream(self, method: Method) -> Call:
        """A call that writes its answers itself, by gRPC's reader and writer API."""
        shim, verb = self._shim, method.streaming

        async def call(request: bytes, context: Any) -> bytes:
            if verb is None:
                raise Unimplemented(f"{method.name} is not implemented by this runtime service")
            async for answer in verb(shim, _parsed(method, request)):
                await context.write(_encoded(answer, context))
            return b""

        return call

    def _guarded(
        self, method: Method, instant: Callable[[bytes], bytes | None], call: Call
    ) -> Handler:
        figures = self._metrics.rpc(method.name)
        name, now, needs = method.name, time.monotonic, method.needs(self._shim.store)

        # Reads come thousands of times a second: what this adds to a call that is answered at once
        # is counted in fractions of a µs.
        async def handler(request: bytes, context: Any) -> bytes:
            started = now()
            code = "OK"
            enter_call(name, started)
            self.in_flight += 1
            figures.begin()
            try:
                if self._stopping:
                    raise Unavailable("the service is stopping")
                for known in needs:
                    if not known.complete:
                        await self._become_known(name, known)
                answer = instant(request)
                if answer is None:
                    task = asyncio.current_task()
                    self._waiting.add(task)
                    try:
                        answer = _encoded(await call(request, context), context)
                    finally:
                        self._waiting.discard(task)
                if len(answer) > MAXIMUM_MESSAGE_BYTES:
                    raise ResourceExhausted(
                        f"the answer of {name} has {len(answer)} bytes, more than"
                        f" {MAXIMUM_MESSAGE_BYTES}; use its Stream form"
                    )
                return answer
            except (Exception, asyncio.CancelledError) as error:
                code, words = self._failure(name, error)
                if words is None:
                    raise
                await context.abort(_CODES[code], bounded_line(words, STATUS_BYTES))
            finally:
                figures.end(now() - started, code)
                self._leave()
            raise AssertionError("abort raises")

        return handler

    async def _become_known(self, name: str, known: Known) -> None:
        """Wait for the images for a moment, and refuse what needs objects that were not read yet.

        Raises:
            Unavailable: with the reason that Status gives.
        """
        health = self._shim.engine.health
        if known is self._shim.store.images_known and health.ready:
            task = asyncio.current_task()
            self._waiting.add(task)
            try:
                with anyio.move_on_after(_IMAGES_PATIENCE_S):
                    await known.wait()
            finally:
                self._waiting.discard(task)
        if not known.complete:
            reason = health.message or "they are being read"
            raise Unavailable(
                f"cannot answer {name}: the node's {known.what} have not been read from Docker"
                f" Engine since the start of this service: {reason}"
            )

    def _failure(self, name: str, error: BaseException) -> tuple[str, str | None]:
        """Code and message for a failed call; None for the message where the client is gone."""
        if isinstance(error, ServiceError):
            _log_failure(self._shim, name, error)
            return error.code, error.message
        if isinstance(error, asyncio.CancelledError):
            # Deadline, disconnect and our own stop look the same here; only in the last case is the
            # client still there.
            return (
                ("UNAVAILABLE", f"the service stopped before {name} ended")
                if self._stopping
                else ("CANCELLED", None)
            )
        _logger.error("%s failed by a defect of this service", name, exc_info=error)
        return (
            "INTERNAL",
            f"{name} failed by a defect of this service ({type(error).__name__}); see its log",
        )

    def _leave(self) -> None:
        self.in_flight -= 1
        if self._drained is not None and self.in_flight == 0:
            self._drained.set()


def _encoded(answer: Message | bytes | HeldAnswer, context: Any) -> bytes:
    if isinstance(answer, bytes):
        return answer
    if isinstance(answer, HeldAnswer):
        # gRPC keeps the content until the client has read it, or is gone.
        context.add_done_callback(lambda _: answer.release())
        return answer.content
    return answer.SerializeToString()


def _parsed(method: Method, request: bytes) -> Message:
    """A request, checked for values that no request may have.

    Raises:
        InvalidArgument: it has one, or is of another type.
    """
    try:
        message: Message = method.request_type.FromString(request)
    except DecodeError as error:
        raise InvalidArgument(
            f"{method.name}: the request is not a {method.request_type.DESCRIPTOR.name}"
        ) from error
    check_values(message, method.name)
    return message


def _traced(tracing: Tracing, method: Method, handler: Handler) -> Handler:
    async def traced(request: bytes, context: Any) -> bytes:
        with tracing.call(method.service, method.name, context.invocation_metadata() or ()) as span:
            try:
                return await handler(request, context)
            finally:
                tracing.end(span, *_status(context))

    return traced


def _status(context: Any) -> tuple[str, int]:
    """Name and number of the status that a call was given; grpc gives either form."""
    code = context.code()
    found = next(
        (one for one in grpc.StatusCode if code in (one, one.value[0])), grpc.StatusCode.OK
    )
    return found.name, int(found.value[0])


def _log_failure(shim: Shim, name: str, error: ServiceError) -> None:
    level = (
        logging.ERROR
        if isinstance(error, Internal)
        else logging.INFO
        if error.code not in ("NOT_FOUND", "UNIMPLEMENTED")
        else logging.DEBUG
    )
    _logger.log(
        level,
        "%s failed: %s",
        name,
        error.message,
        extra={"code": error.code, **subject_fields(shim, error.subject)},
    )
