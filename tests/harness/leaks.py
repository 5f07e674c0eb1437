"""What a test left behind on the node: containers, network namespaces, mounts, processes,
descriptors, tasks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path

import anyio
import grpc.aio

from tests.harness.engine import Engine, eventually
from tests.harness.pods import until_nothing

PATIENCE_S = 5.0
"""For what ends by itself just after the test."""


@cache
def _warm_up() -> None:
    """What stays open for the life of a process, is opened before anything is compared."""
    # grpc.aio opens a pair of sockets with its first object and closes it after its last, whenever
    # that is collected: hold a reference. It takes the thread's event loop, of which there is none
    # once any other has run here.
    asyncio.set_event_loop(asyncio.new_event_loop())
    grpc.aio.init_grpc_aio()
    anyio.run(anyio.sleep, 0, backend_options={"use_uvloop": True})


def descriptors() -> set[str]:
    """This process' open files and sockets, without the event loops' own eventfds and timers."""
    found = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:
            continue
        if not target.startswith("anon_inode:"):
            found.add(f"{entry} {target}")
    return found


def network_namespaces() -> set[str]:
    """Network namespaces that a mount holds, as the engine and CNI keep a pod's; one that a process
    holds goes with its container.
    """
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {f"{line.split()[3]} {line.split()[4]}" for line in lines if " - nsfs " in line}


def children() -> set[int]:
    """Processes that this one started and that still run, but for engines, whose fixtures end
    them.
    """
    while True:
        try:
            text = "".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
            break
        except (FileNotFoundError, ProcessLookupError):
            pass  # a thread ended, and another has its children now
    return {int(pid) for pid in text.split() if _name(pid) != "dockerd"}


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@contextmanager
def nothing_left(engine: Engine | None) -> Iterator[None]:
    """Fail when the body leaves something behind that was not there before it.

    Args:
        engine: whose containers are looked at; None where the body brings its own engine and takes
            it away.
    """
    _warm_up()
    before = (descriptors(), network_namespaces(), children())
    known = {container["Id"] for container in engine.containers()} if engine is not None else set()
    try:
        yield
        if engine is not None:
            left = [
                container["Names"]
                for container in engine.containers()
                if container["Id"] not in known
            ]
            assert left == [], "containers were left behind"
        for what, earlier, now in zip(
            ("descriptors", "network namespaces", "child processes"),
            before,
            (descriptors, network_namespaces, children),
            strict=True,
        ):
            try:
                eventually(lambda now=now, earlier=earlier: not now() - earlier, what, PATIENCE_S)  # type: ignore[misc]
            except AssertionError:
                raise AssertionError(f"{what} were left behind: {now() - earlier}") from None  # type: ignore[operator]
    finally:
        if engine is not None and engine.process is not None:
            for container in engine.containers():
                if container["Id"] not in known:
                    engine.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """Fail when the body leaves a task of this event loop behind."""
    before = asyncio.all_tasks()
    yield
    await until_nothing(lambda: list(asyncio.all_tasks() - before), PATIENCE_S)
