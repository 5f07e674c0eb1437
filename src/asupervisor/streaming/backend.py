"""What a streaming session needs of a container runtime."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Protocol

import anyio.abc

from asupervisor.streaming.requests import AttachRequest, ExecRequest


class Output(Enum):
    """The stream of a process that bytes came from; with a terminal all come from ``STDOUT``."""

    STDOUT = 1
    STDERR = 2


class Process(Protocol):
    """A command that runs, or a container that was attached to."""

    async def receive(self) -> tuple[Output, bytes]:
        """The next output, never empty. While it is not called, the process has to wait with its
        output.

        Raises:
            anyio.EndOfStream: the process has closed its output, or ended.
            ServiceError: the connection to the runtime is gone.
        """
        ...

    async def send(self, data: bytes) -> None:
        """Write to its stdin; waits while the process does not read.

        Raises:
            anyio.BrokenResourceError: nothing reads its stdin any more.
        """
        ...

    async def send_eof(self) -> None:
        """Close its stdin, if the runtime can."""
        ...

    async def resize(self, width: int, height: int) -> None:
        """Size its terminal, in characters; a process that has ended ignores it.

        Raises:
            ServiceError: the runtime refuses.
        """
        ...

    async def wait(self) -> int:
        """Its exit code, once its output has ended; 0 for an attachment.

        Raises:
            ServiceError: the runtime cannot tell.
        """
        ...

    async def kill(self) -> None:
        """End the command and every process that it started; for an attachment do nothing. Called
        when the client is gone.
        """
        ...


class Backend(Protocol):
    """Starts what sessions serve."""

    def exec(self, request: ExecRequest) -> AbstractAsyncContextManager[Process]:
        """Start a command, for as long as the context lasts; afterwards nothing of its streams is
        left.

        Raises:
            ServiceError: on entering: the container is gone or not running, or has no such
                command.
        """
        ...

    def attach(self, request: AttachRequest) -> AbstractAsyncContextManager[Process]:
        """Join a container's streams, from now on; the container goes on after the context.

        Raises:
            ServiceError: on entering: the container is gone or not running.
        """
        ...

    async def port_forward(self, pod_sandbox_id: str, port: int) -> anyio.abc.ByteStream:
        """Connect to a port on the loopback of a sandbox's network; the caller closes the
        connection.

        Raises:
            ServiceError: the sandbox is gone or not ready, or nothing listens on the port.
            anyio.BrokenResourceError: the connection was made, and broke at once.
        """
        ...
