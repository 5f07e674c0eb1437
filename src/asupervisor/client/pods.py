"""One pod: made whole or not at all, and removed whole or said to be left."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from asupervisor.client.containers import OUTPUT_BYTES, Container
from asupervisor.client.values import Completed, ContainerInfo, PodInfo, State
from asupervisor.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    RollbackFailed,
    ServiceError,
    Unavailable,
)
from asupervisor.proto import cri

if TYPE_CHECKING:
    from asupervisor.client.client import Client
    from asupervisor.client.logs import LogLine
    from asupervisor.client.plan import PodPlan
    from asupervisor.client.tunnel import PortStream, Tunnel
    from asupervisor.streaming.client import RemoteCommand

_logger = logging.getLogger("asupervisor.client")
CLEANUP_S = 60.0
"""Longest that undoing may take."""
_UID_LABEL = "io.kubernetes.pod.uid"


class Pod:
    """A pod of any CRI server.

    What is asked of a container, as in ``pod.wait()``, goes to :attr:`main`; the others are in
    :attr:`containers`.

    Attributes:
        info: as it was when it was made or found; :meth:`status` asks again.
        containers: by name, of each the newest attempt.
    """

    def __init__(
        self,
        client: Client,
        info: PodInfo,
        containers: Iterable[Container],
        log_directory: str = "",
    ) -> None:
        self._client = client
        self._log_directory = log_directory
        self.info = info
        self.containers: Mapping[str, Container] = {each.name: each for each in containers}

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
        """Its first container.

        Raises:
            NotFound: it has none.
        """
        if not self.containers:
            raise NotFound(f'pod "{self.name}" has no container', subject=self.id)
        return next(iter(self.containers.values()))

    async def status(self) -> PodInfo:
        """How it is now, with its addresses."""
        return PodInfo.of((await self._client.runtime.pod_sandbox_status(self.id)).status)

    async def wait(self, timeout_s: float | None = None) -> ContainerInfo:
        """:meth:`Container.wait` of the main container."""
        return await self.main.wait(timeout_s)

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
            ports: which, where the server wants to know them beforehand.
            websocket: instead of SPDY alone.
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
        """Stop it: its containers get their stop signal all at once, then the sandbox goes.

        Args:
            grace_s: seconds before SIGKILL; None: what its manifest says, else 30.
        """
        running = [
            each
            for each in await self._client.containers(pod_id=self.id)
            if each.state is State.RUNNING
        ]
        failures: list[ServiceError] = []

        async def stop(info: ContainerInfo) -> None:
            try:
                await self._client.container(info).stop(grace_s)
            except ServiceError as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for each in running:
                tasks.start_soon(stop, each)
        if failures:
            raise failures[0]
        await self._client.runtime.stop_pod_sandbox(self.id)

    async def remove(self) -> None:
        """Remove it with its containers, by force where they run; one that is gone is a success.

        Where this client made it, its log directory goes too.
        """
        await self._client.runtime.stop_pod_sandbox(self.id)
        await self._client.runtime.remove_pod_sandbox(self.id)
        if self._log_directory:
            await anyio.to_thread.run_sync(_remove_directory, self._log_directory)


async def start_pod(client: Client, plan: PodPlan, log_root: str) -> Pod:
    """Make and start a pod; what fails, or is cancelled, takes the whole pod with it.

    Args:
        client: of the server.
        plan: what it is to be.
        log_root: directory of pod logs on this node; empty for a pod without logs.

    Raises:
        RollbackFailed: it failed, and what was made could not be removed.
    """
    for container in plan.containers:
        await client.pull(container.config.image.image, policy=container.pull_policy)
    metadata = plan.sandbox.metadata
    if log_root:
        name = f"{metadata.namespace}_{metadata.name}_{metadata.uid}"
        plan.sandbox.log_directory = f"{log_root.rstrip('/')}/{name}"
        await anyio.to_thread.run_sync(_make_log_directories, plan)
    try:
        return await _start(client, plan)
    except BaseException as error:
        await _undo(client, plan, error)
        raise


async def _start(client: Client, plan: PodPlan) -> Pod:
    # Each step is seen to its end, which its own deadline bounds: what a call that was left has
    # made could not be removed, since nobody knows it.
    runtime = client.runtime
    with anyio.CancelScope(shield=True):
        sandbox_id = await runtime.run_pod_sandbox(plan.sandbox, plan.runtime_handler)
    await anyio.lowlevel.checkpoint_if_cancelled()
    for container in plan.containers:
        with anyio.CancelScope(shield=True):
            container_id = await runtime.create_container(
                sandbox_id, container.config, plan.sandbox
            )
            await runtime.start_container(container_id)
        await anyio.lowlevel.checkpoint_if_cancelled()
    return await client.known_pod(sandbox_id, plan.sandbox.log_directory)


async def _undo(client: Client, plan: PodPlan, error: BaseException) -> None:
    """Remove every sandbox of the plan's uid."""
    metadata, leftovers = plan.sandbox.metadata, []
    name = f"{metadata.namespace}/{metadata.name}"
    wanted = cri.PodSandboxFilter(label_selector={_UID_LABEL: metadata.uid})
    with anyio.move_on_after(CLEANUP_S, shield=True) as scope:
        try:
            found = await client.runtime.list_pod_sandbox(wanted)
            for sandbox in found:
                await client.runtime.stop_pod_sandbox(sandbox.id)
                await client.runtime.remove_pod_sandbox(sandbox.id)
            if not found and isinstance(error, DeadlineExceeded | Unavailable):
                leftovers.append(f"the server may still make pod {name}: it did not answer")
            if plan.sandbox.log_directory:
                await anyio.to_thread.run_sync(_remove_directory, plan.sandbox.log_directory)
        except ServiceError as failure:
            leftovers.append(f"pod {name} may be left: {failure}")
    if scope.cancelled_caught:
        leftovers.append(f"pod {name} may be left: not removed within {CLEANUP_S:g} s")
    _say(error, tuple(leftovers), metadata.uid)


@asynccontextmanager
async def pod_block(pod: Pod, deadline_s: float | None) -> AsyncIterator[Pod]:
    """Remove the pod when the block is left, however that happens.

    Args:
        pod: to be removed.
        deadline_s: of the block in seconds; None for none.

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
                await pod.remove()
            except ServiceError as error:
                leftovers = (f'pod "{pod.name}" ({pod.id}) is left: {error}',)
        if cleanup.cancelled_caught:
            leftovers = (f'pod "{pod.name}" ({pod.id}) is left: no answer in {CLEANUP_S:g} s',)
        _say(failure, leftovers, pod.id)


def _say(error: BaseException | None, leftovers: tuple[str, ...], subject: str) -> None:
    """What is left is an error of its own; a cancellation stays one, and the log has it."""
    if not leftovers:
        return
    if error is None or isinstance(error, Exception):
        first = error if error is not None else Internal("the block itself ended well")
        raise RollbackFailed(first, leftovers=leftovers, subject=subject) from error
    for leftover in leftovers:
        _logger.error("%s", leftover)
        error.add_note(leftover)


def _make_log_directories(plan: PodPlan) -> None:
    """The caller of the CRI makes them, as kubelet does."""
    directory = Path(plan.sandbox.log_directory)
    try:
        for container in plan.containers:
            path = (directory / container.config.log_path).parent
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise FailedPrecondition(
            f"{directory} cannot be made: {error.strerror}; choose another log directory",
            subject=str(directory),
        ) from error


def _remove_directory(path: str) -> None:
    import shutil

    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise FailedPrecondition(f"{path} cannot be removed: {error}", subject=path) from error
