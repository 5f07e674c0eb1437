"""Requests for small pods, and what tests do with them all the time."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from asupervisor.proto import cri
from tests.harness.engine import BUSYBOX_IMAGE
from tests.harness.session import POD_SLICE

SLEEPER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
"""Runs until it is told to end, and ends with 0 then."""


def pod_cgroup(uid: str) -> str:
    """A cgroup parent as kubelet gives it: a path that the cgroupfs driver takes as it is, and the
    systemd driver by its last element.
    """
    return f"/{POD_SLICE}.slice/{POD_SLICE}-test.slice/{POD_SLICE}-test-pod{uid}.slice"


def pod_config(
    name: str, attempt: int = 0, log_directory: Path | None = None, **changes: Any
) -> cri.PodSandboxConfig:
    """A sandbox named ``default/<name>``."""
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=name, namespace="default", uid=f"uid-{name}", attempt=attempt
        ),
        labels={"app": name},
        annotations={"note": "kept as given"},
        log_directory=str(log_directory or ""),
        **changes,
    )


def container_config(
    name: str = "main", command: tuple[str, ...] = SLEEPER, **changes: Any
) -> cri.ContainerConfig:
    """A busybox container."""
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name),
        image=cri.ImageSpec(image=BUSYBOX_IMAGE),
        command=command,
        **changes,
    )


async def until_nothing(left: Callable[[], list[Any]], timeout_s: float = 20.0) -> None:
    """Wait until ``left()`` gives an empty list; else fail with what it gives."""
    with contextlib.suppress(AssertionError):
        await until(lambda: not left(), "nothing is left", timeout_s)
    remaining = left()
    assert not remaining, f"left behind: {remaining}"


async def until(
    condition: Callable[[], Any], what: str = "what the test waits for", timeout_s: float = 60.0
) -> Any:
    """Wait in an event loop until ``condition()``, a coroutine function or not, is true and return
    what it gave; else fail by name.
    """
    with anyio.move_on_after(timeout_s):
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            await anyio.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s: {what}")
