"""Pods of the whole service on a real engine, with each network plugin."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from asupervisor.errors import ServiceError, Unavailable
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import BUSYBOX_IMAGE
from tests.harness.pods import until
from tests.integration.network.namespaces import CNI_BINARIES, Echo, ask, leases, rules
from tests.integration.network.pod_node import (
    LEASES,
    NODE_ADDRESS,
    POD_CIDR,
    Node,
    answers,
    config,
    socket_family,
)

pytestmark = pytest.mark.skipif(
    not Path(CNI_BINARIES, "bridge").exists(), reason="needs the containernetworking plugins"
)


async def test_pods_reach_each_other_the_host_and_themselves_and_leave_nothing(node: Node) -> None:
    async with RemoteRuntimeService.connect(node.service.endpoint) as runtime:
        before = node.remains()
        web = await runtime.run_pod_sandbox(config("web", (80, 30080)))
        client = await runtime.run_pod_sandbox(config("client"))
        main = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name="main"),
            image=cri.ImageSpec(image=BUSYBOX_IMAGE),
            command=["sleep", "1000"],
        )
        container = await runtime.create_container(client, main, config("client"))
        await runtime.start_container(container)
        status = (await runtime.pod_sandbox_status(web)).status.network
        address, others = status.ip, [entry.ip for entry in status.additional_ips]
        web_ns, client_ns = node.namespace(web), node.namespace(client)
        with Echo(web_ns, 80), Echo(None, 39000):
            assert ask(address, 80) and ask(address, 80, client_ns)
            assert ask(NODE_ADDRESS, 39000, client_ns)
            assert ask("127.0.0.1", 30080) and ask(NODE_ADDRESS, 30080)
            assert ask(NODE_ADDRESS, 30080, client_ns) and ask(NODE_ADDRESS, 30080, web_ns)
            fetched = await runtime.exec_sync(container, ["nc", address, "80"], exec_timeout_s=10)
            assert fetched.exit_code == 0 and fetched.stdout
        if node.plugin != "no-op":
            assert len(others) == 1 and ":" in others[0]
            with Echo(web_ns, 81, socket_family(others[0])):
                assert ask(others[0], 81, client_ns)
                # The bridge plugin's gateway address is tentative for a second after it made the
                # bridge.
                await until(lambda: answers(others[0], 81), "the host reaches the pod by IPv6")
        with pytest.raises(ServiceError):
            await runtime.run_pod_sandbox(config("rival", (80, 30080)))
        for sandbox_id in (web, client):
            await runtime.stop_pod_sandbox(sandbox_id)
            await runtime.stop_pod_sandbox(sandbox_id)
        if node.plugin == "no-op":
            # The engine's veths go with the pods' namespaces, which the kernel takes down later.
            await until(lambda: node.remains() == before, "the engine's own network is released")
        assert node.remains() == before
        for sandbox_id in (web, client):
            await runtime.remove_pod_sandbox(sandbox_id)
        assert node.engine.containers() == []


@pytest.mark.parametrize("node", ["cni", "kubenet+update"], indirect=True)
def test_pods_outlive_the_service_and_those_that_died_meanwhile_are_released(node: Node) -> None:
    ids: list[str] = []
    ips: list[str] = []

    async def before(runtime: RemoteRuntimeService) -> None:
        if node.plugin == "kubenet":  # as kubelet does it: once
            for _ in range(1000):
                conditions = {
                    condition.type: condition.status
                    for condition in (await runtime.status()).status.conditions
                }
                if conditions["RuntimeReady"]:
                    break
                await anyio.sleep(0.02)
            assert conditions == {"RuntimeReady": True, "NetworkReady": False}
            with pytest.raises(Unavailable, match="pod CIDR"):
                await runtime.run_pod_sandbox(config("early"))
            await runtime.update_runtime_config(
                cri.RuntimeConfig(network_config=cri.NetworkConfig(pod_cidr=POD_CIDR))
            )
        for number in range(3):
            ids.append(await runtime.run_pod_sandbox(config(f"pod{number}", (80, 30090 + number))))
            ips.append((await runtime.pod_sandbox_status(ids[-1])).status.network.ip)

    async def after(runtime: RemoteRuntimeService) -> None:
        assert (await runtime.pod_sandbox_status(ids[0])).status.network.ip == ips[0]
        await until(
            lambda: len(leases(LEASES)) == 2 and "30091" not in rules() and "30092" not in rules(),
            "the dead are released",
        )
        with Echo(node.namespace(ids[0]), 80):
            assert ask("127.0.0.1", 30090)
        for sandbox_id in ids:
            await runtime.stop_pod_sandbox(sandbox_id)
            await runtime.remove_pod_sandbox(sandbox_id)
        assert node.remains() == []

    node.run(before)
    node.service.kill()
    node.engine.request("POST", f"/containers/{ids[1]}/kill")
    node.engine.request("DELETE", f"/containers/{ids[2]}?force=1")
    node.service.start()
    node.run(after)


def test_a_sandbox_that_somebody_restarts_has_lost_its_network(node: Node) -> None:
    """Its process is in a new namespace with nothing but lo; the no-op plugin's engine connects it
    again.
    """
    ids: list[str] = []
    lost = node.plugin != "no-op"

    async def state_of(runtime: RemoteRuntimeService, sandbox_id: str) -> tuple[int, str]:
        status = (await runtime.pod_sandbox_status(sandbox_id)).status
        return status.state, status.network.ip

    async def restarted(runtime: RemoteRuntimeService) -> None:
        before = node.remains()
        ids.append(await runtime.run_pod_sandbox(config("web", (80, 30095))))
        old = node.engine.inspect(ids[0])["State"]["StartedAt"]
        assert node.engine.request("POST", f"/containers/{ids[0]}/restart?t=0")[0] == 204
        assert node.engine.inspect(ids[0])["State"]["StartedAt"] != old

        async def is_told() -> bool:
            state, ip = await state_of(runtime, ids[0])
            return (state == cri.SANDBOX_NOTREADY and not ip) if lost else bool(ip)

        with anyio.fail_after(20):
            while not await is_told():  # noqa: ASYNC110 - the service tells nobody
                await anyio.sleep(0.05)
        if lost:
            with pytest.raises(ServiceError):
                await runtime.create_container(
                    ids[0],
                    cri.ContainerConfig(
                        metadata=cri.ContainerMetadata(name="main"),
                        image=cri.ImageSpec(image=BUSYBOX_IMAGE),
                    ),
                    config("web"),
                )
        # kubelet makes the pod anew, and stops this one.
        await runtime.stop_pod_sandbox(ids[0])
        assert node.remains() == before
        assert node.engine.request("POST", f"/containers/{ids[0]}/start")[0] == 204

    async def after(runtime: RemoteRuntimeService) -> None:
        if lost:
            assert await state_of(runtime, ids[0]) == (cri.SANDBOX_NOTREADY, "")
        await runtime.stop_pod_sandbox(ids[0])
        await runtime.remove_pod_sandbox(ids[0])
        assert node.remains() == [] and node.engine.containers() == []

    node.run(restarted)
    node.service.stop()
    node.service.start()
    node.run(after)
