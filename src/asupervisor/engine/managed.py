"""The managed engine: a ``dockerd`` that the service runs as a child process, with its own socket,
data root, bridge and containerd namespace.

It runs with ``--live-restore``: containers live through the end of the engine and of this service,
and the next engine takes them up again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc

from asupervisor.conditions import Reason
from asupervisor.engine.bridge import ensure_bridge
from asupervisor.engine.daemon_log import log_output
from asupervisor.engine.endpoint import find_daemon
from asupervisor.errors import FailedPrecondition
from asupervisor.host.atomic import write_file
from asupervisor.host.child_process import ChildProcess
from asupervisor.oci import RUNTIME
from asupervisor.translate.documents import mapping

_logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 30.0
"""dockerd gets this long after SIGTERM."""
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_STABLE_S = 60.0
"""An engine that ran this long did not fail at its start: the next restart is prompt again."""
_LAST_OUTPUT_S = 1.0
_POLL_S = 0.05


class ManagedEngine:
    """One ``dockerd`` and what is its own.

    Args:
        root: the service's root directory; the engine's files are in ``<root>/engine``;
            ``<root>/engine/daemon.json`` is its configuration file, which an operator may edit.
        wrapper: path of the OCI runtime for what plugins want (:mod:`asupervisor.oci`), which is
            added to that file; empty for none.

    Attributes:
        endpoint: where it listens.
        restarts: how often it was started again.
        pid: its process id while it runs.
    """

    def __init__(self, root: Path, wrapper: str = "") -> None:
        self._wrapper = wrapper
        self.directory = root.absolute() / "engine"
        tag = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:8]
        self.bridge = f"asv{tag}"
        # Not below the root directory: its content is of no use after a boot, when /run is empty.
        self.exec_root = Path(f"/run/asupervisor/{tag}")
        # A containerd of the system, where there is one, is used by every dockerd: a namespace of
        # its own keeps them apart.
        self.containerd_namespace = f"asv-{tag}"
        self.socket = self.directory / "docker.sock"
        self.endpoint = f"unix://{self.socket}"
        self.pid: int | None = None
        self.restarts = 0
        self._answered = False

    @property
    def starting(self) -> tuple[Reason, str] | None:
        """What to say of it while it has not answered since it was started; None once it has."""
        return None if self._answered else self.diagnose(self.endpoint)

    def answered(self) -> None:
        """The process that runs now is up: it answers."""
        self._answered = True

    def diagnose(self, endpoint: str) -> tuple[Reason, str]:
        """Why no process listens yet: a reason, and what to do, which is to wait."""
        words = f"(process {self.pid}) was started and does not answer on {self.socket} yet"
        if self.pid is None:
            words = (
                f"ended and is started again ({self.restarts} times so far); its output is in this"
                " service's log"
            )
        return Reason.ENGINE_STARTING, f"the service's own dockerd {words}"

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep it running until cancelled, then stop it within :data:`STOP_DEADLINE_S`.

        It counts as started with the first child process; the probe finds out whether it answers.

        Raises:
            FailedPrecondition: there is no dockerd, or nothing can be made for it on this machine.
        """
        command = await anyio.to_thread.run_sync(self._prepare)
        await self._end_predecessor()
        backoff_s = _FIRST_BACKOFF_S
        while True:
            began = time.monotonic()
            code = await self._run_once(command, task_status)
            task_status = anyio.TASK_STATUS_IGNORED
            if time.monotonic() - began > _STABLE_S:
                backoff_s = _FIRST_BACKOFF_S
            _logger.error(
                "the managed dockerd ended %s; it is started again in %g s",
                _ending(code),
                backoff_s,
            )
            await anyio.sleep(backoff_s)
            backoff_s = min(_LONGEST_BACKOFF_S, backoff_s * 2)
            self.restarts += 1

    async def _run_once(self, command: list[str], task_status: anyio.abc.TaskStatus[None]) -> int:
        # A session of its own: Ctrl-C on our terminal is for us, and dockerd is stopped last.
        process = ChildProcess(command, stderr=True)
        self.pid = process.pid
        self._answered = False
        _logger.info(
            "dockerd runs as process %d with its data in %s", process.pid, self.directory / "data"
        )
        try:
            async with anyio.create_task_group() as tasks:
                assert process.stderr is not None
                tasks.start_soon(log_output, process.stderr)
                task_status.started()
                code = await process.wait()
                # Its last output may still come, but children that outlive it may hold the pipe
                # open for ever.
                tasks.cancel_scope.deadline = anyio.current_time() + _LAST_OUTPUT_S
            return code
        finally:
            self.pid = None
            with anyio.CancelScope(shield=True):
                await _end(process)

    def _prepare(self) -> list[str]:
        """The directories, the bridge, and the command line; blocks."""
        dockerd = find_daemon()
        if dockerd is None:
            raise FailedPrecondition(
                "--docker-endpoint managed: dockerd is not installed; install Docker Engine 20.10"
                " or later"
            )
        settings = self.directory / "daemon.json"
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o711)
            self.exec_root.mkdir(parents=True, exist_ok=True, mode=0o711)
            if not settings.exists():
                # Else dockerd reads the configuration of the system's engine.
                write_file(settings, b"{}\n", mode=0o644)
            self._add_wrapper(settings)
        except OSError as error:
            raise FailedPrecondition(
                f"{error.filename} cannot be made for the managed engine: {error.strerror}"
            ) from error
        ensure_bridge(self.bridge)
        return [
            dockerd,
            "--host",
            self.endpoint,
            "--data-root",
            str(self.directory / "data"),
            "--exec-root",
            str(self.exec_root),
            "--pidfile",
            str(self._pid_file),
            "--config-file",
            str(settings),
            "--bridge",
            self.bridge,
            "--containerd-namespace",
            self.containerd_namespace,
            "--containerd-plugins-namespace",
            f"{self.containerd_namespace}-plugins",
            "--live-restore",
        ]

    def _add_wrapper(self, settings: Path) -> None:
        """In the file, since dockerd refuses runtimes by flag when its file has some."""
        try:
            document = json.loads(settings.read_bytes())
        except ValueError:
            return  # dockerd says what is wrong with it
        runtimes = mapping(document, "runtimes")
        wanted = {**runtimes, RUNTIME: {"path": self._wrapper}}
        if self._wrapper and wanted != runtimes and isinstance(document, dict):
            content = json.dumps({**document, "runtimes": wanted}, indent=2)
            write_file(settings, f"{content}\n".encode(), mode=0o644)

    @property
    def _pid_file(self) -> Path:
        return self.exec_root / "docker.pid"

    async def _end_predecessor(self) -> None:
        """Stop the engine of a service that was killed; its containers live on."""
        pid = await anyio.to_thread.run_sync(self._predecessor)
        if pid is None:
            return
        _logger.warning(
            "an earlier process of this service left its dockerd (%d) behind; it is stopped first",
            pid,
        )
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError), anyio.move_on_after(STOP_DEADLINE_S):
                os.kill(pid, number)
                # Not a child of ours: there is nothing to wait on but its number.
                while await anyio.to_thread.run_sync(self._predecessor) == pid:  # noqa: ASYNC110
                    await anyio.sleep(_POLL_S)
                return

    def _predecessor(self) -> int | None:
        try:
            pid = int(self._pid_file.read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        # By now the number may be another process's.
        return pid if str(self._pid_file).encode() in arguments else None


@asynccontextmanager
async def managed_engine(root: Path, wrapper: str) -> AsyncIterator[ManagedEngine]:
    """Run a managed engine around a scope.

    Args:
        root: the service's root directory.
        wrapper: as :class:`ManagedEngine` has it.

    Raises:
        FailedPrecondition: as :meth:`ManagedEngine.run` does.
    """
    engine = ManagedEngine(root, wrapper)
    async with anyio.create_task_group() as tasks:
        await tasks.start(engine.run, name="managed engine")
        try:
            yield engine
        finally:
            tasks.cancel_scope.cancel()


async def _end(process: ChildProcess) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(STOP_DEADLINE_S):
            await process.wait()
    if process.returncode is None:
        _logger.error(
            "dockerd (%d) did not stop within %g s and is killed", process.pid, STOP_DEADLINE_S
        )
        process.kill()
        await process.wait()
    await process.aclose()


def _ending(code: int) -> str:
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
