"""Who comes beside kubelet's syncing: probes, hooks, exec and attach sessions, port-forwards, the
rotation of logs, and readers of stats.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio

from asupervisor.errors import NotFound, ServiceError
from asupervisor.proto import cri
from asupervisor.streaming.client import open_command, open_port_forward
from tests.simulate.errors import CallFailed
from tests.simulate.kubelet import Client
from tests.simulate.truth import Truth

_EXPIRED_S = 61.0
"""After which a URL is good for nothing."""
_BROKEN = (
    CallFailed,
    ServiceError,
    anyio.BrokenResourceError,
    anyio.EndOfStream,
    anyio.ClosedResourceError,
)


class Visitors:
    """Come and go until they are told to stop.

    Args:
        rng: draws.
        client: calls the service.
        truth: told what a session came to.
    """

    def __init__(self, rng: random.Random, client: Client, truth: Truth) -> None:
        self.rng = rng
        self.client = client
        self.truth = truth
        self._words = 0
        self._visits: tuple[Callable[[Any], Awaitable[None]], ...] = (
            self.exec_sync,
            self.exec_sync,
            self.exec,
            self.exec,
            self.attach,
            self.port_forward,
            self.reopen_log,
            self.stats,
        )

    async def run(self, every_s: float, until: float) -> None:
        """One visit after the other, several at a time where they take long."""
        loop = asyncio.get_running_loop()
        async with anyio.create_task_group() as visits:
            while loop.time() < until:
                await asyncio.sleep(self.rng.expovariate(1 / every_s))
                visits.start_soon(self._visit, self.rng.choice(self._visits))

    async def _visit(self, visit: Callable[[Any], Awaitable[None]]) -> None:
        try:
            await visit(self.rng.choice(await self.running() or [None]))
        except* _BROKEN:
            pass

    async def running(self) -> list[Any]:
        """The containers that are shown to run."""
        listed = await self.client("ListContainers", cri.ListContainersRequest())
        return [one for one in listed.containers if one.state == cri.CONTAINER_RUNNING]

    def _command(self, seconds: float) -> list[str]:
        self._words += 1
        word = f"word-{self._words}-" + "x" * self.rng.choice((0, 30, 5000))
        return ["say", word, f"{seconds}", self.rng.choice("0001")]

    async def exec_sync(self, container: Any) -> None:
        """A probe, or a hook, which has no timeout."""
        if container is None:
            return
        command = self._command(self.rng.choice((0, 0.05, 1, 30)))
        timeout = self.rng.choice((0, 1, 5, 10))
        request = cri.ExecSyncRequest(container_id=container.id, cmd=command, timeout=timeout)
        try:
            await self.client("ExecSync", request, timeout + 60.0 if timeout else 120.0)
        except CallFailed as error:
            self.truth.exec_failed(command[1], error, bool(timeout))
            raise

    async def exec(self, container: Any, late: bool | None = None) -> None:
        """A session of ``kubectl exec``; sometimes its URL is used too late, or twice."""
        if container is None:
            return
        command, stdin = self._command(self.rng.choice((0, 0.05, 1, 30))), self.rng.random() < 0.5
        request = cri.ExecRequest(
            container_id=container.id, cmd=command, stdin=stdin, stdout=True, stderr=True
        )
        url = (await self.client("Exec", request)).url
        late = self.rng.random() < 0.1 if late is None else late
        await asyncio.sleep(_EXPIRED_S if late else self.rng.choice((0, 0.5)))
        said, code = b"", None
        with anyio.move_on_after(self.rng.choice((0.05, 2, 60))):
            try:
                async with open_command(
                    url, stdin=stdin, websocket=self.rng.random() < 0.5
                ) as session:
                    if session.stdin is not None:
                        await session.stdin.send(b"input")
                        await session.stdin.send_eof()
                    assert session.stdout is not None
                    try:
                        while True:
                            said += await session.stdout.receive()
                    except anyio.EndOfStream:
                        code = (await session.wait()).exit_code
            finally:
                if said and late:
                    self.truth.found("untrue", f"{url}: served after {_EXPIRED_S:g} s")
        self.truth.session(command[1], said, code)
        if said:
            await self._used(url)

    async def _used(self, url: str) -> None:
        try:
            async with open_command(url):
                self.truth.found("untrue", f"{url}: served twice")
        except NotFound:
            return

    async def attach(self, container: Any) -> None:
        """A session of ``kubectl attach``."""
        if container is None:
            return
        request = cri.AttachRequest(container_id=container.id, stdout=True, stderr=True)
        url = (await self.client("Attach", request)).url
        with anyio.move_on_after(self.rng.choice((0.05, 5, 30))):
            async with open_command(url, websocket=self.rng.random() < 0.5) as session:
                assert session.stdout is not None
                while True:
                    await session.stdout.receive()

    async def port_forward(self, container: Any) -> None:
        """A connection through ``kubectl port-forward``."""
        if container is None:
            return
        sandbox_id = container.pod_sandbox_id
        request = cri.PortForwardRequest(pod_sandbox_id=sandbox_id, port=[80])
        url = (await self.client("PortForward", request)).url
        with anyio.move_on_after(self.rng.choice((0.05, 5, 30))):
            async with (
                open_port_forward(url, websocket=self.rng.random() < 0.5) as forwarder,
                forwarder.connect(80) as forwarded,
            ):
                await forwarded.data.send(b"hello")
                back = b""
                while len(back) < 5:
                    back += await forwarded.data.receive()
                if back != b"hello":
                    self.truth.found("untrue", f"port-forward gives {back!r}", sandbox_id[:12])

    async def reopen_log(self, container: Any) -> None:
        """kubelet renamed a log."""
        if container is not None:
            request = cri.ReopenContainerLogRequest(container_id=container.id)
            await self.client("ReopenContainerLog", request)

    async def stats(self, container: Any) -> None:
        """Whoever reads stats reads all that there is."""
        await self.client("ListContainerStats", cri.ListContainerStatsRequest())
        await self.client("ListPodSandboxStats", cri.ListPodSandboxStatsRequest())
        await self.client("ListPodSandboxMetrics", cri.ListPodSandboxMetricsRequest())
        if container is None:
            return
        one = cri.ContainerStatsRequest(container_id=container.id)
        await self.client("ContainerStats", one)
        pod = cri.PodSandboxStatsRequest(pod_sandbox_id=container.pod_sandbox_id)
        await self.client("PodSandboxStats", pod)

    async def check(self) -> None:
        """Without faults everything is to be had of what runs."""
        listed = await self.client("ListPodSandbox", cri.ListPodSandboxRequest())
        ready = {one.id for one in listed.items if one.state == cri.SANDBOX_READY}
        # A stop that a hung plugin holds up still ends what an operator has started since.
        running = [
            one
            for one in await self.running()
            if self.truth.ending.isdisjoint((one.id, one.pod_sandbox_id))
        ]
        if running and self.rng.random() < 0.5:
            with suppress(NotFound):
                await self.exec(running[0], late=True)
        for container in running[:2]:
            command = self._command(0.05)
            request = cri.ExecSyncRequest(container_id=container.id, cmd=command, timeout=5)
            await self.client("ExecSync", request)
            await self.reopen_log(container)
            if container.pod_sandbox_id in ready:
                await self.port_forward(container)
            await self.stats(container)
            late = cri.ExecSyncRequest(container_id=container.id, cmd=self._command(40), timeout=1)
            try:
                await self.client("ExecSync", late)
            except CallFailed as error:
                self.truth.exec_failed(late.cmd[1], error, True)
