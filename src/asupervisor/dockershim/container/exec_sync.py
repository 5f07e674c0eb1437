"""ExecSync."""

from __future__ import annotations

from contextlib import ExitStack

import anyio

from asupervisor.dockershim.container.execs import (
    container_ended,
    exit_code,
    kill_exec,
    told_of_end,
)
from asupervisor.dockershim.container.outputs import HeldAnswer, Output
from asupervisor.dockershim.preconditions import wrong_state
from asupervisor.dockershim.shim import Shim
from asupervisor.errors import DeadlineExceeded, InvalidArgument
from asupervisor.node.records import ContainerId
from asupervisor.proto import cri

_KILL_DEADLINE_S = 10.0
_LAST_OUTPUT_S = 10.0
"""Seconds for which the output of a command is still read after its container has ended."""


async def exec_sync(shim: Shim, request: cri.ExecSyncRequest) -> HeldAnswer:
    """Run a command to its end in a running container.

    All of its output is read; how much is kept is in ``outputs.py``. After ``timeout`` seconds (0:
    none), or when the caller goes away, the command's whole process tree is killed.

    Returns:
        The ExecSyncResponse, encoded, and what gives back its share of what all may keep.

    Raises:
        NotFound: no such container.
        FailedPrecondition: it does not run, or it ended while the command ran in it.
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
        raise wrong_state(record, "a command runs only in a running one")
    exec_id = await shim.engine.streams.create_exec(record.id, list(request.cmd))
    with ExitStack() as held:
        output = held.enter_context(Output(shim.outputs))
        code = await _run(shim, request, record.id, exec_id, output)
        return HeldAnswer(output.answer(code), held.pop_all().close)


async def _run(
    shim: Shim, request: cri.ExecSyncRequest, container: ContainerId, exec_id: str, output: Output
) -> int:
    """Start the exec and read it to its end, or kill it. Returns its exit code."""
    finished = killed = ended = False
    scope = anyio.move_on_after(request.timeout or None)

    def container_has_ended() -> None:
        nonlocal ended
        ended = True
        scope.deadline = min(scope.deadline, anyio.current_time() + _LAST_OUTPUT_S)

    try:
        with scope, told_of_end(shim.store, container, container_has_ended):
            async with shim.engine.streams.exec_output(exec_id) as response:
                async for chunk in response.content.iter_any():
                    await output.feed(chunk)
            code = await exit_code(shim.engine, exec_id)
            finished = True
    finally:
        if not finished:
            with anyio.move_on_after(_KILL_DEADLINE_S, shield=True):
                killed = await kill_exec(shim.engine, exec_id)
    if scope.cancelled_caught:
        if ended:  # and the command with it
            raise container_ended(container)
        if not killed:
            # kubelet counts a timeout against the container; while the engine hangs it is not
            # known whether the command runs.
            shim.engine.health.require(
                f"tell how {request.cmd[0]} in container {container[:12]} ended", container
            )
        end = "was killed" if killed else "could not be killed"
        raise DeadlineExceeded(
            f"the command {request.cmd[0]} in container {container[:12]} did not end within"
            f" {request.timeout} s and {end}",
            subject=container,
        )
    return code
