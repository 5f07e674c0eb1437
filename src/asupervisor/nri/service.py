"""Starts the plugins of a directory, and lets others connect to a socket.

The rest of NRI is imported only with the first plugin. A problem with a plugin, or with the socket,
is a line in the log, and does not end the service."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from asupervisor.config import NriConfig
from asupervisor.errors import AlreadyExists, FailedPrecondition, ServiceError
from asupervisor.host.child_process import ChildProcess
from asupervisor.listening import accept

if TYPE_CHECKING:
    from asupervisor.nri.registry import Registry

_logger = logging.getLogger(__name__)
_MOST_CONNECTIONS = 64
_CONFIGURATION_BYTES = 1 << 20
_END_S = 2.0


class NriService:
    """Starts plugins, takes their connections, and ends them.

    Args:
        config: the settings.
        registry: gives the registry that plugins join; called when the first one comes.
        known: waits until it is known what runs on the node.
        hold: holds up the creation of objects until the function that it returns is called: when
            the started plugins have joined.
    """

    def __init__(
        self,
        config: NriConfig,
        registry: Callable[[], Registry],
        known: Callable[[], Awaitable[None]],
        hold: Callable[[], Callable[[], None]],
    ) -> None:
        self._config = config
        self._registry = registry
        self._known = known
        self._hold = hold
        self._starting = 0
        self._release: Callable[[], None] = _nothing
        self._connections = 0

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Start plugins and take connections until cancelled."""
        config = self._config
        started = await anyio.to_thread.run_sync(_programs, Path(config.plugin_path))
        listener: socket.socket | None = None
        if not config.disable_connections:
            try:
                listener = await anyio.to_thread.run_sync(_listen, Path(config.socket_path))
            except ServiceError as error:
                _logger.warning("NRI plugins cannot connect: %s", error)
        self._starting = len(started)
        self._release = self._hold() if started else _nothing
        task_status.started()
        try:
            async with anyio.create_task_group() as tasks:
                for program in started:
                    tasks.start_soon(self._launched, program, name=f"NRI plugin {program.name}")
                if listener is not None:
                    await self._accept(listener, tasks)
        finally:
            if listener is not None:
                listener.close()
                with contextlib.suppress(OSError):
                    os.unlink(config.socket_path)

    async def _accept(self, listener: socket.socket, tasks: TaskGroup) -> None:
        while True:
            peer = await accept(listener, "NRI plugins")
            if self._connections >= _MOST_CONNECTIONS:
                _logger.warning("an NRI plugin is turned away: %d are connected", self._connections)
                peer.close()
                continue
            tasks.start_soon(self._attend, peer, name="NRI plugin")

    async def _attend(
        self,
        peer: socket.socket,
        name: str = "",
        configuration: str = "",
        joined: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve one plugin until its connection ends. An unexpected error ends no other plugin."""
        self._connections += 1
        try:
            await self._converse(peer, name, configuration, joined)
        except Exception:  # raised here, it would end all plugins, and the service
            _logger.exception("a defect of this service ended the connection of an NRI plugin")
        finally:
            peer.close()
            self._connections -= 1

    async def _converse(
        self, peer: socket.socket, name: str, configuration: str, joined: Callable[[], None]
    ) -> None:
        await self._known()
        from asupervisor.nri.plugin import Plugin

        registry = self._registry()
        plugin = Plugin(
            peer,
            registry.unsolicited,
            registration_timeout_s=self._config.registration_timeout_s,
            request_timeout_s=self._config.request_timeout_s,
            name=name,
            configuration=configuration,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(plugin.connection.run)
            try:
                await registry.join(plugin)
                joined()
                await plugin.connection.ended.wait()
            except ServiceError as error:
                _logger.warning("an NRI plugin is not taken: %s", error)
                plugin.connection.close("it is not taken")
            finally:
                plugin.connection.close("the service ends")
                registry.leave(plugin)

    async def _launched(self, program: Path) -> None:
        """Start a plugin of the directory, serve it, and end it."""
        pending = [True]

        def joined() -> None:
            if pending:
                pending.pop()
                self._starting -= 1
                if not self._starting:
                    self._release()

        try:
            await self._run(program, joined)
        finally:
            joined()

    async def _run(self, program: Path, joined: Callable[[], None]) -> None:
        ours, theirs = socket.socketpair()
        index, _, base = program.name.partition("-")
        try:
            configuration = await anyio.to_thread.run_sync(
                _configuration, Path(self._config.plugin_config_path), program.name, base
            )
            process = ChildProcess(
                [str(program)],
                environment={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "NRI_PLUGIN_NAME": base,
                    "NRI_PLUGIN_IDX": index,
                    "NRI_PLUGIN_SOCKET": str(theirs.fileno()),
                },
                inherited=(theirs.fileno(),),
            )
        except (OSError, UnicodeDecodeError) as error:
            _logger.warning("NRI plugin %s cannot be started: %s", program, error)
            ours.close()
            return
        finally:
            theirs.close()
        try:
            await self._attend(ours, program.name, configuration, joined)
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)


def _nothing() -> None:
    """For when nothing is held up."""


async def _end(process: ChildProcess) -> None:
    process.terminate()
    with anyio.move_on_after(_END_S):
        await process.wait()
    process.kill()
    await process.wait()
    await process.aclose()


def _programs(directory: Path) -> list[Path]:
    """The plugins of a directory, in the order of their names."""
    try:
        entries = sorted(directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        _logger.warning("NRI plugins of %s cannot be started: %s", directory, error)
        return []
    found = []
    for entry in entries:
        try:
            status = entry.stat()
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o111:
            continue
        index, dash, base = entry.name.partition("-")
        if not (dash and base and len(index) == 2 and index.isascii() and index.isdigit()):
            _logger.warning(
                "%s is not started: an NRI plugin is named by two digits, a dash and its name",
                entry,
            )
            continue
        found.append(entry)
    return found


def _configuration(directory: Path, name: str, base: str) -> str:
    for candidate in (directory / f"{name}.conf", directory / f"{base}.conf"):
        try:
            with candidate.open("rb") as file:
                content = file.read(_CONFIGURATION_BYTES + 1)
        except FileNotFoundError:
            continue
        if len(content) > _CONFIGURATION_BYTES:
            raise OSError(f"{candidate} is longer than {_CONFIGURATION_BYTES} bytes")
        return content.decode()
    return ""


def _listen(path: Path) -> socket.socket:
    """Listen on a socket, in a directory that only root may enter; a stale socket is removed.

    Raises:
        AlreadyExists: another process listens there.
        FailedPrecondition: it cannot be bound.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale(path)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        listener.setblocking(False)
    except BaseException as error:
        listener.close()
        if not isinstance(error, OSError):
            raise
        raise FailedPrecondition(
            f"the socket {path} cannot be bound: {error}; --nri-socket-path names another, and"
            " --nri-disable-connections does without"
        ) from error
    return listener


def _remove_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.settimeout(1.0)
        try:
            other.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise AlreadyExists(
        f"another runtime listens on {path}; --nri-socket-path names another socket",
        subject=str(path),
    )
