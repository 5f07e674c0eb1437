"""Starts and stops the service: the scopes below are entered in order, and left in reverse.

observability → socket path → engine → task group: pod network, streaming, CRI server, stats, logs,
node state, probe → remote services"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from asupervisor.conditions import NETWORK, RUNTIME, Conditions
from asupervisor.config import MANAGED_ENGINE, Config, uses_legacy_cadvisor_stats
from asupervisor.dockershim.container.archive import clear_workplaces
from asupervisor.dockershim.recovery import run_recovery
from asupervisor.dockershim.rpc.boundary import Boundary
from asupervisor.dockershim.rpc.health import HealthService
from asupervisor.dockershim.rpc.progress import ProgressService
from asupervisor.dockershim.rpc.reflection import ReflectionService
from asupervisor.dockershim.rpc.server import CriServer, endpoint_path, owned_socket_path
from asupervisor.dockershim.shim import Shim, StepObserver, no_observer
from asupervisor.engine.client import EngineClient
from asupervisor.engine.endpoint import diagnose, resolve_endpoint
from asupervisor.engine.managed import ManagedEngine, managed_engine
from asupervisor.engine.probe import Probe, explain
from asupervisor.errors import FailedPrecondition, ServiceError, lone
from asupervisor.host.owned import owned
from asupervisor.metrics import Metrics
from asupervisor.network.select import network_plugin
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.image_usage import ImageUsage
from asupervisor.node.key import load_key
from asupervisor.observability.page.live import LivePage
from asupervisor.observability.pages import Observability
from asupervisor.observability.tracing import Tracing
from asupervisor.oci.wrapper import install_wrapper
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from asupervisor.streaming.handler import StreamHandler
from asupervisor.supervisor.activation import SCHEME, Relay, inherited_listener
from asupervisor.supervisor.collaborators import Ground, make_shim
from asupervisor.supervisor.hourly import report_hourly
from asupervisor.supervisor.journal import Journal
from asupervisor.supervisor.plugins import start_plugins
from asupervisor.supervisor.runtime_cgroups import keep_in_cgroup
from asupervisor.supervisor.status import findings, view
from asupervisor.supervisor.suitability import Suitability
from asupervisor.translate.provenance import Seal

_logger = logging.getLogger(__name__)
_CLEANUP_DEADLINE_S = 10.0
_FIRST_SYNC_S = 5.0


class Supervisor:
    """The node service in one async context: everything runs inside it, and only the containers
    outlive it.

    ``async with Supervisor(config) as supervisor:`` works in any program on asyncio, in a task
    group or not; several can run in one event loop. Leaving the context stops the service
    gracefully, and so does a cancellation by the embedding program.

    Args:
        config: the settings.
        on_step: called after each step of a change (see :class:`Shim`).

    Attributes:
        runtime, images: clients of the endpoints, connected as kubelet would be (CRI over gRPC).
        shim: the collaborators of the CRI verbs; None for the ``remote`` runtime.
        conditions: whether the service, the engine and the network are ready, why not, since when.
        metrics: this supervisor's figures.
        endpoint: where the CRI is reached; under socket activation the path of the inherited
            socket.
        metrics_url: of the status page and metrics; empty without ``metrics_bind_address``.

    Raises:
        ConfigError: the settings contradict the node (a cgroup driver that is not the engine's).
        ServiceError: it cannot be started.
    """

    runtime: RemoteRuntimeService
    images: RemoteImageService

    def __init__(self, config: Config, *, on_step: StepObserver = no_observer) -> None:
        self.config = config
        self.metrics = Metrics()
        self.metrics_url = ""
        self._tracing: Tracing | None = None
        self.endpoint = self._own_endpoint = config.runtime_endpoint
        self.shim: Shim | None = None
        self.uses_legacy_cadvisor_stats = uses_legacy_cadvisor_stats(
            config.container_runtime, config.runtime_endpoint, sys.platform
        )
        self._on_step = on_step
        self._stack = AsyncExitStack()
        self.conditions = Conditions()
        self._skip_grace = anyio.Event()
        self._journal = Journal()
        self._started_at = time.monotonic()

    async def __aenter__(self) -> Supervisor:
        await self._stack.__aenter__()
        try:
            await self._start_observability()
            if self.config.container_runtime == "docker":
                await self._start_docker()
            await self._connect()
        except BaseException:
            with _bare_errors():
                await self._stack.__aexit__(*sys.exc_info())
            raise
        # What is in memory now stays. Without this, every full collection would walk all of it,
        # which takes 5 to 10 ms.
        gc.collect()
        gc.freeze()
        self.conditions.started()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        self.conditions.stopping()
        with _bare_errors():
            return await self._stack.__aexit__(*error)

    @property
    def stream_handler(self) -> StreamHandler:
        """The handler of streaming connections; with ``streaming.redirect`` on, give it those of
        your own listener.

        Raises:
            FailedPrecondition: the supervisor hosts no runtime service, and so serves no streams.
        """
        if self.shim is None:
            raise FailedPrecondition("the remote runtime serves its streams itself")
        return self.shim.streaming.handler

    @property
    def ready(self) -> bool:
        """Whether the node can run pods now: the engine and the network are ready, and the service
        does not stop.
        """
        return self.conditions.ready

    @property
    def not_ready_reasons(self) -> list[str]:
        """Why :attr:`ready` is false, one sentence each; empty when it is true."""
        return self.conditions.reasons

    @property
    def summary(self) -> str:
        """One line that names the endpoint, the engine with its version, and the network plugin."""
        if self.shim is None:
            return f"connected to the CRI at {self.endpoint}"
        engine = self.shim.engine
        version = engine.version.get("Version") or "not there yet"
        return (
            f"serving the CRI at {self.endpoint}; Docker Engine {version} at {engine.endpoint};"
            f" network plugin {self.shim.network.name}"
        )

    def skip_grace(self) -> None:
        """Stop without waiting for calls in flight (a second signal)."""
        self._skip_grace.set()

    async def _start_observability(self) -> None:
        """It starts first and stops last, so that it can show what the rest waits for."""
        if self.config.tracing_endpoint:
            self._tracing = tracing = Tracing(self.config.tracing_endpoint)
            self._stack.push_async_callback(
                _shielded, partial(anyio.to_thread.run_sync, tracing.close, abandon_on_cancel=True)
            )
        if not self.config.metrics_bind_address:
            return
        service_log = logging.getLogger("asupervisor")
        service_log.addHandler(self._journal)
        self._stack.callback(service_log.removeHandler, self._journal)
        started = time.time()
        page = Observability(
            self.config.metrics_bind_address,
            self.metrics,
            lambda: self.not_ready_reasons,
            self._dump_figures,
            LivePage(
                lambda: view(self, self._journal, started),
                lambda: findings(self.config, self.endpoint),
            ),
        )
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(tasks.cancel_scope.cancel)
        self.metrics.ready.follow(lambda: float(self.conditions.ready))
        self.metrics_url = await tasks.start(page.run, name="observability")
        _logger.info("status page, metrics and health at %s", self.metrics_url)

    def _dump_figures(self) -> dict[str, object]:
        figures: dict[str, object] = {
            "seconds since the start": round(time.monotonic() - self._started_at, 1)
        }
        if self.shim is None:
            return figures
        store, under_way = self.shim.store, self.shim.operations.under_way
        return {
            **figures,
            "sandboxes": len(store.sandboxes),
            "containers": len(store.containers),
            "images": len(store.images),
            "operations under way": (
                ", ".join(f"{action} {key[:12]} for {age:.1f} s" for key, action, age in under_way)
                or "none"
            ),
        }

    def _engine_operation(self, operation: str, seconds: float, error: ServiceError | None) -> None:
        self.metrics.engine_operation(operation, seconds, error)
        if self._tracing is not None:
            self._tracing.engine_operation(operation, seconds, error)

    async def _start_docker(self) -> None:  # long: the order of the start is read in one piece
        config, stack = self.config, self._stack
        root = Path(config.root_directory)
        relay: Relay | None = None
        if config.runtime_endpoint.startswith(SCHEME):
            path = root / "cri.sock"
            relay = Relay(inherited_listener(config.runtime_endpoint, os.environ), path)
        else:
            path = endpoint_path(config.runtime_endpoint)
        stack.enter_context(owned_socket_path(path))
        lock = root / "asupervisor.lock"
        stack.enter_context(owned(lock, f"--root-directory {root}"))
        checkpoints = CheckpointStore(root)
        await checkpoints.load()
        seal = Seal(await anyio.to_thread.run_sync(load_key, root))
        await anyio.to_thread.run_sync(clear_workplaces, root)
        oci = await anyio.to_thread.run_sync(install_wrapper, root)
        if config.docker_endpoint == MANAGED_ENGINE:
            managed = await stack.enter_async_context(
                managed_engine(root, "" if config.nri.disable else oci.path)
            )
            endpoint, why_absent = managed.endpoint, managed.diagnose
        else:
            managed, why_absent = None, diagnose
            endpoint = resolve_endpoint(config.docker_endpoint)
        engine = EngineClient(
            endpoint,
            config.runtime_request_timeout_s,
            self._engine_operation,
            why_absent,
        )
        await engine.open()
        stack.push_async_callback(_shielded, engine.close)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        if config.runtime_cgroups:
            await tasks.start(
                partial(keep_in_cgroup, config.runtime_cgroups, engine.endpoint),
                name="runtime cgroups",
            )
        network = network_plugin(config.network, root / "network")
        await tasks.start(network.run, name="pod network")
        self.conditions.follow(RUNTIME, lambda: engine.health.condition)
        self.conditions.follow(NETWORK, lambda: network.status().condition)
        ground = Ground(tasks, engine, network, checkpoints, seal, oci)
        self.shim = shim = make_shim(config, self.metrics, ground, self.conditions, self._on_step)
        if config.metrics_bind_address:
            shim.store.listen(self._journal.changed)
        await tasks.start(shim.streaming.run, name="streaming")
        await start_plugins(shim, tasks)
        health = HealthService(lambda: self.ready, lambda: self.conditions.is_stopping)
        server = CriServer(
            path,
            Boundary(shim, self.metrics, self._tracing),
            (health, ReflectionService(), ProgressService(shim.pulls)),
        )
        await server.start()
        stack.push_async_callback(self._stop, server, shim)
        if relay is not None:
            await tasks.start(relay.run, name="socket activation")
            stack.callback(relay.stop_accepting)
            # The service's own clients connect to the server directly: on the inherited socket they
            # would wait behind all clients that came meanwhile.
            self.endpoint, self._own_endpoint = f"unix://{relay.address}", f"unix://{path}"
        probe = Probe(
            engine,
            config.engine_probe_interval_s,
            config.engine_probe_deadline_s,
            config.engine_connect_deadline_s,
            partial(_check_engine, managed, Suitability(config, network)),
            lambda error: (managed and managed.starting) or explain(error),
        )
        await tasks.start(shim.stats.run, name="stats")
        await tasks.start(ImageUsage(engine, shim.store, shim.stats).run, name="image usage")
        await tasks.start(shim.logs.run, name="container logs")
        await tasks.start(shim.feed.run, name="node state")
        await tasks.start(partial(run_recovery, shim), name="recovery")
        await tasks.start(probe.run, name="engine probe")
        tasks.start_soon(report_hourly, self.metrics, name="hourly report")
        # A node's services start in any order. So the server answers while the engine is still
        # missing, and the start goes on after the first probe.
        await probe.first_answer.wait()
        if engine.health.reachable:
            with anyio.move_on_after(_FIRST_SYNC_S):
                await engine.health.wait_ready()
                await shim.store.images_known.wait()

    async def _connect(self) -> None:
        config = self.config
        timeout_s = config.runtime_request_timeout_s
        self.runtime = await self._stack.enter_async_context(
            RemoteRuntimeService.connect(self._own_endpoint, timeout_s)
        )
        same = config.effective_image_endpoint == config.runtime_endpoint
        image_endpoint = self._own_endpoint if same else config.image_endpoint
        self.images = await self._stack.enter_async_context(
            RemoteImageService.connect(
                image_endpoint, timeout_s, sharing=self.runtime if same else None
            )
        )

    async def _stop(self, server: CriServer, shim: Shim) -> None:
        """The service is not ready and accepts nothing new; calls and changes finish within the
        grace, the rest is cancelled and answered with an error.
        """
        self.conditions.stopping()
        grace_s = self.config.shutdown_grace_s
        with anyio.move_on_after(grace_s + _CLEANUP_DEADLINE_S, shield=True):
            async with anyio.create_task_group() as tasks:

                async def skip() -> None:
                    await self._skip_grace.wait()
                    patience.cancel()

                tasks.start_soon(skip)
                shim.events.close()
                with anyio.move_on_after(grace_s) as patience:
                    await server.drain()
                    await shim.operations.drain()
                    await shim.streaming.drain(grace_s)
                tasks.cancel_scope.cancel()
            await server.stop()
            await shim.streaming.drain(0)


def _check_engine(
    managed: ManagedEngine | None, suitability: Suitability, engine: EngineClient
) -> None:
    if managed is not None:
        managed.answered()
    suitability.check(engine)


@contextmanager
def _bare_errors() -> Iterator[None]:
    """Raise an error without the groups that task groups put around it, so that an embedding
    program can catch it by its class.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        error = lone(group)
        if error is group:
            raise
        raise error from error.__cause__


async def _shielded(close: Callable[[], Awaitable[None]]) -> None:
    with anyio.move_on_after(_CLEANUP_DEADLINE_S, shield=True):
        await close()
