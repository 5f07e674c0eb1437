"""The service in the simulator: all of it but gRPC's transport, sockets, the log pump and the
processes of containers, which are other programs' or the kernel's.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import aiohttp
import anyio
import grpc

from asupervisor.config import Config, NetworkConfig, NriConfig
from asupervisor.dockershim.rpc.boundary import Boundary
from asupervisor.errors import NotFound
from asupervisor.host.first_process import FirstProcess
from asupervisor.host.heap import Heap
from asupervisor.host.netns import HeldNamespace
from asupervisor.logs.service import LogService
from asupervisor.streaming import server as streaming_server
from asupervisor.streaming.server import StreamingService
from asupervisor.streaming.tokens import TokenCache
from asupervisor.supervisor import supervisor as supervisor_module
from asupervisor.supervisor.supervisor import Supervisor
from tests.simulate.clock import LIFE, Life
from tests.simulate.engine import Engine
from tests.simulate.engine_http import EngineServer
from tests.simulate.engine_streams import Echo, StreamSide
from tests.simulate.errors import CallFailed
from tests.simulate.logpump import Pumps
from tests.simulate.network import Plugin
from tests.simulate.wire import Door, MemoryStream, MemoryTransport, connect, connector_class

REQUEST_TIMEOUT_S = 30.0
"""The service's deadline for a request to the engine."""


class _Context:
    """What a handler is given of a call.

    Args:
        call: done when the call has ended.
    """

    def __init__(self, call: asyncio.Future[bytes]) -> None:
        self._call = call

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._call.add_done_callback(callback)

    async def abort(self, code: grpc.StatusCode, words: str = "") -> None:
        raise CallFailed(code.name, words)

    def invocation_metadata(self) -> tuple[()]:
        return ()


class _Server:
    """In the place of gRPC's server: calls are handed to the boundary as bytes."""

    current: Boundary | None = None

    def __init__(self, path: Path, boundary: Boundary, extra: Any = ()) -> None:
        self._boundary = boundary

    async def start(self) -> None:
        _Server.current = self._boundary

    async def drain(self) -> None:
        self._boundary.stop_accepting()
        await self._boundary.drain()

    async def stop(self) -> None:
        self._boundary.cut_off()
        with anyio.move_on_after(5.0):
            await self._boundary.drain()


_STARTS = 100
"""So often it may end itself before it takes calls."""


class _Supervisor(Supervisor):
    async def _connect(self) -> None:
        """No clients of its own."""


