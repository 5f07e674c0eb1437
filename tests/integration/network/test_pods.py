"""Pods of the whole service on a real engine, with each network plugin."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import ServiceError, Unavailable
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import BUSYBOX_IMAGE, Engine, busybox_archive, eventually
from tests.harness.service import Service
from tests.integration.network.namespaces import (
    CNI_BINARIES,
    Echo,
    Namespace,
    ask,
    leases,
    links,
    rules,
    until,
)

pytestmark = pytest.mark.skipif(
    not Path(CNI_BINARIES, "bridge").exists(), reason="needs the containernetworking plugins"
)

POD_CIDR = "10.66.0.0/24,fd66::/64"
NODE_ADDRESS = "192.0.2.10"
PODS = int(os.environ.get("ASUPERVISOR_TEST_PODS", "6"))
"""Of the test that kills the service at random moments."""
LEASES = Path("/var/lib/cni/networks")


@pytest.fixture(scope="module", autouse=True)
def node_address() -> Iterator[None]:
    """An interface with an address, as a node has one, and an empty /var/lib/cni (host-local's
    leases).
    """
    subprocess.run(["ip", "link", "add", "node0", "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", "node0"], check=True)
    subprocess.run(["ip", "link", "set", "node0", "up"], check=True)
    Path("/var/lib/cni").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "cni", "/var/lib/cni"], check=True)
    yield
    subprocess.run(["umount", "/var/lib/cni"], check=True)
    for link in links().intersection(("node0", "cbr0", "cnipods0")):
        subprocess.run(["ip", "link", "delete", link], check=True)


def namespaces(engine: Engine) -> list[str]:
    """Where an engine sees network namespaces mounted."""
    assert engine.process is not None
    mounts = Path(f"/proc/{engine.process.pid}/mountinfo").read_text().splitlines()
    return [
        line.split()[4] for line in mounts if " - nsfs " in line and "/netns/default " not in line
    ]


class Node:
    """The service with one network plugin, and what the node has of its pods."""

    def __init__(self, engine: Engine, root: Path, plugin: str, pod_cidr: str) -> None:
        self.engine = engine
        self.plugin = plugin
        # A machine with another runtime has namespaces of that one's, which our mount namespace
        # shows too.
        self.others = set(namespaces(engine))
        self.cache = root / "cache"
        self.conf = root / "conf"
        self.conf.mkdir()
        (self.conf / "10-pods.conflist").write_text(json.dumps(CONFIGURATION))
        self.service = Service(
            engine,
            flags=(
                "--network-plugin",
                plugin,
                "--cni-bin-dir",
                CNI_BINARIES,
                "--cni-conf-dir",
                str(self.conf),
                "--cni-cache-dir",
                str(self.cache),
                "--pod-cidr",
                pod_cidr,
                "--hairpin-mode",
                "hairpin-veth",
            ),
        )

    def end_with_a_faulty_plugin(self, directory: Path) -> None:
        """Let the network end with a plugin that misbehaves as the files beside it, in
        ``directory``, say.
        """
        directory.mkdir()
        for name in os.listdir(CNI_BINARIES):
            (directory / name).symlink_to(Path(CNI_BINARIES, name))
        (directory / "faulty").write_text(FAULTY)
        (directory / "faulty").chmod(0o755)
        self.service.flags += ("--cni-bin-dir", str(directory), "--shutdown-grace", "1s")
        (self.conf / "10-pods.conflist").write_text(
            json.dumps({**CONFIGURATION, "plugins": [*PLUGINS, {"type": "faulty"}]})
        )

    def remains(self) -> list[str]:
        """What is there of pods: leases, cached results, notes, namespaces, interfaces, rules."""
        found = leases(LEASES)
        found += [mount for mount in namespaces(self.engine) if mount not in self.others]
        for directory in (
            self.cache,
            self.service.root / "network" / "cni",
            self.service.root / "network" / "kubenet",
        ):
            found += [str(path) for path in directory.rglob("*") if path.is_file()]
        found += [name for name in links() if name.startswith(("veth", "ifb", "bwp"))]
        found += [
            line
            for line in rules().splitlines()
            if "--dport 3" in line or "KUBE-HP-" in line or "CNI-DN-" in line
        ]
        return found

    def namespace(self, sandbox_id: str) -> Namespace:
        return Namespace.of(int(self.engine.inspect(sandbox_id)["State"]["Pid"]))

    def run(self, scenario: Callable[[RemoteRuntimeService], Awaitable[None]]) -> None:
        async def main() -> None:
            async with RemoteRuntimeService.connect(self.service.endpoint) as runtime:
                await scenario(runtime)

        anyio.run(main)


PLUGINS = [
    {
        "type": "bridge",
        "bridge": "cnipods0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.67.0.0/24"}], [{"subnet": "fd67::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    },
    {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    {"type": "firewall"},
]
CONFIGURATION = {"cniVersion": "1.0.0", "name": "pods", "plugins": PLUGINS}


@pytest.fixture(params=["cni", "kubenet", "no-op"])
def node(engine: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    plugin, _, extra = request.param.partition("+")
    made = Node(engine, tmp_path, plugin, "" if extra == "update" else POD_CIDR)
    if extra == "faulty":
        made.end_with_a_faulty_plugin(tmp_path / "bin")
    made.service.start(ready=extra != "update")
    try:
        yield made
    finally:
        if made.service.process is not None:
            made.service.stop()
        engine.remove_all()


def config(name: str, *ports: tuple[int, int]) -> cri.PodSandboxConfig:
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=name, namespace="default", uid=f"uid-{name}", attempt=0
        ),
        port_mappings=[
            cri.PortMapping(protocol=cri.TCP, container_port=inside, host_port=outside)
            for inside, outside in ports
        ],
    )


def test_pods_reach_each_other_the_host_and_themselves_and_leave_nothing(node: Node) -> None:
    async def scenario(runtime: RemoteRuntimeService) -> None:
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
        assert node.remains() == before
        for sandbox_id in (web, client):
            await runtime.remove_pod_sandbox(sandbox_id)
        assert node.engine.containers() == []

    node.run(scenario)


def answers(address: str, port: int) -> bool:
    try:
        return bool(ask(address, port, timeout_s=1.0))
    except OSError:
        return False


def socket_family(address: str) -> int:
    return 10 if ":" in address else 2


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
        await until(lambda: node.remains() == [], "nothing is left")

    node.run(finish)
    assert sorted(done) == list(range(PODS))
    assert node.engine.containers() == []


@pytest.mark.parametrize("node", ["cni+faulty"], indirect=True)
def test_a_service_that_stops_while_a_plugin_hangs_leaves_nothing(
    node: Node, tmp_path: Path
) -> None:
    binaries = tmp_path / "bin"

    async def scenario(runtime: RemoteRuntimeService) -> None:
        (binaries / "hang").write_text("slow")

        async def hang() -> None:
            with pytest.raises(ServiceError):
                await runtime.run_pod_sandbox(config("slow"))

        async with anyio.create_task_group() as group:
            group.start_soon(hang)
            await until((binaries / "hangs").exists, "a plugin hangs")
            assert leases(LEASES)
            assert await anyio.to_thread.run_sync(node.service.stop) == 0

    node.run(scenario)
    assert not Path(f"/proc/{(binaries / 'hangs').read_text().strip()}").exists(), (
        "killed with the service"
    )
    node.service.start()
    eventually(
        lambda: node.remains() == [] and node.engine.containers() == [],
        "the next start finishes it",
    )


@pytest.mark.parametrize("node", ["cni+faulty"], indirect=True)
def test_a_faulty_plugin_fails_the_pod_clearly_and_holds_up_no_other(
    node: Node, tmp_path: Path
) -> None:
    binaries = tmp_path / "bin"

    async def scenario(runtime: RemoteRuntimeService) -> None:
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
        await until(lambda: node.remains() == [], "nothing is left")
        assert [sandbox.id for sandbox in await runtime.list_pod_sandbox()] == [other]
        await runtime.remove_pod_sandbox(other)

    node.run(scenario)


FAULTY = r"""#!/bin/sh
here=$(dirname "$0")
input=$(cat)
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}' ;;
ADD)
    case $CNI_ARGS in *POD_NAME=$(cat "$here/hang")*)
        echo $$ > "$here/hangs.new"; mv "$here/hangs.new" "$here/hangs"; sleep 100 ;; esac
    printf '%s' "$input" | sed 's/.*"prevResult": \({.*}\)}$/\1/' ;;
DEL) if [ -e "$here/refuse-del" ]; then echo "will not let go" >&2; exit 1; fi ;;
esac
"""


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
