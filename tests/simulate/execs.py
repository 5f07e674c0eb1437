"""Commands in containers and the engine's streams of them, with all that goes wrong there."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulate.engine import Box


@dataclass(eq=False)
class Exec:
    """One command: it says a word in two pieces, repeats its input, and ends.

    Args:
        id: the engine's.
        box: where it runs.
        word: what it says.
        seconds: how long that takes.
        code: with which it ends by itself.
        reads: whether it has an input.
    """

    id: str
    box: Box
    word: str
    seconds: float
    code: int
    reads: bool
    pid: int = 0
    running: bool = False
    exit_code: int | None = None
    wrote: bytes = b""
    withheld: bool = False
    """Whether the engine kept some of that to itself."""
    task: asyncio.Task[None] | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its stream has ended."""

    def document(self) -> dict[str, Any]:
        """``GET /exec/{id}/json``."""
        return {
            "ID": self.id,
            "Running": self.running,
            "ExitCode": self.exit_code,
            "Pid": self.pid if self.running else 0,
            "ContainerID": self.box.id,
        }


class Execs:
    """The commands of an engine.

    Args:
        rng: draws.
        throw: notes a fault.
        released: gives the event that lets go what hangs.
    """

    def __init__(
        self,
        rng: random.Random,
        throw: Callable[[str], None],
        released: Callable[[], asyncio.Event],
    ) -> None:
        self._rng = rng
        self._throw = throw
        self._released = released
        self.faults = 0.0
        """How often a stream is cut, hangs, or does not end with its command."""
        self.known: dict[str, Exec] = {}
        self.said: dict[str, Exec] = {}
        """Every command that there ever was, by its word."""
        self.streams: list[Any] = []
        """The transports of all streams."""
        self._pid = 300_000_000
        self._closing: Any = None

    def create(self, box: Box, body: dict[str, Any]) -> Exec:
        """``POST /containers/{id}/exec``; the command is ``say WORD SECONDS CODE``."""
        _, word, seconds, code = body["Cmd"]
        exec_id = f"{self._rng.getrandbits(256):064x}"
        reads = bool(body.get("AttachStdin"))
        made = Exec(exec_id, box, word, float(seconds), int(code), reads)
        self.known[exec_id] = self.said[word] = made
        return made

    def forget(self) -> None:
        """The engine is another process: it knows no exec of before."""
        self.known.clear()

    def kill(self, pid: int) -> int:
        """SIGKILL; how many were."""
        for one in self.known.values():
            if one.running and one.pid == pid:
                self._end(one, 137)
                return 1
        return 0

    def box_ended(self, box: Box) -> None:
        """A container's end is that of its commands."""
        for one in self.said.values():
            if one.box is box and one.running:
                self._end(one, 137)

    def start(self, command: Exec, transport: Any, reader: asyncio.StreamReader | None) -> None:
        """Run a command, its output on a transport.

        Args:
            reader: of its input, where it has one.
        """
        self._pid += 1
        command.pid, command.running = self._pid, True
        self.streams = [one for one in self.streams if not one.is_closing()]
        self.streams.append(transport)
        run = self._run(command, transport, reader)
        command.task = asyncio.ensure_future(run)  # a command outlives the request that started it

    def attach(self, box: Box, transport: Any) -> None:
        """A container's own streams: it says one thing and is silent."""
        self.streams.append(transport)
        transport.write(frame(1, box.name.encode()))

    async def _run(
        self, command: Exec, transport: Any, reader: asyncio.StreamReader | None
    ) -> None:
        fault, released = "", self._released()
        if self._rng.random() < self.faults:
            fault = self._rng.choice(("cut", "hung", "endless", "late"))
            self._throw(f"stream of {command.word[:9]}: {fault}")
        command.withheld = fault == "hung"
        half = len(command.word) // 2
        try:
            for piece in (command.word[:half], command.word[half:]):
                await asyncio.sleep(command.seconds / 2)
                await self._say(command, transport, piece.encode(), fault)
                if fault == "cut":
                    transport.cut()
            with suppress(ConnectionError):
                while command.reads and reader is not None and (data := await reader.read(1000)):
                    await self._say(command, transport, data, fault)
            await asyncio.sleep(self._rng.uniform(0.0, 0.02))
            self._end(command, command.code)
        finally:
            if fault in ("hung", "endless"):
                close = self._close_after(released, command, transport)
                self._closing = asyncio.ensure_future(close)  # the stream outlives its command here
            else:
                transport.close()
                command.over.set()

    async def _say(self, command: Exec, transport: Any, data: bytes, fault: str) -> None:
        if fault == "late":
            await asyncio.sleep(self._rng.uniform(0.1, 8.0))
        command.wrote += data
        if fault != "hung":
            whole = frame(1, data)
            at = self._rng.randrange(1, len(whole))
            transport.write(whole[:at])
            transport.write(whole[at:])

    async def _close_after(self, released: asyncio.Event, command: Exec, transport: Any) -> None:
        await released.wait()
        transport.close()
        command.over.set()

    def _end(self, command: Exec, code: int) -> None:
        if command.running:
            command.running, command.exit_code = False, code
            if command.task is not None and command.task is not asyncio.current_task():
                command.task.cancel()


def frame(stream: int, data: bytes) -> bytes:
    """One piece of output without a terminal."""
    return struct.pack(">BxxxI", stream, len(data)) + data
