"""Container events of a real service."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import grpc.aio
import pytest

from asupervisor.errors import Unavailable
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import Engine
from tests.harness.service import Service
from tests.integration.observability.conftest import (
    pod_config,
    run_container,
    samples,
    until,
)

CREATED, STARTED = cri.CONTAINER_CREATED_EVENT, cri.CONTAINER_STARTED_EVENT
STOPPED, DELETED = cri.CONTAINER_STOPPED_EVENT, cri.CONTAINER_DELETED_EVENT


async def test_a_pods_life_as_events(runtime: RemoteRuntimeService, service: Service) -> None:
    seen: list[cri.ContainerEventResponse] = []

    async def follow() -> None:
        async with aclosing(runtime.get_container_events()) as events:
            async for event in events:
                seen.append(event)
                if event.container_event_type == DELETED and event.container_id == sandbox_id:
                    return

    sandbox_id = ""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await until(lambda: subscribers(service) == 1)
        config = pod_config()
        sandbox_id = await runtime.run_pod_sandbox(config)
        container_id = await run_container(runtime, sandbox_id, config, "sleep 1000")
        quick = await run_container(runtime, sandbox_id, config, "exit 3", "quick")
        await until(
            lambda: any(
                event.container_id == quick and event.container_event_type == STOPPED
                for event in seen
            )
        )
        await runtime.stop_container(container_id, 0)
        await runtime.remove_container(container_id)
        await runtime.remove_container(quick)
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
    await until(lambda: subscribers(service) == 0)
    for one in (sandbox_id, container_id, quick):
        assert [event.container_event_type for event in seen if event.container_id == one] == [
            CREATED,
            STARTED,
            STOPPED,
            DELETED,
        ]
    assert len(seen) == 12
    assert [event.created_at for event in seen] == sorted({event.created_at for event in seen})
    for event in seen:
        assert event.pod_sandbox_status.id == sandbox_id
        assert event.pod_sandbox_status.metadata == config.metadata
        ids = {status.id for status in event.containers_statuses}
        assert (event.container_id in ids) == (
            event.container_id != sandbox_id and event.container_event_type != DELETED
        )
    ended = next(
        event
        for event in seen
        if event.container_id == quick and event.container_event_type == STOPPED
    )
    assert next(status for status in ended.containers_statuses if status.id == quick).exit_code == 3


def subscribers(service: Service) -> float:
    """How many streams of events the service has open."""
    return samples(service)["asupervisor_event_subscribers", ()]


async def test_a_status_carries_timestamp_and_container_statuses_together(
    runtime: RemoteRuntimeService,
) -> None:
    config = pod_config()
    sandbox_id = await runtime.run_pod_sandbox(config)
    before = await runtime.pod_sandbox_status(sandbox_id)
    assert before.timestamp > 0 and not before.containers_statuses
    container_id = await run_container(runtime, sandbox_id, config, "sleep 1000")
    for verbose in (False, True):
        after = await runtime.pod_sandbox_status(sandbox_id, verbose=verbose)
        assert after.timestamp > before.timestamp
        assert [status.id for status in after.containers_statuses] == [container_id]
        assert after.containers_statuses[0] == (await runtime.container_status(container_id)).status
        assert bool(after.info) == verbose


async def test_a_subscriber_that_does_not_read_is_told_and_harms_nobody(
    engine: Engine, tmp_path: Path
) -> None:
    """The service keeps a bounded number of events for it, on top of what the transport takes."""
    import asupervisor.node.events as events
    from asupervisor.supervisor import Supervisor
    from tests.harness.service import service_config

    async with Supervisor(service_config(engine, tmp_path)) as supervisor:
        shim = supervisor.shim
        assert shim is not None
        async with grpc.aio.insecure_channel(f"unix://{tmp_path}/cri.sock") as channel:
            lazy = channel.unary_stream("/runtime.v1.RuntimeService/GetContainerEvents")(b"")
            with anyio.fail_after(30):
                await until(lambda: supervisor.metrics.event_subscribers.current() == 1)
                hub = shim.events
                event = b"\x0a" + b"\xff\x7f" + b"x" * 16383
                for _ in range(20 * events.BUFFER_EVENTS):
                    hub._publish(event)
                    await anyio.lowlevel.checkpoint()
                    if supervisor.metrics.event_subscribers_dropped.value:
                        break
                assert supervisor.metrics.event_subscribers_dropped.value == 1
                await supervisor.runtime.version()
                received = 0

                async def drain() -> None:
                    nonlocal received
                    async for _ in lazy:
                        received += 1

                with pytest.raises(grpc.aio.AioRpcError) as ended:
                    await drain()
                assert (
                    ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                    and "fell behind" in (ended.value.details() or "")
                )
                assert received >= events.BUFFER_EVENTS
                await until(lambda: supervisor.metrics.event_subscribers.current() == 0)


async def test_a_stop_ends_the_subscription_and_does_not_wait_for_it(engine: Engine) -> None:
    running = Service(engine, flags=("--metrics-bind-addr", "127.0.0.1:0"))
    running.start()

    async with RemoteRuntimeService.connect(running.endpoint) as runtime:
        ended = anyio.Event()

        async def follow() -> None:
            with pytest.raises(Unavailable):
                await anext(stream)
            ended.set()

        stream: AsyncGenerator[cri.ContainerEventResponse, None] = runtime.get_container_events()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await until(lambda: subscribers(running) == 1)
            assert running.process is not None
            running.process.send_signal(signal.SIGTERM)
            with anyio.fail_after(8):  # less than the grace of 10 s
                await ended.wait()
    assert running.stop() == 0


async def test_what_happened_while_the_engine_was_away_is_told(
    runtime: RemoteRuntimeService, service: Service, engine: Engine
) -> None:
    config = pod_config()
    sandbox_id = await runtime.run_pod_sandbox(config)
    container_id = await run_container(runtime, sandbox_id, config, "exec sleep 1000")
    stopped: set[str] = set()

    async def follow() -> None:
        async with aclosing(runtime.get_container_events()) as events:
            async for event in events:
                assert event.container_event_type == STOPPED
                stopped.add(event.container_id)
                if stopped == {sandbox_id, container_id}:
                    return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await until(lambda: subscribers(service) == 1)
        # An engine that comes back without live-restore ends what it finds running, before
        # anybody can subscribe.
        await anyio.to_thread.run_sync(engine.signal, signal.SIGKILL)
        await anyio.to_thread.run_sync(engine.start)
