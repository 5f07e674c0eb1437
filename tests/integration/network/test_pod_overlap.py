"""A pod's network made beside the engine's start of its sandbox, and released beside its stop: a
runtime and a plugin that wait for each other show that neither waits for the engine's answer.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from asupervisor.config import NetworkConfig
from asupervisor.dockershim.sandbox import start
from asupervisor.errors import FailedPrecondition, ServiceError
from asupervisor.host.first_process import FirstProcess
from asupervisor.host.netns import HeldNamespace
from asupervisor.network.addresses import namespace_addresses
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine, busybox_archive
from tests.harness.pods import pod_cgroup, until
from tests.harness.service import service_config
from tests.integration.network.namespaces import CNI_BINARIES, Namespace
from tests.integration.network.pod_node import CONFIGURATION, PLUGINS, POD_CIDR, Node, config

pytestmark = pytest.mark.skipif(
    not Path(CNI_BINARIES, "bridge").exists(), reason="needs the containernetworking plugins"
)

RUNTIME = r"""#!/bin/sh
here=$(dirname "$0")
case " $* " in *" start "*)
    tries=0
    while [ -e "$here/wait-for-add" ] && [ ! -e "$here/added" ]; do
        tries=$((tries + 1)); [ $tries -lt 400 ] || exit 1; sleep 0.05
    done
    # Its process goes before it has executed the program.
    if [ -e "$here/fail" ]; then runc $(echo "$*" | sed 's/ start / kill /') KILL; fi ;;
esac
exec runc "$@"
"""
PLUGIN = r"""#!/bin/sh
here=$(dirname "$0")
input=$(cat)
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}' ;;
ADD)
    echo "ADD $CNI_CONTAINERID $CNI_NETNS" >> "$here/calls"
    touch "$here/added"
    printf '%s' "$input" | sed 's/.*"prevResult": \({.*}\)}$/\1/' ;;
DEL)
    tries=0
    while [ -e "$here/pid" ] && [ -e "/proc/$(cat "$here/pid")" ]; do
        tries=$((tries + 1)); [ $tries -lt 400 ] || exit 1; sleep 0.05
    done
    found=$(nsenter --net="$CNI_NETNS" ip -o link show eth0 2>&1)
    case $found in *eth0*) found=eth0 ;; *) found=nothing ;; esac
    echo "DEL $CNI_CONTAINERID $CNI_NETNS $found" >> "$here/calls"
    if [ -e "$here/refuse-del" ]; then echo "will not let go" >&2; exit 1; fi ;;
esac
"""


class Gates:
    """A node whose runtime and last plugin wait for what the files beside them say."""

    def __init__(self, node: Node, directory: Path) -> None:
        self.node = node
        self.directory = directory

    def set(self, name: str, content: str = "") -> None:
        (self.directory / name).write_text(content)

    def clear(self) -> None:
        for name in ("wait-for-add", "added", "fail", "pid", "refuse-del", "calls"):
            (self.directory / name).unlink(missing_ok=True)

    def calls(self) -> list[list[str]]:
        path = self.directory / "calls"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def network(self) -> NetworkConfig:
        """The settings of a service that is not the node's own."""
        return NetworkConfig(
            cni_conf_dir=str(self.node.conf),
            cni_bin_dirs=(str(self.directory),),
            cni_cache_dir=str(self.node.cache),
        )

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[RemoteRuntimeService]:
        """A client of the node's own service, which starts."""
        self.node.service.start()
        async with RemoteRuntimeService.connect(self.node.service.endpoint) as runtime:
            yield runtime


@pytest.fixture(scope="module")
def gated_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Path]]:
    directory = tmp_path_factory.mktemp("gates")
    for name in os.listdir(CNI_BINARIES):
        (directory / name).symlink_to(Path(CNI_BINARIES, name))
    for name, content in (("runtime", RUNTIME), ("gate", PLUGIN)):
        (directory / name).write_text(content)
        (directory / name).chmod(0o755)
    engine = Engine(arguments=("--add-runtime", f"gated={directory}/runtime"))
    try:
        engine.start()
        engine.load(busybox_archive())
        yield engine, directory
    finally:
        engine.destroy()


@pytest.fixture
def gates(gated_engine: tuple[Engine, Path], tmp_path: Path, node_address: None) -> Iterator[Gates]:
    engine, directory = gated_engine
    node = Node(engine, tmp_path, "cni", POD_CIDR)
    node.service.flags += ("--cni-bin-dir", str(directory))
    (node.conf / "10-pods.conflist").write_text(
        json.dumps({**CONFIGURATION, "plugins": [*PLUGINS, {"type": "gate"}]})
    )
    gates = Gates(node, directory)
    gates.clear()
    try:
        yield gates
    finally:
        gates.clear()
        if node.service.process is not None:
            node.service.stop()
        engine.remove_all()


@pytest.mark.parametrize("parent", ["", pod_cgroup("overlap")], ids=["none", "pod"])
async def test_the_plugin_is_called_before_the_engine_answers_the_start(
    gates: Gates, parent: str
) -> None:
    gates.set("wait-for-add")

    async with gates.connected() as runtime:
        pod = config("web", (80, 30080))
        pod.linux.cgroup_parent = parent
        pod.dns_config.servers.append("192.0.2.53")
        sandbox_id = await runtime.run_pod_sandbox(pod, "gated")
        pid = gates.node.engine.inspect(sandbox_id)["State"]["Pid"]
        assert gates.calls() == [["ADD", sandbox_id, f"/proc/{pid}/ns/net"]], "as plugins are told"
        network = (await runtime.pod_sandbox_status(sandbox_id)).status.network
        addresses = [network.ip, *(entry.ip for entry in network.additional_ips)]
        assert len(addresses) == 2
        assert namespace_addresses(f"/proc/{pid}/ns/net") == tuple(addresses), (
            "nothing that the engine did to the namespace took an address away"
        )
        assert await runtime.list_pod_sandbox() and gates.node.remains()
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
        assert gates.node.remains() == []


