"""Processes of pods that the engine does not know any more.

An engine with ``live-restore`` that comes back with another image store, storage driver or data
root lists none of the containers that it had, while their processes run on. Such a container counts
as running: it is not reported as stopped or removed, and its network is not released. The kernel
shows it: the name of its cgroup has the container's id."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from pathlib import Path

import anyio.to_thread

from asupervisor.engine.client import EngineClient
from asupervisor.errors import FailedPrecondition, NotFound
from asupervisor.host.atomic import write_file
from asupervisor.host.beneath import UnsafePath, read_followed
from asupervisor.host.processes import container_processes
from asupervisor.translate.documents import text
from asupervisor.translate.names import is_container_id

_logger = logging.getLogger(__name__)
_LONGEST_BYTES = 64 << 10


class Orphans:
    """Looks for such processes, and remembers where the engine kept its containers.

    Args:
        root: the service's root directory; ``<root>/engine-store`` holds where the engine keeps
            containers and where it kept them before.
        engine: asked whether it has a container after all.
        proc: where procfs is mounted.
    """

    def __init__(self, root: Path, engine: EngineClient, proc: str = "/proc") -> None:
        self._proc = proc
        self._engine = engine
        self._path = root / "engine-store"
        self._now = self._before = ""
        self._told: frozenset[str] = frozenset()

    async def note(self) -> None:
        """Remember where the engine keeps containers, and say so when that has changed."""
        info = self._engine.info
        driver, root = text(info, "Driver"), text(info, "DockerRootDir")
        now = f"{driver} in {root}" if driver and root else ""
        if now in ("", self._now):
            return
        try:
            await anyio.to_thread.run_sync(self._remember, now)
        except OSError as error:
            _logger.warning("%s cannot be read or written: %s", self._path, error)

    def _remember(self, now: str) -> None:
        known, before = _read(self._path)
        if known and known != now:
            _logger.warning(
                "Docker Engine keeps its containers elsewhere than before: %s, not %s; pods that"
                " run from there are out of its reach until it is started with the earlier storage"
                " driver (image store) and data root again",
                now,
                known,
            )
            before = known
        if known != now:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_file(self._path, json.dumps({"now": now, "before": before}).encode())
        self._now, self._before = now, before

    async def require_ended(self, any_id: str) -> None:
        """See that nothing runs of a sandbox or container that the engine does not have.

        Args:
            any_id: its whole id; with a part of an id nothing is looked for.

        Raises:
            FailedPrecondition: a process of it runs; it names the process and what to do.
            Unavailable: one does, and the engine cannot be asked whose it is.
        """
        if not is_container_id(any_id):
            return
        found = await self._processes({any_id})
        if any_id not in found:
            return
        try:
            await self._engine.containers.inspect(any_id)
        except NotFound as error:
            raise FailedPrecondition(
                f"{any_id[:12]} is not on Docker Engine, but its process {found[any_id][0]} runs;"
                f" {self._remedy}",
                subject=any_id,
            ) from error
        # The engine has it, and it is not a pod's: this service does not stop or remove it.

    async def living(self, ids: Collection[str]) -> frozenset[str]:
        """Which of the sandboxes that the engine does not have still run; each is logged once.

        Args:
            ids: theirs.
        """
        wanted = {any_id for any_id in ids if is_container_id(any_id)}
        found = await self._processes(wanted) if wanted else {}
        for any_id in sorted(found.keys() - self._told):
            _logger.warning(
                "sandbox %s is not on Docker Engine, but its process %d runs, so it keeps its"
                " network; %s",
                any_id[:12],
                found[any_id][0],
                self._remedy,
            )
        self._told = frozenset(found)
        return self._told

    async def _processes(self, ids: set[str]) -> dict[str, list[int]]:
        return await anyio.to_thread.run_sync(container_processes, ids, self._proc)

    @property
    def _remedy(self) -> str:
        where = (
            f"the engine has its containers as {self._now} now, and had them as {self._before}:"
            " start it with that again and remove the pod there"
            if self._before
            else "start the engine with the storage driver (image store) and data root under which"
            " it was made and remove it there"
        )
        return f"{where}, or end the processes of the pod's cgroup yourself"


def last_store(root: str) -> str:
    """Where the engine kept its containers when the service saw it last; empty where unknown.

    Args:
        root: the service's root directory.

    Raises:
        OSError: it cannot be read.
    """
    return _read(Path(root) / "engine-store")[0]


def _read(path: Path) -> tuple[str, str]:
    """Where the engine keeps containers and kept them before; empty for what is not known."""
    try:
        document = json.loads(read_followed(str(path), _LONGEST_BYTES))
    except (FileNotFoundError, UnsafePath, ValueError, RecursionError):
        return "", ""
    return text(document, "now"), text(document, "before")
