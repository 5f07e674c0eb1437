"""Faults of the pod network and the packet filter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asupervisor.doctor import network
from asupervisor.doctor.finding import Level
from tests.harness.made_node import MadeNode, assert_finds, only

PLUGIN = """#!/bin/sh
cat >/dev/null
echo '{"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0"]}'
"""
NAT = [":PREROUTING ACCEPT", "-A PREROUTING -j KUBE-SERVICES"]


@pytest.fixture
def made(tmp_path: Path) -> MadeNode:
    """With a network of one plugin."""
    node = MadeNode(tmp_path)
    node.write("opt/cni/bin/bridge", PLUGIN).chmod(0o755)
    configure(node)
    return node


def configure(node: MadeNode, name: str = "10-pods.conflist", **fields: object) -> None:
    document = {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}]} | fields
    node.write(f"etc/cni/net.d/{name}", json.dumps(document))


async def test_a_good_network_is_ok(made: MadeNode) -> None:
    assert_finds(only(await network.cni(made.node)), Level.OK, 'network "pods"')
    found = only(await network.plugins(made.node))
    assert_finds(found, Level.OK, "configuration 1.0.0; bridge up to 1.0.0")
    assert_finds(only(await network.other_networks(made.node)), Level.OK)
    made.network["plugin"] = "no-op"
    assert await network.cni(made.node) == [] == await network.plugins(made.node)


async def test_no_configuration(made: MadeNode) -> None:
    made.remove("etc/cni/net.d/10-pods.conflist")
    found = only(await network.cni(made.node))
    assert_finds(found, Level.ERROR, "NetworkPluginNotReady", "no network configuration")
    assert "install the cluster's network" in found.remedy


async def test_a_configuration_that_is_no_json(made: MadeNode) -> None:
    made.write("etc/cni/net.d/10-pods.conflist", '{"name": ')
    assert_finds(only(await network.cni(made.node)), Level.ERROR, "invalid JSON at line 1")


async def test_a_bad_configuration_before_a_good_one(made: MadeNode) -> None:
    made.write("etc/cni/net.d/00-old.conf", "{}")
    found = only(await network.cni(made.node))
    assert_finds(found, Level.WARNING, "00-old.conf")


async def test_a_configuration_that_never_ends(made: MadeNode) -> None:
    made.write("etc/cni/net.d/10-pods.conflist", " " * (2 << 20))
    assert_finds(only(await network.cni(made.node)), Level.ERROR, "longer than 1048576 bytes")


async def test_a_plugin_is_missing(made: MadeNode) -> None:
    configure(made, plugins=[{"type": "flannel"}])
    assert_finds(only(await network.cni(made.node)), Level.ERROR, 'there is no plugin "flannel"')


async def test_a_plugin_that_cannot_be_run(made: MadeNode) -> None:
    (made.root / "opt/cni/bin/bridge").chmod(0o644)
    found = only(await network.cni(made.node))
    assert_finds(found, Level.ERROR, "cannot execute", "opt/cni/bin/bridge: Permission denied")


async def test_the_plugin_for_addresses_cannot_be_run(made: MadeNode) -> None:
    made.write("opt/cni/bin/host-local", PLUGIN).chmod(0o644)
    configure(made, plugins=[{"type": "bridge", "ipam": {"type": "host-local"}}])
    found = only(await network.plugins(made.node))
    assert_finds(found, Level.ERROR, "opt/cni/bin/host-local cannot be run")
    assert "chmod 0755" in found.remedy


async def test_the_plugin_for_addresses_is_missing(made: MadeNode) -> None:
    configure(made, plugins=[{"type": "bridge", "ipam": {"type": "host-local"}}])
    found = only(await network.plugins(made.node))
    assert_finds(found, Level.ERROR, 'there is no plugin "host-local"', 'from which "bridge"')


async def test_there_is_neither_a_network_nor_a_plugin(made: MadeNode) -> None:
    made.remove("etc/cni/net.d/10-pods.conflist")
    assert await network.plugins(made.node) == []
    made.remove("opt/cni/bin/bridge")
    found = only(await network.plugins(made.node))
    assert_finds(found, Level.ERROR, "there is no plugin in ")
    assert "install the CNI plugins" in found.remedy


async def test_a_plugin_that_is_too_old_for_its_configuration(made: MadeNode) -> None:
    configure(made, cniVersion="1.1.0")
    found = only(await network.cni(made.node))
    assert_finds(found, Level.ERROR, 'plugin "bridge" does not support 1.1.0')


async def test_a_plugin_that_answers_nonsense(made: MadeNode) -> None:
    made.write("opt/cni/bin/bridge", "#!/bin/sh\ncat >/dev/null\necho hello\n")
    found = only(await network.plugins(made.node))
    assert found.level is Level.WARNING and "bridge" in found.message


async def test_a_network_that_lacks_its_pod_cidr(made: MadeNode) -> None:
    configure(made, plugins=[{"type": "bridge", "capabilities": {"ipRanges": True}}])
    assert_finds(only(await network.cni(made.node)), Level.WARNING, "wants a pod CIDR")


def test_kubenet_without_a_pod_cidr(made: MadeNode) -> None:
    made.network["plugin"] = "kubenet"
    assert_finds(only(network.kubenet(made.node)), Level.WARNING, "no --pod-cidr")
    made.network["pod_cidr"] = "10.1.0.0/24"
    assert_finds(only(network.kubenet(made.node)), Level.OK)


async def test_an_interface_of_a_network_that_was_here_before(made: MadeNode) -> None:
    (made.root / "sys/class/net/flannel.1").mkdir()
    found = only(await network.other_networks(made.node))
    assert_finds(found, Level.WARNING, "flannel.1 is left of flannel")
    assert "ip link delete flannel.1" in found.remedy


async def test_an_interface_of_the_network_that_is_used(made: MadeNode) -> None:
    (made.root / "sys/class/net/cni0").mkdir()
    assert_finds(only(await network.other_networks(made.node)), Level.OK)


def test_no_iptables() -> None:
    assert_finds(only(network.judge_rules("cni", {})), Level.ERROR, "there is no iptables")


def test_rules_in_both_backends() -> None:
    found = only(network.judge_rules("cni", {"nft": {"nat": NAT}, "legacy": {"nat": NAT}}))
    assert_finds(found, Level.WARNING, "both backends")


@pytest.mark.parametrize(
    ("plugin", "filters", "level"),
    [
        ("cni", [":FORWARD DROP [0:0]"], Level.WARNING),
        ("kubenet", [":FORWARD DROP [0:0]", "-A FORWARD -j DOCKER-USER"], Level.WARNING),
        ("cni", [":FORWARD DROP [0:0]", "-A FORWARD -j CNI-FORWARD"], Level.OK),
        ("cni", [":FORWARD ACCEPT [0:0]"], Level.OK),
        ("no-op", [":FORWARD DROP [0:0]"], Level.OK),
    ],
)
def test_a_policy_that_lets_no_pod_through(plugin: str, filters: list[str], level: Level) -> None:
    rules: dict[str, dict[str, list[str]]] = {
        "legacy": {"filter": []},
        "nft": {"nat": NAT, "filter": filters},
    }
    found = only(network.judge_rules(plugin, rules))
    assert_finds(found, level, "nft" if level is Level.OK else "FORWARD is DROP")