class _ByLife(dict[Any, Any]):
    """What one process shares on a loop."""

    def get(self, loop: Any, default: Any = None) -> Any:
        return super().get(LIFE.get(), default)

    def __setitem__(self, loop: Any, value: Any) -> None:
        super().__setitem__(LIFE.get(), value)

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Service:
    """The service, which can be started, stopped, killed and started again.

    Args:
        root: its directory.
        network: the node's CNI plugin.
        pumps: starts its log pumps.
        say: writes a line of the trace.
        crashed: told the error that ended it.
        probe_interval_s: between two pings.
    """

    def __init__(
        self,
        root: Path,
        network: Plugin,
        pumps: Pumps,
        say: Callable[[str], int],
        crashed: Callable[[BaseException], None],
        probe_interval_s: float,
    ) -> None:
        self._say = say
        self._crashed = crashed
        self.config = Config(
            runtime_endpoint=f"unix://{root}/cri.sock",
            docker_endpoint=f"unix://{root}/engine.sock",
            root_directory=str(root / "state"),
            pod_infra_container_image="embedded",
            runtime_request_timeout_s=REQUEST_TIMEOUT_S,
            engine_probe_interval_s=probe_interval_s,
            nri=NriConfig(disable=True),
            network=NetworkConfig(
                plugin="cni",
                cni_conf_dir=str(network.conf_dir),
                cni_bin_dirs=(str(network.bin_dir),),
                cni_cache_dir=str(root / "cni-cache"),
            ),
        )
        self.lives: list[Life] = []
        self.supervisor: Supervisor | None = None
        self._boundary: Boundary | None = None
        self._calls: dict[asyncio.Future[Any], None] = {}
        self._connections: list[MemoryTransport] = []
        self.pumps = pumps
        self.door: Door | None = None
        """Where streaming clients come in."""
        self._stopping: asyncio.Event | None = None
        self._runs: asyncio.Task[None] | None = None
        self.starts = self.kills = 0
        self.ended_itself = False
        """Whether its last life ended by an error of its own."""

    @property
    def connections(self) -> list[MemoryTransport]:
        """Its ends of its connections to the engine."""
        return self._connections

    @property
    def up(self) -> bool:
        """Whether it takes calls."""
        return self._boundary is not None

    @property
    def shim(self) -> Any:
        """The running service's collaborators."""
        assert self.supervisor is not None
        return self.supervisor.shim

    @property
    def unread(self) -> list[str]:
        """What it could not read yet."""
        running = self.supervisor is not None and self.supervisor.shim is not None
        return list(self.shim.store.unread) if running else []

    @property
    def life(self) -> Life:
        """The present life."""
        return self.lives[-1]

    async def start(self) -> None:
        """Start it, and again as long as it ends itself, as systemd does; returns once it takes
        calls or was killed.
        """
        await self._start()
        for _ in range(_STARTS):
            if not self.ended_itself:
                return
            await asyncio.sleep(1.0)
            await self._start()
        raise AssertionError(f"the service ended itself {_STARTS} times in a row")

    async def _start(self) -> None:
        self.starts += 1
        self.ended_itself = False
        life = Life(f"service {self.starts}")
        self.lives.append(life)
        _Server.current = None
        self._stopping = asyncio.Event()
        self._say("service: start")
        loop: Any = asyncio.get_running_loop()
        self._runs = loop.create_task(self._run(self._stopping), name="run", context=life.context)
        self._runs.add_done_callback(self._ended)
        while _Server.current is None and not life.dead:  # noqa: ASYNC110 - it may be killed
            await asyncio.sleep(0.01)
        self._boundary = None if life.dead else _Server.current

    async def _run(self, stopping: asyncio.Event) -> None:
        self.supervisor = _Supervisor(self.config)  # which takes calls before its start is over
        async with self.supervisor:
            await stopping.wait()

    def _ended(self, run: asyncio.Task[None]) -> None:
        error = None if run.cancelled() else run.exception()
        if error is not None:
            self._crashed(error)
            self.kill()
            self.ended_itself = True

    def kill(self) -> None:
        """End it as ``kill -9`` does: nothing of it runs on, and its connections break."""
        if not self.lives or self.life.dead:
            return
        self.kills += 1
        self._say("service: killed")
        self.life.dead = True
        self._boundary = None
        for transport in self._connections:
            transport.cut()
        self._connections.clear()
        self.pumps.service_died()
        self.door = None
        self._fail_calls()

    async def stop(self) -> list[str]:
        """Stop it in order; returns the names of its tasks that are left."""
        assert self._stopping is not None and self._runs is not None
        self._say("service: stop")
        self._stopping.set()
        await self._runs
        self._boundary = None
        self._fail_calls()
        await asyncio.sleep(1.0)
        return self.life.running

    def open_door(self, latency: Callable[[], float]) -> Door:
        """Listen for streaming clients."""
        self.door = Door(self.life.context, self._connections, latency)
        return self.door

    def _fail_calls(self) -> None:
        for call in list(self._calls):
            if not call.done():
                call.set_exception(CallFailed("UNAVAILABLE", "the connection was lost"))

    async def call(
        self, service: str, method: str, request: bytes, deadline_s: float
    ) -> tuple[bytes, bool]:
        """One call, as bytes.

        Returns:
            The answer, and whether it was given up cleanly where there is none.

        Raises:
            CallFailed: by its status; DEADLINE_EXCEEDED past the deadline, HUNG where the call does
                not end then either.
        """
        boundary, loop = self._boundary, asyncio.get_running_loop()
        if boundary is None:
            raise CallFailed("UNAVAILABLE", "nobody listens")
        details = SimpleNamespace(method=f"/runtime.v1.{service}/{method}")
        handler = boundary.service(details)
        assert handler is not None
        outcome: asyncio.Future[bytes] = loop.create_future()
        self._calls[outcome] = None
        task: asyncio.Task[bytes] = loop.create_task(
            handler.unary_unary(request, _Context(outcome)),
            name=f"call {method}",
            context=self.life.context.copy(),
        )

        def ended(done: asyncio.Task[bytes]) -> None:
            if outcome.done():
                return
            if done.cancelled():
                outcome.set_exception(CallFailed("CANCELLED", "cancelled"))
            elif error := done.exception():
                outcome.set_exception(error)
            else:
                outcome.set_result(done.result())

        task.add_done_callback(ended)
        try:
            await asyncio.wait([outcome], timeout=deadline_s)
            if outcome.done():
                return outcome.result(), True
            task.cancel()
            await asyncio.wait([outcome], timeout=5.0)
            if not outcome.done():
                outcome.cancel()
                raise CallFailed("HUNG", "it goes on after its deadline")
            outcome.exception()
            raise CallFailed("DEADLINE_EXCEEDED", f"not within {deadline_s:g} s")
        finally:
            self._calls.pop(outcome, None)


