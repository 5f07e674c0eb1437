"""Runs one program to its end: with input from memory, bounded output, a deadline, and no process
left behind.

An asyncio subprocess costs 10 ms of the loop's time under uvloop and 2 to 4 ms otherwise; a plain
``Popen`` (which uses ``vfork``) watched through a pidfd costs half a millisecond. A pod needs four
or more programs, so that decides."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio
import anyio.to_thread

from asupervisor.errors import DeadlineExceeded, FailedPrecondition, Internal, ResourceExhausted
from asupervisor.host.atomic import write_all

OUTPUT_LIMIT_BYTES = 4 << 20
"""More than this on stdout or stderr is not an answer; the program is killed."""

_CHUNK_BYTES = 65536
_REAP_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended.

    Args:
        returncode: its exit status; negative is the number of the signal that ended it.
        stdout: what it wrote there, at most :data:`OUTPUT_LIMIT_BYTES`.
        stderr: likewise.
    """

    returncode: int
    stdout: bytes
    stderr: bytes


async def run_program(
    command: Sequence[str],
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    deadline_s: float,
) -> Finished:
    """Run a program in a session and process group of its own and wait for its end, not for that of
    its descendants.

    Cancellation and the deadline kill the whole process group and wait until the program is reaped.

    Args:
        command: absolute path of the program, then its arguments.
        stdin: all of its input.
        environment: all of its environment; None passes ours.
        deadline_s: seconds that it may take.

    Raises:
        ResourceExhausted: we have no file descriptors left for it.
        FailedPrecondition: it cannot be executed (missing, no permission, not a program).
        DeadlineExceeded: it did not end in time and was killed.
        Internal: it wrote more than :data:`OUTPUT_LIMIT_BYTES` and was killed.
    """
    source, outputs = -1, list[_Output]()
    try:
        try:
            source = _memory(stdin)
            for _ in range(2):
                outputs.append(_Output())
        except OSError as error:  # too many open files
            raise ResourceExhausted(
                f"cannot execute {command[0]}: {error.strerror}", subject=command[0]
            ) from error
        process = _start(command, source, outputs, environment)
        for output in outputs:
            output.close_write_end()
        try:
            with anyio.fail_after(deadline_s):
                await _until_exit(process, outputs)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"{command[0]} did not end within {deadline_s:g} s and was killed{_said(outputs)}",
                subject=command[0],
            ) from error
        finally:
            await _reap(process)
        for output in outputs:
            output.drain()
        if any(output.overflowed for output in outputs):
            raise Internal(
                f"{command[0]} wrote more than {OUTPUT_LIMIT_BYTES} bytes", subject=command[0]
            )
        return Finished(process.returncode, bytes(outputs[0].data), bytes(outputs[1].data))
    finally:
        if source >= 0:
            os.close(source)
        for output in outputs:
            output.close()


def _start(
    command: Sequence[str],
    source: int,
    outputs: Sequence[_Output],
    environment: Mapping[str, str] | None,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=source,
            stdout=outputs[0].write_end,
            stderr=outputs[1].write_end,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise FailedPrecondition(
            f"cannot execute {command[0]}: {error.strerror}", subject=command[0]
        ) from error


class _Output:
    """The reading end of a pipe, collected without blocking."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_end, False)
        self.data = bytearray()
        self.overflowed = False

    def drain(self) -> bool:
        """Read what is there; False once the end is reached or the limit passed."""
        while True:
            try:
                chunk = os.read(self.read_end, _CHUNK_BYTES)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            self.data += chunk
            if len(self.data) > OUTPUT_LIMIT_BYTES:
                self.overflowed = True
                return False

    def close_write_end(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        self.close_write_end()
        os.close(self.read_end)


async def _until_exit(process: subprocess.Popen[bytes], outputs: Sequence[_Output]) -> None:
    """Return when the program has ended, even if descendants run on, or has written too much."""
    loop = asyncio.get_running_loop()
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:  # before Linux 5.3, or no descriptor left
        await _until_exit_by_polling(process, outputs)
        return
    done = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    def read(output: _Output) -> None:
        if not output.drain():
            loop.remove_reader(output.read_end)
            if output.overflowed:
                finish()

    loop.add_reader(pidfd, finish)
    for output in outputs:
        loop.add_reader(output.read_end, read, output)
    try:
        await done
    finally:
        loop.remove_reader(pidfd)
        for output in outputs:
            loop.remove_reader(output.read_end)
        os.close(pidfd)


async def _until_exit_by_polling(
    process: subprocess.Popen[bytes], outputs: Sequence[_Output]
) -> None:
    while process.poll() is None:
        for output in outputs:
            output.drain()
        if any(output.overflowed for output in outputs):
            return
        await anyio.sleep(0.002)


async def _reap(process: subprocess.Popen[bytes]) -> None:
    """Kill the group of a program that still runs, and collect its exit status."""
    if process.poll() is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    with anyio.move_on_after(_REAP_DEADLINE_S, shield=True):
        # SIGKILL takes effect at once, unless the program hangs in the kernel; then a thread
        # goes on waiting for it.
        await anyio.to_thread.run_sync(process.wait, abandon_on_cancel=True)


def _memory(data: bytes) -> int:
    """A file in memory, to be read from its start. Unlike a pipe it takes any size at once, and has
    no other end that could be closed.
    """
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        write_all(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _said(outputs: Sequence[_Output]) -> str:
    for output in outputs:
        output.drain()
    words = bytes(outputs[1].data[-400:] or outputs[0].data[-400:]).decode(errors="replace").strip()
    return f"; it said: {words}" if words else ""
