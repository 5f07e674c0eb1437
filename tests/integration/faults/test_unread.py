"""What the engine lists and cannot be inspected lives: it is listed, and nothing of it is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asupervisor.errors import Unavailable
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import Engine
from tests.harness.engine_proxy import EngineProxy
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import Service
from tests.integration.network.namespaces import CNI_BINARIES

NETWORK = """{"cniVersion": "1.0.0", "name": "unread", "plugins": [{"type": "bridge",
"bridge": "unread0", "isGateway": true, "ipam": {"type": "host-local", "dataDir": "%s",
"ranges": [[{"subnet": "10.68.0.0/24"}]]}}]}"""


@pytest.fixture
def proxy(mortal_engine: Engine, directory: Path) -> Iterator[EngineProxy]:
    with EngineProxy(directory / "docker.sock", str(mortal_engine.socket)) as running:
        yield running


@pytest.mark.parametrize("fault", ["failing", "hanging"])
async def test_a_living_pod_that_cannot_be_read_keeps_its_network(
    mortal_engine: Engine, directory: Path, proxy: EngineProxy, fault: str
) -> None:
    conf, leases = directory / "conf", directory / "leases"
    conf.mkdir()
    (conf / "10-unread.conflist").write_text(NETWORK % leases)
    service = Service(
        None,
        directory,
        flags=(
            *("--network-plugin", "cni", "--cni-conf-dir", str(conf)),
            *("--cni-bin-dir", CNI_BINARIES, "--cni-cache-dir", str(directory / "cache")),
        ),
        docker_endpoint=f"unix://{proxy.path}",
    )
    ids: list[str] = []

    def leased() -> set[str]:
        return {one.name for one in (leases / "unread").iterdir() if one.name[0].isdigit()}

    async def before() -> None:
        async with RemoteRuntimeService.connect(service.endpoint) as runtime:
            config = pod_config("kept")
            ids.append(await runtime.run_pod_sandbox(config))
            ids.append(await runtime.create_container(ids[0], container_config(), config))
            await runtime.start_container(ids[1])

    async def after() -> None:
        async with RemoteRuntimeService.connect(service.endpoint) as runtime:
            (sandbox,) = await runtime.list_pod_sandbox()
            assert (sandbox.id, sandbox.state) == (ids[0], cri.SANDBOX_READY)
            (container,) = await runtime.list_containers()
            assert (container.id, container.state) == (ids[1], cri.CONTAINER_RUNNING)
            for claim in (
                runtime.pod_sandbox_status(ids[0]),
                runtime.container_status(ids[1]),
                runtime.stop_container(ids[1], 1),
                runtime.stop_pod_sandbox(ids[0]),
                runtime.remove_pod_sandbox(ids[0]),
            ):
                with pytest.raises(Unavailable, match="could not be read"):
                    await claim
            # Another pod's recovery and network go on meanwhile.
            other = await runtime.run_pod_sandbox(pod_config("other"))
            assert len(leased()) == 2
            assert mortal_engine.inspect(ids[0])["State"]["Running"]
            proxy.failing.clear()
            proxy.hanging.clear()

            async def is_read() -> bool:
                try:
                    status = (await runtime.pod_sandbox_status(ids[0])).status
                except Unavailable:
                    return False
                return bool(status.network.ip in leased())

            if fault == "failing":
                await until(is_read, "it is read, and has the address that it had")
                for sandbox_id in (ids[0], other):
                    await runtime.stop_pod_sandbox(sandbox_id)
                    await runtime.remove_pod_sandbox(sandbox_id)
                assert leased() == set()

    service.start()
    await before()
    assert service.stop() == 0
    getattr(proxy, fault).update(f"/containers/{one}/json" for one in ids)
    service.start()
    await after()
    assert service.stop() == 0
