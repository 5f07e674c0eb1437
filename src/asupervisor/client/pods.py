"""One pod: removed completely, or an error says what is left."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from asupervisor.client.containers import OUTPUT_BYTES, STOP_STAGE_ANNOTATION, Container
from asupervisor.client.values import Completed, ContainerInfo, PodInfo, State, noted_number
from asupervisor.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    RollbackFailed,
    ServiceError,
)

if TYPE_CHECKING:
    from asupervisor.client.client import Client
    from asupervisor.client.logs import LogLine
    from asupervisor.client.manifest.life import Life
    from asupervisor.client.tunnel import PortStream, Tunnel
    from asupervisor.streaming.client import RemoteCommand

_logger = logging.getLogger("asupervisor.client")
CLEANUP_S = 60.0
"""Longest time, in seconds, that a removal may take."""


class Pod:
    """A pod of any CRI server.

    What is asked of a container, as in ``pod.wait()``, goes to :attr:`main`; the others are in
    :attr:`containers`.

    Attributes:
        info: as it was when it was made or found; :meth:`status` asks again.
        containers: by name, the newest attempt of each.
    """

    def __init__(
        self,
        client: Client,
        info: PodInfo,
        containers: Iterable[Container],
        log_directory: str = "",
        main: str = "",
    ) -> None:
        self._client = client
        self._log_directory = log_directory
        self._main = main
        self.life: Life | None = None
        self.info = info
        self.containers: dict[str, Container] = {each.name: each for each in containers}

    @property
    def id(self) -> str:
        """The id of its sandbox."""
        return self.info.id

    @property
    def name(self) -> str:
        """Its name, without the namespace."""
        return self.info.name

    @property
    def main(self) -> Container:
        """Its first container; init containers do not count in a pod that this client made.

        Raises:
            NotFound: it has none.
        """
        if not self.containers:
            raise NotFound(f'pod "{self.name}" has no container', subject=self.id)
        return self.containers.get(self._main) or next(iter(self.containers.values()))

    async def status(self) -> PodInfo:
        """How it is now, with its addresses."""
        return PodInfo.of((await self._client.runtime.pod_sandbox_status(self.id)).status)

    async def wait(self, timeout_s: float | None = None) -> ContainerInfo:
        """:meth:`Container.wait` of the main container."""
        return await self.main.wait(timeout_s)

    async def wait_over(self) -> list[ContainerInfo]:
        """Wait until its containers have ended, and return how they ended. If this client restarts
        them, it waits until none will be started again; sidecars do not count.
        """
        if self.life is not None and self.life.keeps:
            return await self.life.wait_over()
        return [await each.wait() for each in self.containers.values()]

    def logs(
        self, *, follow: bool = False, tail: int | None = None
    ) -> AsyncGenerator[LogLine, None]:
        """:meth:`Container.logs` of the main container."""
        return self.main.logs(follow=follow, tail=tail)

    async def exec(
        self,
        command: Sequence[str],
        *,
        input: bytes | str | None = None,
        timeout_s: float | None = None,
        limit_bytes: int = OUTPUT_BYTES,
    ) -> Completed:
        """:meth:`Container.exec` in the main container."""
        return await self.main.exec(
            command, input=input, timeout_s=timeout_s, limit_bytes=limit_bytes
        )

    def open(
        self, command: Sequence[str], *, stdin: bool = True, terminal: bool = False
    ) -> AbstractAsyncContextManager[RemoteCommand]:
        """:meth:`Container.open` in the main container."""
        return self.main.open(command, stdin=stdin, terminal=terminal)

    async def put(self, source: Path | str | bytes, target: str) -> None:
        """:meth:`Container.put` into the main container."""
        await self.main.put(source, target)

    async def get(
        self, source: str, target: Path | str, *, limit_bytes: int = 1 << 30
    ) -> tuple[str, ...]:
        """:meth:`Container.get` out of the main container."""
        return await self.main.get(source, target, limit_bytes=limit_bytes)

    @asynccontextmanager
    async def tunnel(
        self, ports: Sequence[int] = (), *, websocket: bool = False
    ) -> AsyncIterator[Tunnel]:
        """A way to its ports, for many connections.

        Args:
            ports: that will be used, for servers that want to know them beforehand.
            websocket: SPDY inside a WebSocket, instead of SPDY alone.
        """
        from asupervisor.client.tunnel import open_tunnel

        url = await self._client.runtime.port_forward(self.id, ports)
        async with open_tunnel(url, websocket) as tunnel:
            yield tunnel

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[PortStream]:
        """One connection to a port, as an anyio byte stream."""
        async with self.tunnel([port]) as tunnel, tunnel.connect(port) as stream:
            yield stream

    @asynccontextmanager
    async def forward(self, port: int, local_port: int = 0) -> AsyncIterator[int]:
        """A port of this machine's loopback that leads to a port of the pod while the block runs;
        gives its number.
        """
        async with self.tunnel([port]) as tunnel:
            yield await tunnel.listen(port, local_port)

    async def stop(self, grace_s: int | None = None) -> None:
        """Stop it: the containers get their stop signal at the same time, then the sidecars one
        after the other, then the sandbox is stopped.

        Args:
            grace_s: seconds before SIGKILL; None: what its manifest says, else 30.
        """
        if self.life is not None:
            self.life.closing.set()
        stages: dict[int, list[ContainerInfo]] = {}
        for each in await self._client.containers(pod_id=self.id):
            if each.state is State.RUNNING:
                stage = noted_number(each.annotations, STOP_STAGE_ANNOTATION, 0)
                stages.setdefault(stage, []).append(each)
        failures: list[ServiceError] = []

        async def stop(info: ContainerInfo) -> None:
            try:
                await self._client.container(info).stop(grace_s)
            except ServiceError as error:
                failures.append(error)

        for _, running in sorted(stages.items()):
            async with anyio.create_task_group() as tasks:
                for each in running:
                    tasks.start_soon(stop, each)
        if failures:
            raise failures[0]
        await self._client.runtime.stop_pod_sandbox(self.id)

    async def remove(self) -> None:
        """Remove it with its containers, also running ones; if it is gone already, that is a
        success.

        If this client made it, its log directory is removed too.
        """
        if self.life is not None:
            self.life.closing.set()
        await self._client.runtime.stop_pod_sandbox(self.id)
        await self._client.runtime.remove_pod_sandbox(self.id)
        volumes = self._client.volume_directory(self.info.uid)
        await remove_directories(volumes, self._log_directory)


@asynccontextmanager
async def pod_block(
    pod: Pod, deadline_s: float | None, *, keep: bool = False
) -> AsyncIterator[Pod]:
    """Remove the pod when the block is left, however that happens.

    Args:
        pod: to be removed.
        deadline_s: of the block in seconds; None for none.
        keep: stop it only.

    Raises:
        DeadlineExceeded: the block took longer; it was cancelled.
        RollbackFailed: the pod could not be removed.
    """
    failure: BaseException | None = None
    try:
        with anyio.move_on_after(deadline_s) as scope:
            yield pod
        if scope.cancelled_caught:
            raise DeadlineExceeded(
                f'pod "{pod.name}" had {deadline_s:g} s, which are over', subject=pod.id
            )
    except BaseException as error:
        failure = error
        raise
    finally:
        leftovers: tuple[str, ...] = ()
        with anyio.move_on_after(CLEANUP_S, shield=True) as cleanup:
            try:
                await (pod.stop(0) if keep else pod.remove())
            except ServiceError as error:
                leftovers = (f'pod "{pod.name}" ({pod.id}) is left: {error}',)
        if cleanup.cancelled_caught:
            leftovers = (f'pod "{pod.name}" ({pod.id}) is left: no answer in {CLEANUP_S:g} s',)
        say_leftovers(failure, leftovers, pod.id)


def say_leftovers(error: BaseException | None, leftovers: tuple[str, ...], subject: str) -> None:
    """Raise an error that names what is left; a cancellation goes on, and the log names it."""
    if not leftovers:
        return
    if error is None or isinstance(error, Exception):
        first = error if error is not None else Internal("the block itself ended well")
        raise RollbackFailed(first, leftovers=leftovers, subject=subject) from error
    for leftover in leftovers:
        _logger.error("%s", leftover)
        error.add_note(leftover)


async def remove_directories(volumes: str, logs: str) -> None:
    """Remove what was made for a pod on this node.

    Args:
        volumes, logs: its directories; empty for none.
    """
    if volumes and await anyio.Path(volumes).is_dir():
        from asupervisor.client.manifest.layout import remove_layout

        await anyio.to_thread.run_sync(remove_layout, volumes)
    if logs:
        await anyio.to_thread.run_sync(_remove_directory, logs)


def _remove_directory(path: str) -> None:
    from asupervisor.host.beneath import remove_tree

    try:
        remove_tree(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise FailedPrecondition(f"{path} cannot be removed: {error}", subject=path) from error