async def test_a_process_that_ends_after_the_network_was_made_leaves_nothing(gates: Gates) -> None:
    gates.set("wait-for-add")
    gates.set("fail")

    async with gates.connected() as runtime:
        with pytest.raises(FailedPrecondition):
            await runtime.run_pod_sandbox(config("web", (80, 30080)), "gated")
        assert [call[0] for call in gates.calls()] == ["ADD", "DEL"]
        assert gates.calls()[1][-1] == "eth0", "the namespace was there until it was undone"
        assert gates.node.remains() == [] and gates.node.engine.containers() == []
        assert await runtime.list_pod_sandbox() == []
        gates.clear()
        sandbox_id = await runtime.run_pod_sandbox(config("web", (80, 30080)), "gated")
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_the_network_is_released_while_and_after_the_process_ends(gates: Gates) -> None:
    async with gates.connected() as runtime:
        sandbox_id = await runtime.run_pod_sandbox(config("web", (80, 30080)))
        pid = gates.node.engine.inspect(sandbox_id)["State"]["Pid"]
        # The plugin waits for the end of that, so the stop must not wait for the plugin.
        gates.set("pid", str(pid))
        await runtime.stop_pod_sandbox(sandbox_id)
        name, _, netns, found = gates.calls()[-1]
        assert (name, found) == ("DEL", "eth0") and netns != f"/proc/{pid}/ns/net"
        assert gates.node.remains() == []
        assert (await runtime.pod_sandbox_status(sandbox_id)).status.state == cri.SANDBOX_NOTREADY
        await runtime.remove_pod_sandbox(sandbox_id)
        assert "its stop was cut short" not in gates.node.service.output


async def test_a_release_that_fails_stops_the_sandbox_all_the_same(gates: Gates) -> None:
    gates.set("refuse-del")

    async with gates.connected() as runtime:
        sandbox_id = await runtime.run_pod_sandbox(config("web"))
        with pytest.raises(ServiceError, match="will not let go"):
            await runtime.stop_pod_sandbox(sandbox_id)
        assert not gates.node.engine.inspect(sandbox_id)["State"]["Running"]
        gates.clear()
        await runtime.stop_pod_sandbox(sandbox_id)
        assert gates.node.remains() == []
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_a_network_that_was_made_for_another_process_is_made_anew(
    gates: Gates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stranger = Namespace()

    async def wrong(container_id: str, cgroup: str, wait_for_ipv6_off: bool) -> FirstProcess:
        assert cgroup.endswith(container_id)
        namespace = HeldNamespace(os.open(stranger.path, os.O_RDONLY))
        return FirstProcess(stranger.process.pid, namespace, stranger.path)

    try:
        monkeypatch.setattr(start, "find_first_process", wrong)
        settings = service_config(gates.node.engine, tmp_path, network=gates.network())
        async with Supervisor(settings) as supervisor:
            runtime = supervisor.runtime
            sandbox_id = await runtime.run_pod_sandbox(config("web", (80, 30080)))
            pid = gates.node.engine.inspect(sandbox_id)["State"]["Pid"]
            assert [call[0] for call in gates.calls()] == ["ADD", "DEL", "ADD"]
            assert gates.calls()[-1][2] == f"/proc/{pid}/ns/net"
            assert namespace_addresses(stranger.path) == ()
            await runtime.remove_pod_sandbox(sandbox_id)
    finally:
        stranger.close()
    assert gates.node.remains() == []


@pytest.mark.parametrize(
    "step",
    [
        "RunPodSandbox.attached",
        "RunPodSandbox.started",
        "RunPodSandbox.networked",
        "RunPodSandbox.completed",
        "StopPodSandbox.released",
    ],
)
async def test_death_at_any_step_leaves_nothing_of_the_network(gates: Gates, step: str) -> None:
    service = gates.node.service
    settings = {
        "socket": str(service.socket),
        "engine": gates.node.engine.endpoint,
        "root": str(service.root),
        "network": dataclasses.asdict(gates.network()),
    }
    if step == "RunPodSandbox.attached":
        gates.set("wait-for-add")
    service.directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.harness.dying_service", step, json.dumps(settings)]
    with service.log.open("ab") as log:
        dying = await anyio.open_process(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
        )
    async with dying:
        await until(lambda: "ready:" in service.output, "the service is ready")

        async def until_death() -> None:
            async with RemoteRuntimeService.connect(service.endpoint) as runtime:
                sandbox_id = await runtime.run_pod_sandbox(config("mortal", (80, 30080)), "gated")
                await runtime.stop_pod_sandbox(sandbox_id)

        with pytest.raises((ServiceError, BaseExceptionGroup)):
            await until_death()
        assert await dying.wait() == -9

    async with gates.connected() as runtime:
        for sandbox in await runtime.list_pod_sandbox():
            await runtime.stop_pod_sandbox(sandbox.id)
            await runtime.remove_pod_sandbox(sandbox.id)
        await until(lambda: gates.node.engine.containers() == [], "no container is left")
        await until(lambda: gates.node.remains() == [], "nothing of the network is left")
        sandbox_id = await runtime.run_pod_sandbox(config("mortal", (80, 30080)), "gated")
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
