"""This process's own terminal and standard streams, joined to a streaming session."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import termios
import tty
from collections.abc import Iterator
from typing import TYPE_CHECKING

import anyio

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.errors import Internal
from asupervisor.host.atomic import write_all
from asupervisor.streaming.peer import PeerStream

if TYPE_CHECKING:
    from asupervisor.streaming.client import RemoteCommand

READ_BYTES = 64 * 1024
_STDIN, _STDOUT, _STDERR = 0, 1, 2


@contextlib.contextmanager
def raw_terminal() -> Iterator[None]:
    """Pass every key on unchanged while the block runs, if standard input is a terminal."""
    if not os.isatty(_STDIN):
        yield
        return
    before = termios.tcgetattr(_STDIN)
    try:
        tty.setraw(_STDIN, termios.TCSADRAIN)  # keeps what was typed ahead
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


async def run_session(
    command: RemoteCommand,
    *,
    has_terminal: bool,
    shows_output: bool = True,
    ended_by: list[int] | None = None,
) -> int:
    """Join stdin, stdout and stderr to a session until it ends.

    Args:
        command: the session.
        has_terminal: whether the remote end has one: then keys are passed on unchanged, and so
            are changes of the window's size.
        shows_output: otherwise it is dropped, since the caller gets it another way.
        ended_by: gets the number of the signal that ended the session here.

    Returns:
        The exit code; 128 plus the signal's number when a signal ended the session here.

    Raises:
        Internal: the session ended without an exit code; the message says why.
    """
    ended_by = [] if ended_by is None else ended_by
    with contextlib.ExitStack() as stack, anyio.CancelScope() as scope:
        if has_terminal:
            stack.enter_context(raw_terminal())
        async with BackgroundTasks() as background:
            background.start_soon(end_on_signal, scope, ended_by)
            if has_terminal:
                background.start_soon(_follow_size, command)
            if command.stdin is not None:
                background.start_soon(_carry_stdin, command.stdin)
            async with anyio.create_task_group() as outputs:
                for stream, descriptor in ((command.stdout, _STDOUT), (command.stderr, _STDERR)):
                    if stream is not None:
                        shown = descriptor if shows_output else None
                        outputs.start_soon(_carry_output, stream, shown)
            status = await command.wait()
    if ended_by:
        return 128 + ended_by[0]
    if status.exit_code is None:
        raise Internal(status.message, operation="stream")
    return status.exit_code


async def _carry_stdin(stream: PeerStream) -> None:
    with contextlib.suppress(anyio.BrokenResourceError):
        # A regular file is always readable, and epoll refuses it.
        waits = not stat.S_ISREG(os.fstat(_STDIN).st_mode)
        while True:
            if waits:
                try:
                    await anyio.wait_readable(_STDIN)
                except OSError:  # such as /dev/null
                    waits = False
            try:
                data = os.read(_STDIN, READ_BYTES)
            except OSError:  # the terminal has gone
                data = b""
            if not data:
                await stream.send_eof()
                return
            await stream.send(data)


async def _carry_output(stream: PeerStream, descriptor: int | None) -> None:
    with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, BrokenPipeError):
        while True:
            data = await stream.receive()
            # In a thread: a reader that does not read this output must not keep keys and pings
            # waiting.
            if descriptor is not None:
                await anyio.to_thread.run_sync(write_all, descriptor, data)


async def _follow_size(command: RemoteCommand) -> None:
    """Tell the size now, and whenever it changes."""
    with anyio.open_signal_receiver(signal.SIGWINCH) as changes:
        await _tell_size(command)
        async for _ in changes:
            await _tell_size(command)


async def _tell_size(command: RemoteCommand) -> None:
    for descriptor in (_STDIN, _STDOUT, _STDERR):
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(descriptor)
            await command.resize(size.columns, size.lines)
            return


async def end_on_signal(scope: anyio.CancelScope, ended_by: list[int]) -> None:
    """End the session in order on a signal, so that the terminal is restored."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP, signal.SIGINT) as signals:
        async for number in signals:
            ended_by.append(number)
            scope.cancel()
            return
