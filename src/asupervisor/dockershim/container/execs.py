"""How a command inside a container ended, and how to end it: shared by ExecSync and Exec."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from asupervisor.engine.client import EngineClient
from asupervisor.errors import FailedPrecondition, Internal, NotFound, ServiceError
from asupervisor.host.processes import kill_process_tree
from asupervisor.node.records import ContainerId, ContainerRecord
from asupervisor.node.store import Change, NodeStore
from asupervisor.translate.documents import INT32_MAX, text, whole

_logger = logging.getLogger(__name__)
_EXIT_DEADLINE_S = 10.0
_START_DEADLINE_S = 2.0


@contextmanager
def told_of_end(
    store: NodeStore, container: ContainerId, tell: Callable[[], None]
) -> Iterator[None]:
    """Call ``tell`` when a container ends, or has ended already: the engine does not always end the
    streams of a command with its container.

    Args:
        store: what is known of it.
        container: its id.
        tell: called once or more often; it must not wait.
    """

    def listener(change: Change) -> None:
        record = change.after or change.before
        if record is None or record.id != container:
            return
        if not (isinstance(change.after, ContainerRecord) and change.after.running):
            tell()

    forget = store.listen(listener)
    try:
        record = store.containers.get(container)
        if record is None or not record.running:
            tell()
        yield
    finally:
        forget()


def container_ended(container: str) -> FailedPrecondition:
    """The error of a command when it is only known that its container ended."""
    return FailedPrecondition(
        f"container {container[:12]} ended while the command ran in it", subject=container
    )


async def exit_code(engine: EngineClient, exec_id: str) -> int:
    """The exit code of a command whose streams have ended; the engine may close them a moment
    before it records the exit.

    Raises:
        Internal: the engine does not record it.
        NotFound: the exec is gone with its container.
    """
    with anyio.move_on_after(_EXIT_DEADLINE_S):
        pause_s = 0.002
        while True:
            document = await engine.streams.inspect_exec(exec_id)
            code = document.get("ExitCode")
            if not document.get("Running") and isinstance(code, int) and abs(code) <= INT32_MAX:
                return code
            await anyio.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.1)
    raise Internal(f"Docker Engine did not record how exec {exec_id[:12]} ended", subject=exec_id)


async def kill_exec(engine: EngineClient, exec_id: str) -> bool:
    """Kill a command's whole process tree; what cannot be killed is logged. The caller shields it
    and sets its deadline.

    Returns:
        Whether it is known that none of it runs any more.
    """
    try:
        with anyio.move_on_after(_START_DEADLINE_S):
            pause_s = 0.005
            while True:
                document = await engine.streams.inspect_exec(exec_id)
                if not document.get("Running"):
                    return True
                if pid := whole(document, "Pid", low=0, high=INT32_MAX):
                    container = text(document, "ContainerID")
                    await anyio.to_thread.run_sync(kill_process_tree, pid, container)
                    return True
                # It was asked to start and does not run yet: it has to be killed when it does.
                await anyio.sleep(pause_s)
                pause_s = min(pause_s * 2, 0.1)
        _logger.warning(
            "the processes of exec %s could not be killed: Docker Engine does not tell which"
            " they are",
            exec_id[:12],
        )
    except NotFound:
        # It is gone with its container, or a restarted engine forgot it and it runs on.
        return False
    except ServiceError as error:
        _logger.warning("the processes of exec %s could not be killed: %s", exec_id[:12], error)
    return False
