"""The log pump: it moves no line, keeps a book of the logs that it follows and of what it keeps on
the disk for them, and can fail in every way that a process can.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Callable
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from tests.simulate.clock import Life

_PIPE = 64
"""Commands that a pipe holds."""
_FIGURES_S = 1.0


class Pumps:
    """Starts the pumps of a node; one at a time works, as its lock has it.

    Args:
        rng: draws.
        say: writes a line of the trace.
    """

    def __init__(self, rng: random.Random, say: Callable[[str], int]) -> None:
        self.rng = rng
        self.say = say
        self.kept: dict[str, str] = {}
        """What is on the disk of each container: ``position`` or ``done``."""
        self.reopened: dict[str, float] = {}
        """When a container's log was last begun anew."""
        self.dies = self.hangs = self.slow = 0.0
        self.thrown = 0
        self.lock = asyncio.Lock()
        self.living: list[Pump] = []

    def spawn(self, logs: Any) -> Pump:
        """In the place of ``LogService._spawn``."""
        # Without the first one the service does not start, and says so.
        if logs.starts and self.rng.random() < self.dies:
            self.throw("the log pump cannot be started")
            raise OSError(11, "Resource temporarily unavailable")
        pump = Pump(self)
        self.living.append(pump)
        return pump

    def throw(self, words: str) -> None:
        """A fault is about to happen."""
        self.thrown += 1
        self.say(f"fault: {words}")

    @property
    def followed(self) -> dict[str, dict[str, Any]]:
        """What the pump at work follows."""
        return next((pump.followed for pump in self.living if pump.works), {})

    def service_died(self) -> None:
        """The kernel closes a dead process' ends of its pipes."""
        for pump in self.living:
            pump.stdin.close()
            pump.stdout.close()


class Pump:
    """One pump, as :class:`asupervisor.host.child_process.ChildProcess` shows it.

    Args:
        pumps: of its node.
    """

    def __init__(self, pumps: Pumps) -> None:
        self.stdin: MemoryObjectSendStream[bytes]
        self.stdout: MemoryObjectReceiveStream[bytes]
        self._commands: MemoryObjectReceiveStream[bytes]
        self._replies: MemoryObjectSendStream[bytes]
        self.stdin, self._commands = anyio.create_memory_object_stream[bytes](_PIPE)
        self._replies, self.stdout = anyio.create_memory_object_stream[bytes](math.inf)
        self._pumps = pumps
        self.pid = 200_000_000  # above every pid: a signal to it reaches nobody
        self.returncode: int | None = None
        self.works = False
        self.followed: dict[str, dict[str, Any]] = {}
        self._finishing: dict[str, int] = {}
        self._ended = asyncio.Event()
        self._answers: set[asyncio.Task[None]] = set()
        life = Life("pump")
        loop: Any = asyncio.get_running_loop()
        self._runs = loop.create_task(self._run(), name="pump", context=life.context)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(-9)

    async def wait(self) -> int:
        """Wait until it has ended."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def aclose(self) -> None:
        """Close the service's ends."""
        self.stdin.close()
        self.stdout.close()

    def _end(self, code: int) -> None:
        if self.returncode is None:
            self.returncode = code
            for task in (self._runs, *self._answers):
                task.cancel()
            self._commands.close()
            self._replies.close()
            self._pumps.living.remove(self)
            self.works = False
            self._ended.set()

    async def _run(self) -> None:
        pumps, rng = self._pumps, self._pumps.rng
        try:
            async with pumps.lock:
                self.works = True
                self._send({"event": "ready"})
                self._later(self._figures())
                buffer = b""
                async for data in self._commands:
                    *lines, buffer = (buffer + data).split(b"\n")
                    for line in lines:
                        roll = rng.random()
                        if roll < pumps.dies:
                            pumps.throw("the log pump dies")
                            return self._end(1)
                        if roll < pumps.dies + pumps.hangs:
                            pumps.throw("the log pump hangs")
                            await asyncio.sleep(rng.uniform(1.0, 40.0))
                        self._take(json.loads(line))
                await asyncio.sleep(rng.uniform(0.0, 1.0))  # its last drain
        finally:
            self._end(0)

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)  # a pump answers later, and reads on meanwhile
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    def _take(self, command: dict[str, Any]) -> None:
        pumps, container = self._pumps, command.get("container", "")
        match command["op"]:
            case "follow":
                if not command["running"] and pumps.kept.get(container) == "done":
                    return
                pumps.kept[container] = "position"
                self.followed.setdefault(container, command)
                if command["running"] and container in self._finishing:
                    # It was started again: nothing waits for its end now.
                    self._send({"id": self._finishing.pop(container)})
                if pumps.rng.random() < pumps.slow:
                    news = {"container": container, "message": "the engine cannot read it"}
                    self._send({"event": "unreadable", **news})
            case "reopen":
                self._later(self._reopen(command["id"], container))
            case "finish":
                self._later(self._finish(command["id"], container))
            case "forget":
                self._forget(container)
            case "retain":
                for known in set(pumps.kept) - set(command["containers"]):
                    self._forget(known)

    def _forget(self, container: str) -> None:
        self.followed.pop(container, None)
        self._pumps.kept.pop(container, None)

    async def _reopen(self, request: int, container: str) -> None:
        await self._time()
        if container not in self.followed:
            self._send({"id": request, "error": "its log is not being written"})
            return
        self._pumps.reopened[container] = asyncio.get_running_loop().time()
        self._send({"id": request})

    async def _finish(self, request: int, container: str) -> None:
        self._finishing[container] = request
        await self._time()
        if self._finishing.get(container) != request:
            return
        del self._finishing[container]
        if self.followed.pop(container, None) is not None:
            self._pumps.kept[container] = "done"
        self._send({"id": request})

    async def _time(self) -> None:
        pumps = self._pumps
        if pumps.rng.random() < pumps.slow:
            pumps.throw("the log pump is late")
            await asyncio.sleep(pumps.rng.uniform(0.5, 30.0))
        await asyncio.sleep(pumps.rng.uniform(0.0001, 0.01))

    async def _figures(self) -> None:
        moved = 0
        while True:
            await asyncio.sleep(_FIGURES_S)
            moved += 100
            if self.followed:
                figures = dict.fromkeys(self.followed, (moved, moved % 7))
                self._send({"event": "figures", "containers": figures})

    def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        cut = self._pumps.rng.randrange(1, len(line))
        try:
            for piece in (line[:cut], line[cut:]):
                self._replies.send_nowait(piece)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._end(1)
