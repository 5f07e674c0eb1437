from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.config import NetworkConfig
from asupervisor.errors import FailedPrecondition, Unavailable
from asupervisor.network.hostports.iptables import Iptables
from asupervisor.network.kubenet.network import KubenetNetwork
from asupervisor.network.plugin import PortMapping
from tests.harness.pods import until
from tests.integration.network.namespaces import (
    CNI_BINARIES,
    Echo,
    Namespace,
    ask,
    leases,
    links,
    pod,
    rules,
    udp_round_trip,
)

pytestmark = [
    pytest.mark.skipif(
        not Path(CNI_BINARIES, "bridge").exists(), reason="needs the containernetworking plugins"
    ),
    pytest.mark.usefixtures("own_network"),
]

CIDR = "10.88.0.0/24,fd88::/64"


class Node:
    """A node that runs kubenet in directories of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.leases = root / "leases"

    @asynccontextmanager
    async def running(
        self, *, settings: dict[str, Any] | None = None, **config: Any
    ) -> AsyncIterator[KubenetNetwork]:
        plugin = KubenetNetwork(
            NetworkConfig(
                plugin="kubenet",
                cni_bin_dirs=(CNI_BINARIES,),
                cni_cache_dir=str(self.root / "cache"),
                **{"pod_cidr": CIDR, "hairpin_mode": "hairpin-veth", **config},
            ),
            self.root / "state",
            lease_dir=str(self.leases),
            **(settings or {}),
        )
        async with anyio.create_task_group() as group:
            await group.start(plugin.run)
            await until(lambda: "not been started" not in plugin.status().message, "it was tried")
            yield plugin
            group.cancel_scope.cancel()

    def nothing_left(self) -> None:
        """No lease, cached result, journal entry, veth or rule of a pod."""
        assert leases(self.leases) == []
        assert [
            path
            for name in ("cache", "state/kubenet")
            for path in (self.root / name).rglob("*")
            if path.is_file()
        ] == []
        assert [name for name in links() if name.startswith("veth")] == []
        assert "KUBE-HP-" not in rules()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@contextmanager
def foreign_rules(backend: str) -> Iterator[None]:
    """Rules of somebody else, which must be there afterwards as they were before."""
    for program in ("iptables", "ip6tables"):
        command = f"{program}-{backend}-restore"
        text = (
            "*nat\n:OTHERS - [0:0]\n-A OTHERS -p tcp -m tcp --dport 1 -j RETURN\n-A PREROUTING -j"
            " OTHERS\nCOMMIT\n"
        )
        subprocess.run([command, "--noflush"], input=text, text=True, check=True)
    yield
    for program in ("iptables", "ip6tables"):
        saved = subprocess.run(
            [f"{program}-{backend}-save", "-t", "nat"], capture_output=True, text=True, check=True
        ).stdout
        assert (
            "-A PREROUTING -j OTHERS" in saved
            and "-A OTHERS -p tcp -m tcp --dport 1 -j RETURN" in saved
        )
        for argument in (["-D", "PREROUTING", "-j", "OTHERS"], ["-F", "OTHERS"], ["-X", "OTHERS"]):
            subprocess.run([f"{program}-{backend}", "-t", "nat", *argument], check=True)


@pytest.fixture
def clean() -> Iterator[None]:
    """No rule at all before and after a test, in either backend."""
    yield
    for backend in ("nft", "legacy"):
        for program in ("iptables", "ip6tables"):
            for table in ("nat", "filter"):
                for argument in ("-F", "-X"):
                    subprocess.run([f"{program}-{backend}", "-t", table, argument], check=True)


@pytest.mark.parametrize("backend", ["nft", "legacy"])
async def test_a_pod_reaches_others_the_host_and_itself_and_serves_host_ports(
    node: Node, namespaces: Callable[[], Namespace], clean: None, backend: str
) -> None:
    one, two = namespaces(), namespaces()
    web = pod(
        one,
        PortMapping("tcp", 80, 18080),
        PortMapping("tcp", 80, 18081, "127.0.0.1"),
        PortMapping("udp", 53, 18053),
        PortMapping("sctp", 99, 18099),
        PortMapping("tcp", 80, 18082, "fd88::1"),
    )
    client = pod(two, name="client")

    with foreign_rules(backend):
        async with node.running(settings={"iptables_backend": backend}) as plugin:
            assert plugin.status().ready
            plugin.check(web)
            addresses = await plugin.set_up(web)
            assert addresses[0].startswith("10.88.0.") and addresses[1].startswith("fd88::")
            other = await plugin.set_up(client)
            with Echo(one, 80), Echo(None, 19000):
                assert ask(addresses[0], 80, two) == other[0]
                assert ask(addresses[0], 80) == "10.88.0.1"
                assert ask("10.88.0.1", 19000, two) == other[0]
                assert ask("127.0.0.1", 18080) and ask("127.0.0.1", 18081)
                assert ask("10.88.0.1", 18080) == "10.88.0.1"
                assert ask("10.88.0.1", 18080, two) == other[0], (
                    "another pod comes with its own address"
                )
                assert ask("10.88.0.1", 18080, one) == "10.88.0.1", (
                    "the pod reaches itself, masqueraded"
                )
                with pytest.raises(OSError, match="refused"):
                    ask("10.88.0.1", 18081, two)
            with Echo(one, 80, socket.AF_INET6):
                assert ask(addresses[1], 80, two) == other[1]
                assert ask("fd88::1", 18080, two) == other[1]
                assert ask("fd88::1", 18082) and ask("fd88::1", 18080, one)
                with pytest.raises(OSError, match="refused"):
                    ask("::1", 18080)
            with one.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
                server.bind(("0.0.0.0", 53))
                server.settimeout(5)
                assert udp_round_trip(server, "127.0.0.1", 18053) == b"ping pong"
                assert udp_round_trip(server, "10.88.0.1", 18053, two) == b"ping pong"
            text = rules()
            assert (
                "-p sctp -m sctp --dport 18099" in text
                and f"--to-destination {addresses[0]}:99" in text
            )
            await plugin.tear_down(web)
            await plugin.tear_down(web)
            await plugin.tear_down(client)
            node.nothing_left()


async def test_host_port_conflicts_are_refused_before_anything_is_created(
    node: Node, namespaces: Callable[[], Namespace], clean: None
) -> None:
    web, rival = (
        pod(namespaces(), PortMapping("tcp", 80, 18080)),
        pod(namespaces(), PortMapping("tcp", 80, 18080), name="rival"),
    )

    async with node.running() as plugin:
        with (
            Echo(None, 18080),
            pytest.raises(
                FailedPrecondition,
                match=r"tcp/18080 of pod default/web is in use by another process",
            ),
        ):
            plugin.check(web)
        await plugin.set_up(web)
        with pytest.raises(
            FailedPrecondition, match=r"tcp/18080 is held by pod default/web .*pod default/rival"
        ):
            plugin.check(rival)
        with pytest.raises(FailedPrecondition):
            await plugin.set_up(rival)
        assert len(leases(node.leases)) == 2
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", 18080))
        await plugin.tear_down(web)
        socket.create_server(("127.0.0.1", 18080)).close()
        node.nothing_left()


async def test_a_later_process_rebuilds_what_lives_and_removes_what_does_not(
    node: Node, namespaces: Callable[[], Namespace], clean: None
) -> None:
    one, two = namespaces(), namespaces()
    living, dead = (
        pod(one, PortMapping("tcp", 80, 18080)),
        pod(two, PortMapping("tcp", 80, 18090), name="dead"),
    )
    third = pod(namespaces(), PortMapping("tcp", 80, 18100), name="third")
    given: dict[str, tuple[str, ...]] = {}

    async with node.running() as plugin:
        given["living"] = await plugin.set_up(living)
        await plugin.set_up(dead)
    two.close()
    async with node.running() as plugin:
        with Echo(one, 80):
            assert ask("127.0.0.1", 18080), "the rules outlive the process"
            await plugin.set_up(third)
            assert ask("127.0.0.1", 18080), "a new pod does not disturb pods that are not known yet"
            assert await plugin.addresses(living) == given["living"]
            await plugin.reconcile([living, third])
            assert ask("127.0.0.1", 18080)
        assert "18090" not in rules()
        assert "18100" in rules()
        with pytest.raises(FailedPrecondition):
            plugin.check(
                replace(
                    third, sandbox_id="", name="new", uid="x", port_mappings=living.port_mappings
                )
            )
        await plugin.tear_down(living)
        await plugin.tear_down(third)
        node.nothing_left()


async def test_results_of_a_peer_that_names_no_pod_are_released_too(
    node: Node, namespaces: Callable[[], Namespace], clean: None
) -> None:
    namespace = namespaces()

    async with node.running() as plugin:
        await plugin.set_up(pod(namespace))
    (cached,) = (node.root / "cache" / "results").iterdir()
    document = json.loads(cached.read_text())
    del document["cniArgs"]  # cri-dockerd's kubenet gives none
    cached.write_text(json.dumps(document))
    namespace.close()
    async with node.running() as plugin:
        await plugin.reconcile([])
        node.nothing_left()


async def test_the_pod_cidr_comes_by_update_runtime_config_and_is_remembered(
    node: Node, namespaces: Callable[[], Namespace], clean: None
) -> None:
    web = pod(namespaces())

    async with node.running(pod_cidr="") as plugin:
        assert not plugin.status().ready and "pod CIDR" in plugin.status().message
        with pytest.raises(Unavailable, match="pod CIDR"):
            plugin.check(web)
        await plugin.update_pod_cidr("10.89.0.0/24")
        assert plugin.status().ready
        await plugin.update_pod_cidr("10.90.0.0/24")
        assert (await plugin.set_up(web))[0].startswith("10.89.0.")
        await plugin.tear_down(web)
    async with node.running(pod_cidr="") as plugin:
        assert plugin.status().ready, "kubelet does not say it again"
        await plugin.update_pod_cidr("10.91.0.0/24,fd91::/64")
        addresses = await plugin.set_up(web)
        assert addresses[0].startswith("10.91.0.") and addresses[1].startswith("fd91::")
        await plugin.tear_down(web)
        node.nothing_left()


async def test_rules_that_somebody_flushed_are_written_again(
    node: Node, namespaces: Callable[[], Namespace], clean: None
) -> None:
    one = namespaces()
    web = pod(one, PortMapping("tcp", 80, 18080))

    async with node.running(settings={"repair_interval_s": 0.1}) as plugin:
        await plugin.set_up(web)
        with Echo(one, 80):
            await anyio.to_thread.run_sync(
                lambda: subprocess.run(["iptables", "-t", "nat", "-F"], check=True)
            )
            await until(lambda: "--to-destination 10.88.0." in rules(), "the rules are there again")
            assert ask("127.0.0.1", 18080)
        await plugin.tear_down(web)
        node.nothing_left()


async def test_bandwidth_is_limited_both_ways_and_the_limits_go_with_the_pod(
    node: Node, namespaces: Callable[[], Namespace], clean: None
) -> None:
    one = namespaces()
    web = pod(
        one,
        annotations={
            "kubernetes.io/ingress-bandwidth": "10M",
            "kubernetes.io/egress-bandwidth": "5M",
        },
    )

    async with node.running() as plugin:
        await plugin.set_up(web)
        veth = next(name for name in links() if name.startswith("veth"))
        assert "rate 10Mbit ceil 10Mbit" in classes(veth)
        assert "rate 5Mbit ceil 5Mbit" in one.run(lambda: classes("eth0"))
        with pytest.raises(Exception, match="egress-bandwidth"):
            plugin.check(replace(web, annotations={"kubernetes.io/egress-bandwidth": "much"}))
        await plugin.tear_down(web)
        node.nothing_left()


@contextmanager
def service(address: str, pod_address: str) -> Iterator[None]:
    """A cluster address that leads to one pod, as kube-proxy makes it."""
    text = (
        "*nat\n:KUBE-SVC - [0:0]\n"
        f"-A KUBE-SVC -s {pod_address}/32 -j KUBE-MARK-MASQ\n"
        f"-A KUBE-SVC -p tcp -j DNAT --to-destination {pod_address}:80\n"
        f"-A PREROUTING -d {address}/32 -p tcp --dport 80 -j KUBE-SVC\nCOMMIT\n"
    )
    subprocess.run(["iptables-restore", "--noflush"], input=text, text=True, check=True)
    yield
    for argument in (
        ["-D", "PREROUTING", "-d", address, "-p", "tcp", "--dport", "80", "-j", "KUBE-SVC"],
        ["-F", "KUBE-SVC"],
        ["-X", "KUBE-SVC"],
    ):
        subprocess.run(["iptables", "-t", "nat", *argument], check=True)


def remove_dedup() -> None:
    for argument in (
        ["-D", "OUTPUT", "-j", "KUBE-DEDUP"],
        ["-F", "KUBE-DEDUP"],
        ["-X", "KUBE-DEDUP"],
    ):
        subprocess.run(["ebtables", "-t", "filter", *argument], check=True)


@pytest.mark.parametrize("mode", ["hairpin-veth", "promiscuous-bridge", "none"])
async def test_hairpin_modes(
    node: Node, namespaces: Callable[[], Namespace], clean: None, mode: str
) -> None:
    one = namespaces()
    web = pod(one, PortMapping("tcp", 80, 18080))

    async with node.running(hairpin_mode=mode) as plugin:
        addresses = await plugin.set_up(web)
        with Echo(one, 80), service("10.96.0.10", addresses[0]):
            if mode == "none":
                for address, port in (("10.88.0.1", 18080), ("10.96.0.10", 80)):
                    with pytest.raises(OSError, match="timed out"):
                        ask(address, port, one, timeout_s=1.0)
            else:
                assert ask("10.88.0.1", 18080, one) == "10.88.0.1"
                assert ask("10.96.0.10", 80, one) == "10.88.0.1", "by its service's address"
            if mode == "promiscuous-bridge":
                assert (
                    "--ip-src 10.88.0.1 -j ACCEPT" in dedup() and "10.88.0.0/24 -j DROP" in dedup()
                )
        await plugin.tear_down(web)
        node.nothing_left()
    if mode == "promiscuous-bridge":
        remove_dedup()


def test_the_backend_is_the_one_that_kubelet_uses(clean: None) -> None:
    async def detected() -> str:
        iptables = Iptables()
        await iptables.detect((4, 6))
        return iptables.backend

    assert anyio.run(detected) == ""
    subprocess.run(["iptables-legacy", "-t", "mangle", "-N", "KUBE-KUBELET-CANARY"], check=True)
    assert anyio.run(detected) == "legacy"
    subprocess.run(["iptables-nft", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT"], check=True)
    assert anyio.run(detected) == "nft"
    for backend in ("nft", "legacy"):
        subprocess.run([f"iptables-{backend}", "-t", "mangle", "-X"], check=True)


async def test_without_iptables_the_network_is_not_ready_and_says_so(
    node: Node, clean: None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asupervisor.network.hostports.iptables._SEARCH", str(node.root))
        patch.setenv("PATH", str(node.root))
        async with node.running(settings={"iptables_backend": "nft"}) as plugin:
            assert "iptables-nft-restore" in plugin.status().message and not plugin.status().ready
            await plugin.reconcile([])


def dedup() -> str:
    return subprocess.run(
        ["ebtables", "-t", "filter", "-L", "KUBE-DEDUP"], capture_output=True, text=True, check=True
    ).stdout


def classes(interface: str) -> str:
    return subprocess.run(
        ["tc", "class", "show", "dev", interface], capture_output=True, text=True, check=True
    ).stdout
