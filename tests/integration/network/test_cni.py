from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.config import NetworkConfig
from asupervisor.network.cni.network import CniNetwork
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
)

pytestmark = [
    pytest.mark.skipif(
        not Path(CNI_BINARIES, "bridge").exists(), reason="needs the containernetworking plugins"
    ),
    pytest.mark.usefixtures("own_network"),
]


class Node:
    """Directories of a node with a CNI network: bridge, host-local in two families, portmap,
    bandwidth.
    """

    def __init__(
        self,
        root: Path,
        *,
        extra: list[dict[str, Any]] | None = None,
        binaries: tuple[str, ...] = (CNI_BINARIES,),
    ) -> None:
        self.root = root
        self.leases = root / "leases"
        for name in ("conf", "state"):
            (root / name).mkdir()
        self.config = NetworkConfig(
            cni_conf_dir=str(root / "conf"),
            cni_bin_dirs=binaries,
            cni_cache_dir=str(root / "cache"),
        )
        self.network: dict[str, Any] = {
            "cniVersion": "1.0.0",
            "name": "testnet",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cnitest0",
                    "isGateway": True,
                    "ipMasq": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(self.leases),
                        "ranges": [[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd77::/64"}]],
                        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
                {"type": "bandwidth", "capabilities": {"bandwidth": True}},
                *(extra or []),
            ],
        }
        self.write()

    def write(self) -> None:
        (self.root / "conf" / "10-test.conflist").write_text(json.dumps(self.network))

    def plugin(self, **settings: Any) -> CniNetwork:
        return CniNetwork(self.config, self.root / "state", **settings)

    @asynccontextmanager
    async def running(self, **settings: Any) -> AsyncIterator[CniNetwork]:
        """A plugin that is started, has read its configuration, and is stopped after the block."""
        plugin = self.plugin(**settings)
        async with anyio.create_task_group() as group:
            await group.start(plugin.run)
            await until(lambda: "has not been read" not in plugin.status().message, "it is read")
            yield plugin
            group.cancel_scope.cancel()

    def nothing_left(self) -> None:
        """No lease, cached result, journal entry, veth or shaping interface."""
        assert leases(self.leases) == []
        assert [
            path
            for name in ("cache", "state/cni")
            for path in (self.root / name).rglob("*")
            if path.is_file()
        ] == []
        assert [name for name in links() if name.startswith(("veth", "bwp", "ifb"))] == []


async def test_pods_reach_each_other_and_the_host_in_both_families(
    tmp_path: Path, namespaces: Callable[[], Namespace]
) -> None:
    node = Node(tmp_path)
    one, two = namespaces(), namespaces()
    web = pod(one, PortMapping("tcp", 80, 8080), PortMapping("tcp", 80, 8081, "127.0.0.1"))
    client = pod(
        two,
        annotations={
            "kubernetes.io/egress-bandwidth": "10M",
            "kubernetes.io/ingress-bandwidth": "10M",
        },
        name="client",
    )

    async with node.running() as plugin:
        assert plugin.status().ready
        addresses = await plugin.set_up(web)
        assert (
            len(addresses) == 2
            and addresses[0].startswith("10.77.0.")
            and addresses[1].startswith("fd77::")
        )
        other = await plugin.set_up(client)
        assert await plugin.addresses(web) == addresses
        with Echo(one, 80), Echo(None, 9000):
            assert ask(addresses[0], 80, two) == other[0]
            assert ask(addresses[0], 80) == "10.77.0.1"
            assert ask("10.77.0.1", 9000, two) == other[0]
            assert ask("127.0.0.1", 8080) and ask("127.0.0.1", 8081)
            assert ask("10.77.0.1", 8080) == "10.77.0.1"
            assert ask("10.77.0.1", 8080, one), "the pod reaches itself through its host port"
        with Echo(one, 81, socket.AF_INET6):
            assert ask(addresses[1], 81, two) == other[1]
        assert shaping().count("rate 10Mbit") == 2, "one limit for each direction"
        assert len(list((tmp_path / "cache" / "results").iterdir())) == 2

        await plugin.tear_down(web)
        await plugin.tear_down(web)
        await plugin.tear_down(client)
        assert web.sandbox_id not in rules() and "8080" not in rules()
        node.nothing_left()


def shaping() -> str:
    return subprocess.run(
        ["tc", "qdisc", "show"], capture_output=True, text=True, check=True
    ).stdout


async def test_a_later_process_knows_the_addresses_and_takes_down_without_the_namespace(
    tmp_path: Path, namespaces: Callable[[], Namespace]
) -> None:
    node = Node(tmp_path)
    alive, gone = namespaces(), namespaces()
    living, dead = pod(alive, PortMapping("tcp", 80, 8082)), pod(gone, PortMapping("tcp", 80, 8083))
    given: dict[str, tuple[str, ...]] = {}

    async with node.running() as plugin:
        given["living"] = await plugin.set_up(living)
        await plugin.set_up(dead)
    gone.close()
    results = tmp_path / "cache" / "results"
    saved = {path: path.read_bytes() for path in results.iterdir()}
    for path in saved:
        path.unlink()
    async with node.running() as plugin:
        assert await plugin.addresses(living) == given["living"], "read from the namespace"
    for path, content in saved.items():
        path.write_bytes(content)
    async with node.running() as plugin:
        assert await plugin.addresses(living) == given["living"]
        await plugin.reconcile([living])
        assert "--dport 8083 " not in rules()
        assert len(leases(node.leases)) == 2
        await plugin.tear_down(living)
    node.nothing_left()
