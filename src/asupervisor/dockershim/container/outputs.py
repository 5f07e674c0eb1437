"""What ExecSync keeps of a command's output: bounded for one call, and for all of them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asupervisor.proto import cri
from asupervisor.proto.wire import varint
from asupervisor.streaming.loop_turns import LoopTurns
from asupervisor.translate.stream_frames import STDERR, STDOUT, StreamFrames, runs

CALL_BYTES = (16 << 20) - 64
"""Most bytes of both streams of one call, so that the whole answer has at most 16 MiB (CRI,
ExecSyncResponse).
"""
ALL_BYTES = 64 << 20
"""Most bytes of all calls in flight, without the :data:`OWN_BYTES` of each."""
OWN_BYTES = 16 * 1024
"""Bytes that each call may have in any case: more than kubelet reads of a probe's output."""
STEPS_PER_ROUND = 4

_CUT_CALL = b"\n[output cut: more than 16 MiB]\n"
_CUT_ALL = b"\n[output cut: the outputs of all commands are more than 64 MiB]\n"
_ROOM_TO_SAY_SO = 2 * max(len(_CUT_CALL), len(_CUT_ALL))


class OutputBudget:
    """The bytes that the calls in flight share, and the turns that they take on the event loop.

    Args:
        limit_bytes: over all calls.
    """

    def __init__(self, limit_bytes: int = ALL_BYTES) -> None:
        self.left = limit_bytes
        """Bytes that no call holds."""
        self.turns = LoopTurns(STEPS_PER_ROUND)

    def take(self, count: int) -> int:
        """Take up to ``count`` bytes; returns how many there were."""
        granted = min(count, self.left)
        self.left -= granted
        return granted

    def give_back(self, count: int) -> None:
        """Return what was taken."""
        self.left += count


@dataclass(frozen=True, slots=True)
class HeldAnswer:
    """An answer that counts until its client has read it.

    Args:
        content: encoded.
        release: called once nothing holds the content any more: the call has ended.
    """

    content: bytes
    release: Callable[[], None]


class Output:
    """The two streams of one command. Output beyond a bound is dropped, and a line at the end of
    its stream says so. Use it as a context manager: leaving it gives the bytes back.

    Args:
        budget: shared with the other calls.
    """

    def __init__(self, budget: OutputBudget) -> None:
        self._budget = budget
        self._frames = StreamFrames()
        self._kept = {STDOUT: bytearray(), STDERR: bytearray()}
        self._cut: set[int] = set()
        self._size = 0
        self._taken = 0

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *error: object) -> None:
        self._kept = {}
        self._budget.give_back(self._taken)
        self._taken = 0

    async def feed(self, data: bytes) -> None:
        """Take in bytes of the engine's stream, a bounded step in each turn."""
        self._frames.feed(data)
        while self._frames.pending:
            await self._budget.turns.take()
            for number, piece in runs(self._frames.take()):
                self._keep(STDERR if number == STDERR else STDOUT, piece)

    def answer(self, exit_code: int) -> bytes:
        """The ExecSyncResponse, encoded: a message would copy the output twice."""
        parts: list[bytes | bytearray] = []
        for number, kept in self._kept.items():  # fields 1 and 2
            if kept:
                parts += (bytes((number << 3 | 2,)) + varint(len(kept)), kept)
        parts.append(cri.ExecSyncResponse(exit_code=exit_code).SerializeToString())
        return b"".join(parts)

    def _keep(self, number: int, piece: bytes) -> None:
        if number in self._cut:
            return
        kept = self._kept[number]
        room = self._room(len(piece))
        if room >= len(piece):
            kept += piece
            self._size += len(piece)
            return
        self._cut.add(number)
        of_call = self._size + room >= CALL_BYTES - _ROOM_TO_SAY_SO
        kept += piece[:room]
        kept += _CUT_CALL if of_call else _CUT_ALL
        self._size += room

    def _room(self, wanted: int) -> int:
        """Bytes, up to ``wanted``, that may be kept; they are taken from the budget."""
        wanted = min(wanted, CALL_BYTES - _ROOM_TO_SAY_SO - self._size)
        beyond_own = max(0, self._size + wanted - OWN_BYTES) - self._taken
        granted = self._budget.take(max(0, beyond_own))
        self._taken += granted
        return wanted - (max(0, beyond_own) - granted)
