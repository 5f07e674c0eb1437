"""One plugin's socket: calls to it, and calls from it.

A peer that reads nothing, sends nothing or sends too much loses only its own connection. A message
is sent whole or the connection ends, and each send has a deadline. A few calls of the peer are
served at once, and further ones refused. What nobody asked for (calls that are refused this way,
answers to no call, bytes for no connection) is counted: a peer that sends too much of it in a
minute loses its connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup
from google.protobuf.message import DecodeError, Message

from asupervisor.background_tasks import cancel_when
from asupervisor.nri.mux import PLUGIN_CONNECTION, RUNTIME_CONNECTION, Demultiplexer, frames
from asupervisor.nri.ttrpc import (
    INVALID_ARGUMENT,
    OK,
    RESOURCE_EXHAUSTED,
    UNKNOWN,
    Answer,
    Call,
    ProtocolError,
    Receiver,
    TooLong,
    encode_answer,
    encode_call,
)

_logger = logging.getLogger(__name__)
_READ_BYTES = 1 << 16
_CALLS_AT_ONCE = 4
_UNASKED_IN_A_MINUTE = 1000
"""Messages, or pieces of bytes, that nobody asked for."""
_WORDS = 2048
"""Characters of an error, a peer's or ours, that are passed on: ours may quote what it sent."""

R = TypeVar("R", bound=Message)
Serve = Callable[[str, str, bytes], Awaitable[bytes]]
"""Answers a call of the peer's: service, method and encoded request to an encoded response; raises
:class:`Refused`."""


