"""ExecSync."""

from __future__ import annotations

import logging
import struct

import anyio

from asupervisor.dockershim.shim import Shim
from asupervisor.engine.processes import kill_process_tree
from asupervisor.errors import DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, NotFound, ServiceError
from asupervisor.proto import cri

_logger = logging.getLogger("asupervisor.dockershim.container")
_LIMIT_BYTES = 16 << 20
_HEADER = struct.Struct(">BxxxL")
_CUT = b"\n[output cut: more than 16 MiB]\n"
_EXIT_DEADLINE_S = 10.0


class _Output:
    """The two streams of an exec, out of the engine's multiplexed frames, up to the limit; what is beyond is read and dropped."""

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
        room = _LIMIT_BYTES - len(kept) - len(_CUT)
        if len(piece) > room and not self.cut[number]:
            self.cut[number] = True
            kept += piece[: max(0, room)] + _CUT
        elif not self.cut[number]:
            kept += piece


async def exec_sync(shim: Shim, request: cri.ExecSyncRequest) -> cri.ExecSyncResponse:
    """Run a command to its end in a running container.

    Past ``timeout`` seconds (0: none), or when the caller goes away, the command's whole process tree is killed.

    Raises:
        NotFound: no such container.
        FailedPrecondition: it does not run.
        DeadlineExceeded: past the timeout.
    """
    record = shim.store.container(request.container_id)
    if not request.cmd:
        raise InvalidArgument(f"container {record.id[:12]}: the command of ExecSync is empty", subject=record.id)
    if request.timeout < 0:
        raise InvalidArgument(f"container {record.id[:12]}: the timeout of ExecSync is negative", subject=record.id)
    if not record.running:
        state = cri.ContainerState.Name(record.status.state)
        raise FailedPrecondition(f"container {record.id[:12]} is in state {state}; a command runs only in a running one", subject=record.id)
    body = {"Cmd": list(request.cmd), "AttachStdout": True, "AttachStderr": True, "Tty": False}
    exec_id = await shim.engine.containers.create_exec(record.id, body)
    output = _Output()
    finished = False
    try:
        with anyio.move_on_after(request.timeout or None) as scope:
            async with shim.engine.containers.start_exec(exec_id) as response:
                async for chunk in response.content.iter_any():
                    output.feed(chunk)
            code = await _exit_code(shim, exec_id)
            finished = True
    finally:
        if not finished:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + _EXIT_DEADLINE_S):
                await _kill(shim, exec_id)
    if scope.cancelled_caught:
        raise DeadlineExceeded(
            f"the command {request.cmd[0]} in container {record.id[:12]} did not end within {request.timeout} s and was killed",
            operation="ExecSync",
            subject=record.id,
        )
    return cri.ExecSyncResponse(stdout=bytes(output.streams[1]), stderr=bytes(output.streams[2]), exit_code=code)


async def _exit_code(shim: Shim, exec_id: str) -> int:
    """The engine may close the streams a moment before it records the exit."""
    with anyio.move_on_after(_EXIT_DEADLINE_S):
        pause_s = 0.002
        while True:
            document = await shim.engine.containers.inspect_exec(exec_id)
            if not document.get("Running") and document.get("ExitCode") is not None:
                return int(document["ExitCode"])
            await anyio.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.1)
    raise Internal(f"Docker Engine did not record how exec {exec_id[:12]} ended", operation="ExecSync", subject=exec_id)


async def _kill(shim: Shim, exec_id: str) -> None:
    try:
        document = await shim.engine.containers.inspect_exec(exec_id)
        if document.get("Running") and document.get("Pid"):
            await anyio.to_thread.run_sync(kill_process_tree, int(document["Pid"]))
    except NotFound:
        return
    except ServiceError as error:
        _logger.warning("the processes of exec %s could not be killed: %s", exec_id[:12], error)
