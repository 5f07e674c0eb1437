"""``--runtime-cgroups``: the engine's daemon and this service run in a cgroup that the operator
names, to be limited and counted there.

A restarted daemon starts in its own cgroup again. So this looks every minute, as dockershim did."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from asupervisor.engine.endpoint import daemon_process
from asupervisor.errors import ConfigError

_logger = logging.getLogger(__name__)
_EVERY_S = 60.0
_MOUNTS = Path("/sys/fs/cgroup")


def hierarchies(mounts: Path = _MOUNTS) -> list[Path]:
    """Roots of the mounted cgroup hierarchies: one, or one for each v1 controller."""
    if (mounts / "cgroup.controllers").exists():
        return [mounts]
    return sorted(
        entry
        for entry in mounts.iterdir()
        if (entry / "cgroup.procs").exists() and not entry.is_symlink()
    )


def enter_cgroup(name: str, pids: tuple[int, ...], mounts: Path = _MOUNTS) -> None:
    """Make a cgroup in every hierarchy and move processes into it.

    Args:
        name: absolute, as ``/system.slice/docker.service`` or ``/runtime``.
        pids: in our pid namespace; one that is gone is ignored.
        mounts: where the hierarchies are mounted.

    Raises:
        ConfigError: the cgroup cannot be made or entered.
    """
    for root in hierarchies(mounts):
        group = root / name.strip("/")
        try:
            group.mkdir(parents=True, exist_ok=True)
            for knob in ("cpuset.cpus", "cpuset.mems"):
                # A new cpuset of v1 has neither processors nor memory, and no process can enter it.
                own = group / knob
                if (
                    own.exists()
                    and not own.read_text().strip()
                    and not (root / "cgroup.controllers").exists()
                ):
                    own.write_text((group.parent / knob).read_text())
            for pid in pids:
                try:
                    (group / "cgroup.procs").write_text(str(pid))
                except ProcessLookupError:
                    continue
        except OSError as error:
            raise ConfigError(f"--runtime-cgroups: {group} cannot be used: {error}") from error


async def keep_in_cgroup(
    name: str, endpoint: str, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Keep the daemon behind ``endpoint`` and this process in a cgroup until cancelled.

    Raises:
        ConfigError: it cannot be done the first time; later failures are logged.
    """
    first = known = True
    while True:
        daemon = await anyio.to_thread.run_sync(daemon_process, endpoint)
        pids = (os.getpid(),) if daemon is None else (os.getpid(), daemon)
        if daemon is None and known:
            _logger.warning(
                "--runtime-cgroups: which process is the dockerd that serves %s cannot be told; it"
                " stays in its cgroup",
                endpoint,
            )
        known = daemon is not None
        try:
            await anyio.to_thread.run_sync(partial(enter_cgroup, name, pids))
        except ConfigError as error:
            if first:
                raise
            _logger.warning("%s", error)
        if first:
            task_status.started()
        first = False
        await anyio.sleep(_EVERY_S)