class Refused(Exception):
    """A call was answered with an error, by the peer or by this side.

    Args:
        code: gRPC's.
        message: in words.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Lost(Exception):
    """The connection ended, or was ended because the peer broke its deadline or the protocol."""


class Connection:
    """A socket to one peer.

    Args:
        peer: connected; closed by this.
        serve: answers what the peer calls.
        calls_on, serves_on: numbers of the multiplexer's connections; swapped in a plugin.
        send_deadline_s: seconds within which the peer takes what is sent.

    Attributes:
        ended: set once the connection cannot be used any more.
        reason: why.
    """

    def __init__(
        self,
        peer: socket.socket,
        serve: Serve,
        *,
        calls_on: int = PLUGIN_CONNECTION,
        serves_on: int = RUNTIME_CONNECTION,
        send_deadline_s: float = 2.0,
    ) -> None:
        peer.setblocking(False)
        self._peer = peer
        self._serve = serve
        self._calls_on = calls_on
        self._serves_on = serves_on
        self._send_deadline_s = send_deadline_s
        self._sending = anyio.Lock()
        self._stream = -1
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._serving = 0
        self._unasked, self._minute = 0, 0
        self.ended = anyio.Event()
        self.reason = ""

    async def run(self) -> None:
        """Read until the connection ends; :attr:`reason` says why."""
        async with anyio.create_task_group() as tasks:
            try:
                await self._read(tasks)
            except (OSError, ProtocolError) as error:
                self.close(str(error))
            finally:
                self.close("it closed the connection")
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    # A task that is sending gets an error by this; only then close the descriptor,
                    # whose number another file may get.
                    with contextlib.suppress(OSError):
                        self._peer.shutdown(socket.SHUT_RDWR)
                    async with self._sending:
                        self._peer.close()

    async def _read(self, tasks: TaskGroup) -> None:
        ends = Demultiplexer()
        receivers = {self._calls_on: Receiver(serves=False), self._serves_on: Receiver(serves=True)}
        loop = asyncio.get_running_loop()
        tasks.start_soon(cancel_when, self.ended, tasks.cancel_scope)
        while data := await loop.sock_recv(self._peer, _READ_BYTES):
            # sock_recv does not pause if bytes are there: other tasks must have their turn in a
            # flood.
            await anyio.lowlevel.checkpoint()
            for connection, piece in ends.receive(data):
                if (receiver := receivers.get(connection)) is None:
                    self._count_unasked()
                    continue
                for message in receiver.receive(piece):
                    await self._take(message, tasks)

    def _count_unasked(self) -> None:
        if (minute := int(anyio.current_time() // 60)) != self._minute:
            self._unasked, self._minute = 0, minute
        self._unasked += 1
        if self._unasked > _UNASKED_IN_A_MINUTE:
            raise ProtocolError("it floods the connection with what nobody asked for")

    async def _take(self, message: Call | Answer, tasks: TaskGroup) -> None:
        if isinstance(message, Answer):
            waiting = self._waiting.pop(message.stream, None)
            if waiting is None:
                self._count_unasked()
            elif not waiting.done():
                waiting.set_result(message)
        elif self._serving >= _CALLS_AT_ONCE:
            self._count_unasked()
            words = f"{_CALLS_AT_ONCE} calls are under way already"
            await self._send(
                self._serves_on, encode_answer(message.stream, b"", RESOURCE_EXHAUSTED, words)
            )
        else:
            self._serving += 1
            tasks.start_soon(self._answer, message)

    async def _answer(self, call: Call) -> None:
        try:
            try:
                answer = encode_answer(
                    call.stream, await self._serve(call.service, call.method, call.payload)
                )
            except Refused as error:
                answer = encode_answer(call.stream, b"", error.code, error.message[:_WORDS])
            except DecodeError as error:
                answer = encode_answer(call.stream, b"", INVALID_ARGUMENT, str(error))
            except TooLong as error:
                answer = encode_answer(call.stream, b"", RESOURCE_EXHAUSTED, str(error))
            except Exception:  # a peer that is not answered would wait until its deadline
                _logger.exception("a defect of this service in the answer to %s", call.method)
                answer = encode_answer(call.stream, b"", UNKNOWN, "internal error")
            await self._send(self._serves_on, answer)
        except Lost:
            pass
        finally:
            self._serving -= 1

    async def _send(self, connection: int, message: bytes) -> None:
        """Send a message whole.

        Raises:
            Lost: the connection has ended, or ends by this.
        """
        data = frames(connection, message)
        with anyio.move_on_after(self._send_deadline_s):
            async with self._sending:
                if self.ended.is_set():
                    raise Lost(self.reason)
                try:
                    await asyncio.get_running_loop().sock_sendall(self._peer, data)
                except OSError as error:
                    self.close(str(error))
                    raise Lost(self.reason) from error
                except BaseException:
                    # A part of it may be sent, so no other message could follow.
                    self.close("it does not take what is sent in time")
                    raise
                return
        self.close("it does not take what is sent in time")
        raise Lost(self.reason)

    async def call(
        self, service: str, method: str, request: Message, response: type[R], timeout_s: float
    ) -> R:
        """Call the peer.

        Args:
            service, method: what is called.
            request: its argument.
            response: the class of the answer.
            timeout_s: seconds; a peer that does not answer within them loses its connection.

        Raises:
            Refused: it answers with an error.
            TooLong: the request is too long; nothing was sent.
            Lost: the connection has ended, or ends by this.
        """
        if self.ended.is_set():
            raise Lost(self.reason)
        self._stream += 2
        stream = self._stream
        message = encode_call(stream, service, method, request.SerializeToString(), timeout_s)
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = waiting
        try:
            with anyio.fail_after(timeout_s):
                await self._send(self._calls_on, message)
                answer = await waiting
        except TimeoutError:
            self.close(f"it does not answer {method} within {timeout_s:g} s")
            raise Lost(self.reason) from None
        finally:
            self._waiting.pop(stream, None)
            if waiting.done() and not waiting.cancelled():
                waiting.exception()  # so that asyncio does not report it as unseen
        if answer.code != OK:
            raise Refused(answer.code, answer.message[:_WORDS])
        try:
            return response.FromString(answer.payload)
        except DecodeError as error:
            self.close(f"its answer to {method} is not a {response.DESCRIPTOR.name}")
            raise Lost(self.reason) from error

    def close(self, reason: str) -> None:
        """End the connection; the first reason counts."""
        if self.ended.is_set():
            return
        self.reason = reason
        self.ended.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Lost(reason))
        self._waiting.clear()
