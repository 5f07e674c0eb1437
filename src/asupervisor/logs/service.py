"""The service's side of the log pump: runs its process, tells it what to follow, and starts it
again when it ends.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import orjson
from anyio.abc import AnyByteReceiveStream, AnyByteSendStream, TaskStatus

from asupervisor.errors import FailedPrecondition, Unavailable
from asupervisor.host.child_process import ChildProcess

_logger = logging.getLogger(__name__)
_BACKOFF_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
_STEADY_S = 10.0
_END_S = 5.0
_READY_S = 10.0
_REOPEN_DEADLINE_S = 20.0
_MAX_REPLY_BYTES = 8 << 20
_MAX_OUTBOX = 20_000


@dataclass(frozen=True, slots=True)
class LogSource:
    """One container's log, from where and to where.

    Args:
        container_id: the engine's id of it.
        target: absolute path of the CRI log file.
        source: the engine's json-file; empty where its log driver keeps none, and then the engine's
            API is read.
        tty: whether the container has one.
        running: whether it runs; of one that does not, what is still missing is written.
    """

    container_id: str
    target: str
    source: str
    tty: bool
    running: bool


@dataclass(frozen=True, slots=True)
class LogFigures:
    """What one container's log has moved since the pump began to follow it.

    Args:
        written_bytes: to the CRI log file.
        lag_bytes: of the engine's log that are not written yet.
    """

    written_bytes: int
    lag_bytes: int


class _Request:
    """A command that is answered; sent again to the next pump when the one that had it ended."""

    def __init__(self, command: dict[str, Any]) -> None:
        self.command = command
        self.answered = anyio.Event()
        self.error = ""


class LogService:
    """Every container's log in CRI form, kept by a process of its own.

    Args:
        state_directory: for the durable positions; one service at a time uses it.
        log_format: ``cri`` writes files, ``docker`` makes the symbolic links to the engine's files
            that dockershim made. Either leaves alone what the other has begun.
        engine_endpoint: ``unix://…`` or ``tcp://…``, for log drivers that keep no file.
        on_written: told how many more bytes were written to CRI log files.
        on_lag: told how many bytes of all the engine's logs are not written yet.
        on_restart: told when the pump had to be started again.
        on_unreadable: told the id of a container when :meth:`unreadable` has something new to say
            of it.
    """

    def __init__(
        self,
        state_directory: Path,
        *,
        log_format: str = "cri",
        engine_endpoint: str = "",
        on_written: Callable[[int], None] = lambda count: None,
        on_lag: Callable[[float], None] = lambda count: None,
        on_restart: Callable[[], None] = lambda: None,
        on_unreadable: Callable[[str], None] = lambda container_id: None,
    ) -> None:
        self._state_directory = state_directory
        self._format = log_format
        self._endpoint = engine_endpoint
        self._on_written = on_written
        self._on_lag = on_lag
        self._on_restart = on_restart
        self._on_unreadable = on_unreadable
        self._finished: set[str] = set()
        self._followed: dict[str, LogSource] = {}
        self._there: set[str] | None = None
        self._finishing: dict[str, _Request] = {}
        self._requests: dict[int, _Request] = {}
        self._numbers = itertools.count(1)
        self._outbox: deque[bytes] = deque()
        self._wake = anyio.Event()
        self._unreadable: dict[str, str] = {}
        self.figures: dict[str, LogFigures] = {}
        """By container id, a second old at most."""
        self.pid = 0
        """Of the pump; 0 while there is none."""
        self.starts = 0
        """How often a pump was started."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep a pump running until cancelled; then let it write what is there and end it.

        Raises:
            Unavailable: the first one could not be started.
        """
        failures = 0
        while True:
            began = time.monotonic()
            try:
                process = self._spawn()
            except OSError as error:
                if not self.starts:
                    raise Unavailable(f"the log pump could not be started: {error}") from error
                _logger.error("the log pump could not be started: %s", error)
            else:
                self.starts += 1
                if self.starts == 1:
                    task_status.started()
                await self._serve(process)
            failures = 1 if time.monotonic() - began > _STEADY_S else failures + 1
            self._on_restart()
            await anyio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S)) - 1])

    def follow(self, log: LogSource) -> None:
        """Have a container's log written from where it stands until :meth:`finish` or
        :meth:`forget`; repeatable.
        """
        if log.running:
            # It was started again: the answer to an earlier finish is not about this run.
            self._finished.discard(log.container_id)
            self._withdraw(log.container_id)
        if self._there is not None:
            self._there.add(log.container_id)
        if self._followed.get(log.container_id) != log and log.container_id not in self._finished:
            self._followed[log.container_id] = log
            self._tell(self._follow_command(log))

    async def reopen(self, container_id: str) -> None:
        """Write to a new file at the same path from now on (CRI ReopenContainerLog); returns when
        that file is there.

        Raises:
            FailedPrecondition: this log is not being written here; the message says why.
            Unavailable: the pump did not answer in time.
        """
        request = self._ask({"op": "reopen", "container": container_id})
        with anyio.move_on_after(_REOPEN_DEADLINE_S) as deadline:
            await request.answered.wait()
        if deadline.cancelled_caught:
            self._requests.pop(request.command["id"], None)
            raise Unavailable("the log pump does not answer; try again", subject=container_id)
        if request.error:
            raise FailedPrecondition(
                f"the log of container {container_id[:12]} cannot be reopened: {request.error}",
                subject=container_id,
            )

    async def finish(self, container_id: str, timeout_s: float) -> bool:
        """Wait until everything that a container wrote, which no longer runs, is in its log. The
        writing goes on after the time is up.

        Args:
            container_id: nothing happens for one that is not followed.
            timeout_s: how long to wait.

        Returns:
            Whether it is complete.
        """
        log = self._followed.get(container_id)
        if log is None:
            return True
        request = self._finishing.get(container_id)
        if request is None:
            self._followed[container_id] = replace(log, running=False)
            request = self._finishing[container_id] = self._ask(
                {"op": "finish", "container": container_id}
            )
        with anyio.move_on_after(timeout_s) as deadline:
            await request.answered.wait()
        return not deadline.cancelled_caught

    def forget(self, container_id: str) -> None:
        """A container is removed: drop the position of its log; the files are kubelet's."""
        self._followed.pop(container_id, None)
        self._finished.discard(container_id)
        self._withdraw(container_id)
        self._unreadable.pop(container_id, None)
        self.figures.pop(container_id, None)
        if self._there is not None:
            self._there.discard(container_id)
        self._tell({"op": "forget", "container": container_id})

    def retain(self, container_ids: Collection[str]) -> None:
        """Forget every container but these."""
        self._there = set(container_ids)
        for container_id in [known for known in self._followed if known not in container_ids]:
            self.forget(container_id)
        self._tell({"op": "retain", "containers": list(container_ids)})

    def unreadable(self, container_id: str) -> str:
        """Why the engine cannot give a container's log, as it says; empty when it can."""
        return self._unreadable.get(container_id, "")

    def _follow_command(self, log: LogSource) -> dict[str, Any]:
        return {
            "op": "follow",
            "container": log.container_id,
            "source": log.source,
            "target": log.target,
            "tty": log.tty,
            "running": log.running,
            "format": self._format,
            "endpoint": self._endpoint,
        }

    def _tell(self, command: dict[str, Any]) -> None:
        if self.pid:
            if len(self._outbox) >= _MAX_OUTBOX:
                # The pump does not read: kill it; the next one gets everything that it needs.
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
                self._outbox.clear()
            self._outbox.append(orjson.dumps(command) + b"\n")
            self._wake.set()

    def _ask(self, command: dict[str, Any]) -> _Request:
        """Send a command that is answered; a pump that is started meanwhile gets it again."""
        number = next(self._numbers)
        request = self._requests[number] = _Request({**command, "id": number})
        self._tell(request.command)
        return request

    def _withdraw(self, container_id: str) -> None:
        """Stop waiting for the end of a log; the next pump is not asked for it either."""
        if (request := self._finishing.pop(container_id, None)) is not None:
            self._requests.pop(request.command["id"], None)
            request.answered.set()

    def _spawn(self) -> ChildProcess:
        # The pump must find this very package, however this process found it, and nothing in the
        # directory that it is started in (-P; a relative path would lead there too).
        package = str(Path(__file__).parents[2])
        others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        path = os.pathsep.join((package, *filter(os.path.isabs, others)))
        return ChildProcess(
            [sys.executable, "-P", "-m", "asupervisor.logs.pump", str(self._state_directory)],
            environment={**os.environ, "PYTHONPATH": path},
            stdin=True,
            stdout=True,
        )

    async def _serve(self, process: ChildProcess) -> None:
        """Talk to a pump until it ends, or until cancelled; either way it has ended afterwards."""
        assert process.stdin is not None and process.stdout is not None
        try:
            async with anyio.create_task_group() as tasks:
                self.pid = process.pid
                self._outbox.clear()
                # For what was forgotten while there was no pump, or by a command that no pump
                # carried out. Before everything was listed it is not known what there is.
                if self._there is not None:
                    self._tell({"op": "retain", "containers": list(self._there)})
                for log in self._followed.values():
                    self._tell(self._follow_command(log))
                for request in self._requests.values():
                    self._tell(request.command)
                tasks.start_soon(self._send, process.stdin, name="log pump commands")
                ready = anyio.Event()
                tasks.start_soon(self._watch, ready, name="log pump readiness")
                async for message in _messages(process.stdout):
                    ready.set()
                    self._take(message)
                tasks.cancel_scope.cancel()
        finally:
            self.pid = 0
            with anyio.CancelScope(shield=True):
                code = await _end(process)
        _logger.error("the log pump ended with code %s; starting it again", code)

    async def _watch(self, ready: anyio.Event) -> None:
        """Warn the operator when a pump waits for another one that has its directory."""
        with anyio.move_on_after(_READY_S):
            await ready.wait()
            return
        _logger.warning(
            "the log pump is not ready yet: another process holds %s/lock; no log is written until"
            " it ends",
            self._state_directory,
        )

    async def _send(self, stream: AnyByteSendStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                while self._outbox:
                    await stream.send(self._outbox.popleft())
                self._wake = anyio.Event()
                await self._wake.wait()

    def _take(self, message: dict[str, Any]) -> None:
        kind = message.get("event")
        if kind is None:
            request = self._requests.pop(message["id"], None)
            if request is not None:
                self._answer(request, message.get("error", ""))
        elif kind == "figures":
            for container_id, values in message["containers"].items():
                self._count(container_id, LogFigures(*values))
            self._on_lag(sum(figures.lag_bytes for figures in self.figures.values()))
        elif kind == "unreadable":
            self._unreadable[message["container"]] = message["message"]
            self._on_unreadable(message["container"])
            self._warn(message["container"], f"Docker Engine cannot read it: {message['message']}")
        elif kind == "warning":
            self._warn(message["container"], message["message"])

    def _answer(self, request: _Request, error: str) -> None:
        container_id = request.command["container"]
        if self._finishing.get(container_id) is request:
            del self._finishing[container_id]
            self._followed.pop(container_id, None)
            self._finished.add(container_id)
        request.error = error
        request.answered.set()

    def _count(self, container_id: str, figures: LogFigures) -> None:
        before = self.figures.get(container_id)
        # A pump that was started again counts from 0.
        known = (
            before.written_bytes
            if before is not None and before.written_bytes <= figures.written_bytes
            else 0
        )
        self._on_written(figures.written_bytes - known)
        if container_id in self._followed:
            self.figures[container_id] = figures

    def _warn(self, container_id: str, message: str) -> None:
        _logger.warning(
            "log of container %s: %s",
            container_id[:12] or "?",
            message,
            extra={"container": container_id},
        )


async def _messages(stream: AnyByteReceiveStream) -> AsyncIterator[dict[str, Any]]:
    buffer = b""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while len(buffer) < _MAX_REPLY_BYTES:
            *lines, buffer = (buffer + await stream.receive()).split(b"\n")
            for line in lines:
                yield orjson.loads(line)


async def _end(process: ChildProcess) -> int:
    """Close its input, give it a moment to end, then kill it. Returns its exit code."""
    assert process.stdin is not None
    await process.stdin.aclose()
    with anyio.move_on_after(_END_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
    code = await process.wait()
    await process.aclose()
    return code
