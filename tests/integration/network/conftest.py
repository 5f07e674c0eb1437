from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.engine import Engine
from tests.harness.namespace import network_of_its_own
from tests.integration.network.namespaces import Namespace, links
from tests.integration.network.pod_node import NODE_ADDRESS, POD_CIDR, Node

_BRIDGES = ("cnitest0", "cbr0")


@pytest.fixture
def namespaces() -> Iterator[Callable[[], Namespace]]:
    """Makes namespaces, which end with the test; so do the bridges that plugins made for them."""
    made: list[Namespace] = []

    def make() -> Namespace:
        made.append(Namespace())
        return made[-1]

    yield make
    for namespace in made:
        namespace.close()
    for bridge in links().intersection(_BRIDGES):
        subprocess.run(["ip", "link", "delete", bridge], check=True)


@pytest.fixture(scope="module")
def own_network() -> Iterator[None]:
    """For tests that drive a plugin without an engine: no engine's rules stand in their way, and
    theirs in no engine's.
    """
    with network_of_its_own():
        yield


@pytest.fixture(scope="module")
def node_address() -> Iterator[None]:
    """For pods of a whole node: an interface with an address, as a node has one, and an empty
    /var/lib/cni (host-local's leases).
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


@pytest.fixture(params=["cni", "kubenet", "no-op"])
def node(
    engine: Engine, tmp_path: Path, node_address: None, request: pytest.FixtureRequest
) -> Iterator[Node]:
    """A node with each network plugin, or with the one that a test asks for."""
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
