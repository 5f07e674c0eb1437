"""Pods with each network plugin while the service is killed, a plugin hangs or fails, and the
engine restarts.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import ServiceError
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import Engine, busybox_archive
from tests.harness.pods import until, until_nothing
from tests.integration.network.namespaces import CNI_BINARIES, leases
from tests.integration.network.pod_node import (
    LEASES,
    POD_CIDR,
    Node,
    config,
)

pytestmark = pytest.mark.skipif(
    not Path(CNI_BINARIES, "bridge").exists(), reason="needs the containernetworking plugins"
)


PODS = int(os.environ.get("ASUPERVISOR_TEST_PODS", "6"))
"""Of the test that kills the service at random moments."""


@pytest.mark.parametrize("node", ["cni", "kubenet"], indirect=True)
def test_killed_at_random_moments_nothing_is_left_in_the_end(node: Node) -> None:
    """Pods are run and removed four at a time; the service is killed in between and started
    again.
    """
    generator = random.Random(4)
    waiting = list(range(PODS))
    done: list[int] = []

    async def life(runtime: RemoteRuntimeService, number: int) -> None:
        sandbox_id = await runtime.run_pod_sandbox(config(f"pod{number}", (80, 31000 + number)))
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
        done.append(number)

    async def some(runtime: RemoteRuntimeService, until_killed: anyio.Event) -> None:
        async def worker() -> None:
            while waiting and not until_killed.is_set():
                number = waiting.pop()
                try:
                    await life(runtime, number)
                except ServiceError:
                    if until_killed.is_set():
                        waiting.append(number)
                        return
                    raise

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(worker)

    # The first pod alone: two firewall plugins that make their chains at a time fail each other.
    node.run(lambda runtime: life(runtime, waiting.pop()))
    kills = 0
    while waiting:
        last = kills >= max(2, PODS // 5)

        async def lives(runtime: RemoteRuntimeService, last: bool = last) -> None:
            killed = anyio.Event()
            for sandbox in (
                await runtime.list_pod_sandbox()
            ):  # what kubelet does with pods that it does not want
                await runtime.stop_pod_sandbox(sandbox.id)
                await runtime.remove_pod_sandbox(sandbox.id)

            async def kill() -> None:
                await anyio.sleep(generator.uniform(0.1, 2.0))
                killed.set()
                node.service.process.send_signal(signal.SIGKILL)  # type: ignore[union-attr]

            async with anyio.create_task_group() as group:
                if not last:
                    group.start_soon(kill)
                group.start_soon(some, runtime, killed)

        node.run(lives)
        if not last:
            node.service.kill()
            kills += 1
            node.service.start()

    async def finish(runtime: RemoteRuntimeService) -> None:
        for sandbox in await runtime.list_pod_sandbox():
            await runtime.stop_pod_sandbox(sandbox.id)
            await runtime.remove_pod_sandbox(sandbox.id)
        await until_nothing(node.remains)

    node.run(finish)
    assert sorted(done) == list(range(PODS))
    assert node.engine.containers() == []


@pytest.mark.parametrize("node", ["cni+faulty"], indirect=True)
async def test_a_service_that_stops_while_a_plugin_hangs_leaves_nothing(
    node: Node, tmp_path: Path
) -> None:
    binaries = tmp_path / "bin"

    async with RemoteRuntimeService.connect(node.service.endpoint) as runtime:
        (binaries / "hang").write_text("slow")

        async def hang() -> None:
            with pytest.raises(ServiceError):
                await runtime.run_pod_sandbox(config("slow"))

        async with anyio.create_task_group() as group:
            group.start_soon(hang)
            await until((binaries / "hangs").exists, "a plugin hangs")
            assert leases(LEASES)
            assert await anyio.to_thread.run_sync(node.service.stop) == 0
    assert not await anyio.Path(f"/proc/{(binaries / 'hangs').read_text().strip()}").exists(), (
        "killed with the service"
    )
    node.service.start()
    await until(
        lambda: node.remains() == [] and node.engine.containers() == [],
        "the next start finishes it",
    )


@pytest.mark.parametrize("node", ["cni+faulty"], indirect=True)
async def test_a_faulty_plugin_fails_the_pod_clearly_and_holds_up_no_other(
    node: Node, tmp_path: Path
) -> None:
    binaries = tmp_path / "bin"

    async with RemoteRuntimeService.connect(node.service.endpoint) as runtime:
        (binaries / "hang").write_text("slow")
        errors: list[str] = []

        async def hang() -> None:
            with pytest.raises(ServiceError) as caught:
                await runtime.run_pod_sandbox(config("slow", (80, 30400)))
            errors.append(str(caught.value))

        async with anyio.create_task_group() as group:
            group.start_soon(hang)
            await until((binaries / "hangs").exists, "a plugin hangs")
            other = await runtime.run_pod_sandbox(config("other", (80, 30401)))
            (binaries / "refuse-del").touch()
            with pytest.raises(ServiceError, match="will not let go"):
                await runtime.stop_pod_sandbox(other)
            (binaries / "refuse-del").unlink()
            await runtime.stop_pod_sandbox(other)
            assert not errors, "the other pod came and went while the first one hung"
            os.kill(int((binaries / "hangs").read_text()), signal.SIGKILL)
        assert 'CNI plugin "faulty" (network "pods", ADD) was killed by signal 9' in errors[0]
        await until_nothing(node.remains)
        assert [sandbox.id for sandbox in await runtime.list_pod_sandbox()] == [other]
        await runtime.remove_pod_sandbox(other)


@pytest.mark.parametrize("plugin", os.environ.get("ASUPERVISOR_TEST_PLUGINS", "cni").split(","))
def test_an_engine_that_restarts_takes_its_dead_pods_addresses_with_it(
    tmp_path: Path, plugin: str
) -> None:
    engine = Engine()
    engine.start()
    engine.load(busybox_archive())
    node = Node(engine, tmp_path, plugin, POD_CIDR)
    node.service.start()

    async def run_some(runtime: RemoteRuntimeService) -> None:
        for number in range(2):
            await runtime.run_pod_sandbox(config(f"pod{number}", (80, 30100 + number)))
        assert len(leases(LEASES)) == 4

    async def nothing(runtime: RemoteRuntimeService) -> None:
        await until(lambda: node.remains() == [], "what belonged to the dead pods is released")
        for sandbox in await runtime.list_pod_sandbox():
            assert sandbox.state == cri.SANDBOX_NOTREADY
            await runtime.stop_pod_sandbox(sandbox.id)
            await runtime.remove_pod_sandbox(sandbox.id)

    try:
        node.run(run_some)
        engine.stop()
        engine.start()
        node.run(nothing)
        assert node.service.stop() == 0
    finally:
        if node.service.process is not None:
            node.service.stop()
        engine.destroy()
