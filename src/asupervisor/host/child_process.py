"""A child process: started by vfork, watched through a pidfd, with pipes to it.

uvloop starts a process by fork and runs Python in the child before it becomes the program. In a
process with threads that can block for ever: a garbage collection in the child finalises gRPC's
objects, whose locks may be held by threads that the child does not have. The event loop then waits
for the child. ``Popen`` uses vfork, and no Python runs in the child."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Mapping, Sequence

import anyio
import anyio.abc
import anyio.lowlevel

_CHUNK_BYTES = 65536
_POLL_S = 0.05


class _Pipe:
    """Our end of a pipe to a child.

    Args:
        pipe: unbuffered; owned from now on.
    """

    def __init__(self, pipe: io.FileIO) -> None:
        os.set_blocking(pipe.fileno(), False)
        self._pipe = pipe

    async def aclose(self) -> None:
        """Close the descriptor; may be called again."""
        self._pipe.close()


class PipeReader(_Pipe, anyio.abc.ByteReceiveStream):
    """The reading end of a child's output."""

    async def receive(self, max_bytes: int = _CHUNK_BYTES) -> bytes:
        """Wait for bytes and return them.

        Raises:
            anyio.EndOfStream: the other end is closed.
        """
        # Other tasks must have their turn, also if the child never stops writing.
        await anyio.lowlevel.checkpoint()
        while (data := self._pipe.read(max_bytes)) is None:
            await anyio.wait_readable(self._pipe)
        if not data:
            raise anyio.EndOfStream
        return data


class PipeWriter(_Pipe, anyio.abc.ByteSendStream):
    """The writing end of a child's input; closing it ends the input."""

    async def send(self, item: bytes) -> None:
        """Write all of it, as fast as the child reads.

        Raises:
            anyio.BrokenResourceError: the child reads no more.
            anyio.ClosedResourceError: this end was closed.
        """
        view = memoryview(item)
        while view:
            if self._pipe.closed:
                raise anyio.ClosedResourceError
            try:
                written = self._pipe.write(view)
            except BrokenPipeError as error:
                raise anyio.BrokenResourceError from error
            if written is None:
                await anyio.wait_writable(self._pipe)
            else:
                view = view[written:]


class ChildProcess:
    """A program in a session of its own. Its starter ends it, waits for it and closes it.

    Args:
        command: the program and its arguments.
        environment: all of its environment; None passes ours.
        stdin: whether it gets input by a pipe; else its input is empty.
        stdout: whether its output comes by a pipe; else the output is lost.
        stderr: whether its errors come by a pipe; else they go where ours go.
        inherited: descriptors that it gets, under the same numbers.

    Attributes:
        stdin, stdout, stderr: our ends of its pipes; None where not asked for.

    Raises:
        OSError: it cannot be executed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        stdin: bool = False,
        stdout: bool = False,
        stderr: bool = False,
        inherited: Sequence[int] = (),
    ) -> None:
        self._process = process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE if stdout else subprocess.DEVNULL,
            stderr=subprocess.PIPE if stderr else None,
            env=environment,
            start_new_session=True,
            pass_fds=inherited,
        )
        self.stdin = PipeWriter(process.stdin) if isinstance(process.stdin, io.FileIO) else None
        self.stdout = PipeReader(process.stdout) if isinstance(process.stdout, io.FileIO) else None
        self.stderr = PipeReader(process.stderr) if isinstance(process.stderr, io.FileIO) else None

    @property
    def pid(self) -> int:
        """Its process id; after :meth:`wait` another process may have it."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for the signal that ended it; None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """SIGTERM; nothing happens when it has ended."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL; nothing happens when it has ended."""
        self._process.kill()

    async def wait(self) -> int:
        """Wait until it has ended. Returns its exit status as :attr:`returncode` has it."""
        try:
            pidfd = os.pidfd_open(self.pid) if self.returncode is None else -1
        except OSError:  # before Linux 5.3, or no descriptor left
            pidfd = -1
        try:
            while (code := self.returncode) is None:
                await (anyio.wait_readable(pidfd) if pidfd >= 0 else anyio.sleep(_POLL_S))
        finally:
            if pidfd >= 0:
                os.close(pidfd)
        return code

    async def aclose(self) -> None:
        """Close our ends of its pipes, when it has ended, or to make it end."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                await stream.aclose()