def _no_inotify() -> None:
    """A kernel's object, which would outlive a service that was killed, and never be readable."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@contextmanager
def stand_ins(
    engine: Engine, server: EngineServer, network: Plugin, service: Service
) -> Iterator[None]:
    """Put the engine, the plugin and the containers' processes in the place of the real ones."""
    import asupervisor.dockershim.container.execs as execs
    import asupervisor.dockershim.container.start as start
    import asupervisor.dockershim.sandbox.network as pod_networks
    import asupervisor.dockershim.sandbox.start as sandbox_start
    import asupervisor.dockershim.streaming.backend as backend
    import asupervisor.engine.streams as streams
    import asupervisor.network.cni.attachments as attachments
    import asupervisor.network.cni.execute as execute
    import asupervisor.network.cni.watch as watch
    import asupervisor.node.networks as node_networks
    import asupervisor.node.users as users
    import asupervisor.streaming.dial as dial
    import asupervisor.streaming.loop_turns as turns

    def namespace(pid: int, container_id: str) -> str:
        box = engine.boxes.get(container_id)
        return box.netns if box is not None and pid and box.pid == pid else ""

    def hold(pid: int, container_id: str) -> HeldNamespace | None:
        path = namespace(pid, container_id)
        return HeldNamespace(os.open(path, os.O_RDONLY)) if path else None

    async def first_process(
        container_id: str, cgroup: str, wait_for_ipv6_off: bool
    ) -> FirstProcess | None:
        for _ in range(200):
            box = engine.boxes.get(container_id)
            if box is not None and box.netns:
                return FirstProcess(
                    box.first_pid, HeldNamespace(os.open(box.netns, os.O_RDONLY)), box.netns
                )
            await asyncio.sleep(0.01)
        return None

    def bare(pid: int, sandbox_id: str) -> bool:
        netns = namespace(pid, sandbox_id)
        return bool(netns) and all(entry.netns != netns for entry in network.book.values())

    async def listen(streaming: Any) -> Any:
        streaming._base_url = "http://node:1"
        return service.open_door(server.latency)

    async def taken(door: Door, purpose: str) -> MemoryStream:
        return await door.arrived.get()

    async def as_it_is(stream: MemoryStream) -> MemoryStream:
        return stream

    async def dialled(host: str, port: int) -> MemoryStream:
        if service.door is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return await connect(service.door, [])

    async def port(netns: str, number: int) -> MemoryStream:
        if not any(box.netns == netns for box in engine.boxes.values()):
            raise NotFound(f"the network namespace {netns} is gone")
        pod = SimpleNamespace(context=engine.context, accept=Echo, latency=server.latency)
        return await connect(pod, service.connections)

    side = StreamSide(server)
    replaced: tuple[tuple[Any, str, Any], ...] = (
        (aiohttp, "UnixConnector", connector_class(server, service.connections)),
        (supervisor_module, "CriServer", _Server),
        (supervisor_module, "owned_socket_path", lambda path: nullcontext()),
        # The kernel lets go of a killed process' locks; here the process lives on.
        (supervisor_module, "owned", lambda path, subject: nullcontext()),
        (supervisor_module, "gc", SimpleNamespace(collect=lambda: 0, freeze=lambda: None)),
        (LogService, "_spawn", lambda logs: service.pumps.spawn(logs)),
        (StreamingService, "_listen", listen),
        (streaming_server, "accept", taken),
        (streaming_server, "open_stream", as_it_is),
        (_Server, "current", None),
        (streams, "_connect", lambda endpoint: connect(side, service.connections)),
        (anyio, "connect_tcp", dialled),
        (dial, "_ReadToTheEnd", lambda stream: stream),  # no socket, of which bytes could be lost
        (turns, "_turns", _ByLife()),
        (Heap, "has_grown", False),
        (backend, "connect_loopback", port),
        (backend, "network_namespace", namespace),
        (pod_networks, "network_namespace", namespace),
        (pod_networks, "hold_namespace", hold),
        (sandbox_start, "network_namespace", namespace),
        (sandbox_start, "hold_namespace", hold),
        (sandbox_start, "find_first_process", first_process),
        (execute, "run_program", network.run),
        (attachments, "bring_loopback_up", lambda path: None),
        (watch, "Inotify", _no_inotify),
        (node_networks, "_is_bare", bare),
        (users, "process_identity", lambda pid, container_id: None),
        (execs, "kill_process_tree", lambda pid, container_id: engine.execs.kill(pid)),
        (start, "apply_limits", lambda limits, pid, container_id: None),
    )
    # Taken when the class was made, before there was this clock.
    clock = {"clock": time.monotonic}
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(TokenCache.__init__.__kwdefaults__, clock))
        for target, name, value in replaced:
            stack.enter_context(mock.patch.object(target, name, value))
        yield
