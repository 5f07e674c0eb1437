"""Sandbox checkpoints on disk: ``<root>/sandbox/<sandbox id>``, written aside, synced, renamed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio.to_thread

from asupervisor.errors import FailedPrecondition, Internal
from asupervisor.host.atomic import write_file
from asupervisor.locks import KeyedLock
from asupervisor.translate.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from asupervisor.translate.names import is_container_id

_logger = logging.getLogger(__name__)


_LONGEST_BYTES = 4 << 20


def _read(path: Path) -> bytes:
    with open(path, "rb") as file:
        content = file.read(_LONGEST_BYTES + 1)
    if len(content) > _LONGEST_BYTES:
        raise Internal(
            f"the sandbox checkpoint {path} is longer than {_LONGEST_BYTES} bytes",
            subject=str(path),
        )
    return content


class CheckpointStore:
    """The checkpoints of this node, read once and kept in memory; every change is on disk before
    the call returns.

    Args:
        root: the service's root directory (``/var/lib/cri-dockerd``), shared with the peers.
    """

    def __init__(self, root: Path) -> None:
        self._directory = root / "sandbox"
        self._known: dict[str, Checkpoint] = {}
        self._amending = KeyedLock()
        self.corrupt: dict[str, str] = {}
        """Ids whose file cannot be read, with the reason; they never hold up a stop or a remove."""

    def get(self, sandbox_id: str) -> Checkpoint | None:
        """The checkpoint of a sandbox; None when it has none that can be read."""
        return self._known.get(sandbox_id)

    @property
    def all(self) -> dict[str, Checkpoint]:
        """Every readable checkpoint by sandbox id."""
        return dict(self._known)

    async def load(self) -> None:
        """Read the directory; what cannot be read is logged and remembered as corrupt."""
        await anyio.to_thread.run_sync(self._load)

    def _load(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            names = sorted(entry.name for entry in os.scandir(self._directory) if entry.is_file())
        except OSError as error:
            raise FailedPrecondition(
                f"--root-directory: {self._directory} cannot be used: {error}"
            ) from error
        self._known.clear()
        self.corrupt.clear()
        for name in names:
            path = self._directory / name
            if is_container_id(name.removeprefix(".")) and name.startswith("."):
                path.unlink(missing_ok=True)  # of a write that was cut off
                continue
            if not is_container_id(name):
                _logger.warning("%s is not a checkpoint: its name is not a sandbox's id", path)
                continue
            try:
                self._known[name] = decode_checkpoint(_read(path), str(path))
            except (Internal, OSError) as error:
                self.corrupt[name] = str(error)
                _logger.warning("going on without the checkpoint of sandbox %s: %s", name, error)

    async def write(self, sandbox_id: str, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, durably.

        Raises:
            FailedPrecondition: the disk refuses it.
        """
        await anyio.to_thread.run_sync(self._write, sandbox_id, encode_checkpoint(checkpoint))
        self._known[sandbox_id] = checkpoint
        self.corrupt.pop(sandbox_id, None)

    def _write(self, sandbox_id: str, content: bytes) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            write_file(self._directory / sandbox_id, content)
        except OSError as error:
            if sandbox_id not in self._known:
                # If only the sync of its name failed, the file is there, and nothing would remove
                # it.
                with suppress(OSError):
                    (self._directory / sandbox_id).unlink()
            raise FailedPrecondition(
                f"the checkpoint of sandbox {sandbox_id} cannot be written: {error}",
                subject=sandbox_id,
            ) from error

    async def amend(self, sandbox_id: str, change: Callable[[Checkpoint], Checkpoint]) -> bool:
        """Change a checkpoint, durably. Changes at the same time are made one after the other, so
        none is lost.

        Returns:
            Whether there is one to change.

        Raises:
            FailedPrecondition: the disk refuses it.
        """
        async with self._amending.hold(sandbox_id):
            checkpoint = self._known.get(sandbox_id)
            if checkpoint is None:
                return False
            await self.write(sandbox_id, change(checkpoint))
            return True

    async def remove(self, sandbox_id: str) -> None:
        """Forget a checkpoint, a corrupt one too; it is fine if there is none."""
        async with self._amending.hold(sandbox_id):
            self._known.pop(sandbox_id, None)
            self.corrupt.pop(sandbox_id, None)
            await anyio.to_thread.run_sync(self._remove, sandbox_id)

    async def remove_corrupt(self, sandbox_id: str) -> bool:
        """Forget a checkpoint if it still is one that cannot be read; whether it was.

        Raises:
            FailedPrecondition: the disk refuses it.
        """
        async with self._amending.hold(sandbox_id):
            if sandbox_id not in self.corrupt or sandbox_id in self._known:
                return False
            await anyio.to_thread.run_sync(self._remove, sandbox_id)
            self.corrupt.pop(sandbox_id, None)
            return True

    def _remove(self, sandbox_id: str) -> None:
        try:
            (self._directory / sandbox_id).unlink(missing_ok=True)
        except OSError as error:
            raise FailedPrecondition(
                f"the checkpoint of sandbox {sandbox_id} cannot be removed: {error}",
                subject=sandbox_id,
            ) from error
