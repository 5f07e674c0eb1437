"""ExecSync."""

from __future__ import annotations

import struct

import anyio

from asupervisor.dockershim.container.execs import exit_code, kill_exec
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from asupervisor.proto import cri

_LIMIT_BYTES = (16 << 20) - 64
"""Of both streams together: with what a message needs besides, the answer is 16 MiB long at most.
"""
_HEADER = struct.Struct(">BxxxL")
_CUT = b"\n[output cut: more than 16 MiB]\n"
_KILL_DEADLINE_S = 10.0


class _Output:
    """The two streams of an exec, out of the engine's multiplexed frames, up to the limit; what is
    beyond is read and dropped.
    """

    def __init__(self) -> None:
        self.streams = {1: bytearray(), 2: bytearray()}
        self.cut = {1: False, 2: False}
        self._stream = 1
        self._left = 0
        self._header = b""

    def feed(self, data: bytes) -> None:
        while data:
            if self._left == 0:
                need = _HEADER.size - len(self._header)
                self._header, data = self._header + data[:need], data[need:]
                if len(self._header) < _HEADER.size:
                    return
                self._stream, self._left = _HEADER.unpack(self._header)
                self._header = b""
                continue
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            self._keep(2 if self._stream == 2 else 1, piece)

    def _keep(self, number: int, piece: bytes) -> None:
        kept = self.streams[number]
        # Each stream has room to say that it was cut.
        room = _LIMIT_BYTES - sum(map(len, self.streams.values())) - 2 * len(_CUT)
        if len(piece) > room and not self.cut[number]:
            self.cut[number] = True
            kept += piece[: max(0, room)] + _CUT
        elif not self.cut[number]:
            kept += piece


async def exec_sync(shim: Shim, request: cri.ExecSyncRequest) -> cri.ExecSyncResponse:
    """Run a command to its end in a running container.

    Past ``timeout`` seconds (0: none), or when the caller goes away, the command's whole process
    tree is killed.

    Raises:
        NotFound: no such container.
        FailedPrecondition: it does not run.
        DeadlineExceeded: past the timeout.
        Unavailable: the engine went away or hangs, so that how the command ended is not known.
    """
    record = shim.store.container(request.container_id)
    if not request.cmd:
        raise InvalidArgument(
            f"container {record.id[:12]}: the command of ExecSync is empty", subject=record.id
        )
    if request.timeout < 0:
        raise InvalidArgument(
            f"container {record.id[:12]}: the timeout of ExecSync is negative", subject=record.id
        )
    if not record.running:
        state = cri.ContainerState.Name(record.status.state)
        raise FailedPrecondition(
            f"container {record.id[:12]} is in state {state}; a command runs only in a running one",
            subject=record.id,
        )
    body = {"Cmd": list(request.cmd), "AttachStdout": True, "AttachStderr": True, "Tty": False}
    exec_id = await shim.engine.containers.create_exec(record.id, body)
    output = _Output()
    finished = killed = False
    try:
        with anyio.move_on_after(request.timeout or None) as scope:
            async with shim.engine.containers.start_exec(exec_id) as response:
                async for chunk in response.content.iter_any():
                    output.feed(chunk)
            code = await exit_code(shim.engine, exec_id)
            finished = True
    finally:
        if not finished:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + _KILL_DEADLINE_S):
                killed = await kill_exec(shim.engine, exec_id)
    if scope.cancelled_caught:
        if not killed:
            # kubelet counts a timeout against the container; while the engine hangs nobody knows
            # how the command fares.
            shim.engine.health.require(
                f"tell how {request.cmd[0]} in container {record.id[:12]} ended", record.id
            )
        raise DeadlineExceeded(
            f"the command {request.cmd[0]} in container {record.id[:12]} did not end within"
            f" {request.timeout} s and was killed",
            operation="ExecSync",
            subject=record.id,
        )
    return cri.ExecSyncResponse(
        stdout=bytes(output.streams[1]), stderr=bytes(output.streams[2]), exit_code=code
    )
