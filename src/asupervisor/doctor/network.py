"""The pod network: its configuration, its plugins, and the machine's packet filter."""

from __future__ import annotations

import os
from collections.abc import Sequence

from asupervisor.conditions import Reason
from asupervisor.config import NetworkConfig
from asupervisor.doctor.finding import Finding, Found, error, ok, warning
from asupervisor.doctor.node import Node
from asupervisor.doctor.reasons import remedy
from asupervisor.errors import FailedPrecondition, ServiceError
from asupervisor.network.cni.chain import Chain, supported_versions
from asupervisor.network.cni.config import NetworkList, PluginConfig, find_binary
from asupervisor.network.cni.load import Loader
from asupervisor.network.hostports.iptables import Iptables
from asupervisor.translate.documents import text

_INTERFACES = {
    "cni0": "bridge",
    "flannel.1": "flannel",
    "cilium_host": "cilium-cni",
    "weave": "weave-net",
    "kube-bridge": "kube-router",
    "vxlan.calico": "calico",
    "cbr0": "kubenet",
}
"""Interfaces that pod networks leave behind, with the names of these networks."""
_FORWARDERS = ("KUBE-FORWARD", "CNI-FORWARD", "FLANNEL-FWD", "cali-FORWARD", "CILIUM_FORWARD")


async def cni(node: Node) -> Found:
    """Whether the service can use a configuration; it is read as the service reads it."""
    if node.config.network.plugin != "cni":
        return []
    loaded = await _loader(node.config.network).load()
    if loaded.network is None:
        problems = "; ".join(loaded.problems)
        why = (
            "correct what it names, or install the cluster's network, or give --cni-conf-dir and"
            " --cni-bin-dir; without a cluster, --network-plugin no-op gives pods the engine's"
            " bridge"
        )
        return error(f"{Reason.NETWORK_NOT_READY}: {problems}", why)
    network, found = loaded.network, list[Finding]()
    for problem in loaded.problems:
        found.append(warning(problem, "correct or remove that file: the next one is used instead"))
    if "ipRanges" in network.capabilities and not node.config.network.pod_cidr:
        found.append(
            warning(
                f"{network.path} wants a pod CIDR, and --pod-cidr gives none",
                "give it, or let the controller manager allocate node CIDRs",
            )
        )
    try:
        await Chain(network, node.config.network.cni_bin_dirs, node.deadline_s).status()
    except ServiceError as failure:
        found.append(error(f"{Reason.NETWORK_NOT_READY}: {failure}", remedy("")))
    return found or ok(f'network "{network.name}" from {network.path}')


async def plugins(node: Node) -> Found:
    """Whether the plugins are there and support the configuration's version."""
    if node.config.network.plugin != "cni":
        return []
    settings = node.config.network
    network = (await _loader(settings).load()).network
    if network is None:
        if any(map(_has_files, settings.cni_bin_dirs)):
            return []
        return error(
            f"there is no plugin in {', '.join(settings.cni_bin_dirs)}",
            "install the CNI plugins (containernetworking-plugins), or give --cni-bin-dir",
        )
    found, speak = list[Finding](), list[str]()
    for plugin in network.plugins:
        if problem := _addresses(plugin, settings.cni_bin_dirs):
            found.append(problem)
        try:
            versions = await supported_versions(
                plugin.type, settings.cni_bin_dirs, network.version, node.deadline_s
            )
            speak.append(f"{plugin.type} up to {versions[-1] if versions else '?'}")
        except ServiceError as failure:
            found.append(warning(str(failure), "install the plugin anew"))
    return found or ok(f"configuration {network.version}; {', '.join(speak)}")


def _addresses(plugin: PluginConfig, directories: Sequence[str]) -> Finding | None:
    """A problem with the plugin for addresses (IPAM), which the plugin itself calls."""
    name = text(plugin.document, "ipam", "type")
    if not name:
        return None
    path = find_binary(name, directories)
    if path is None:
        return error(
            f'there is no plugin "{name}" in {", ".join(directories)}, from which "{plugin.type}"'
            " takes addresses: no pod gets one",
            "install the CNI plugins (containernetworking-plugins), or give --cni-bin-dir",
        )
    if not os.access(path, os.X_OK):
        return error(
            f"{path} cannot be run: no pod gets an address",
            f"chmod 0755 {path}; its file system must not be noexec",
        )
    return None


def _has_files(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(entry.is_file() for entry in entries)
    except OSError:
        return False


def _loader(settings: NetworkConfig) -> Loader:
    return Loader(settings.cni_conf_dir, settings.cni_bin_dirs)


def kubenet(node: Node) -> Found:
    """Whether it knows the addresses of its pods."""
    if node.config.network.plugin != "kubenet":
        return []
    if node.config.network.pod_cidr:
        return ok(f"pod CIDR {node.config.network.pod_cidr}")
    return warning(
        "no --pod-cidr: the network is not ready before kubelet passes one on",
        "give it, or let the controller manager allocate node CIDRs",
    )


async def iptables(node: Node) -> Found:
    """Whether one backend is used, and pods' packets are let through."""
    if node.engine is not None and node.engine.firewall.startswith("nftables"):
        users = await _iptables_users(node)
        if users:
            return warning(
                f"the engine makes its rules with nftables, {', '.join(users)} with iptables: a"
                " packet has to be accepted by both",
                "give the engine --firewall-backend=iptables, or the plugins that of nftables",
            )
    rules: dict[str, dict[str, list[str]]] = {}
    for backend in ("nft", "legacy"):
        tables = Iptables(backend)
        try:
            await tables.detect((4,))
            rules[backend] = await tables.save(4)
        except FailedPrecondition:
            continue
        except ServiceError as failure:
            if os.geteuid() != 0:
                return warning(f"cannot look at iptables: {failure}", "run this as root")
            return error(f"iptables cannot be read: {failure}", "look at dmesg")
    return judge_rules(node.config.network.plugin, rules)


async def _iptables_users(node: Node) -> list[str]:
    settings = node.config.network
    if settings.plugin != "cni":
        return [settings.plugin] if settings.plugin == "kubenet" else []
    network = (await _loader(settings).load()).network
    return [plugin.type for plugin in network.plugins if plugin.uses_iptables] if network else []


def judge_rules(plugin: str, rules: dict[str, dict[str, list[str]]]) -> Found:
    """The finding for given rules.

    Args:
        plugin: the network plugin.
        rules: for each backend that is installed and each table, the lines of ``iptables-save``.
    """
    if not rules:
        return error("there is no iptables on this machine", "install the package iptables")
    used = [backend for backend, tables in rules.items() if _has_rules(tables)]
    if len(used) > 1:
        return warning(
            "both backends of iptables, nft and legacy, have rules: each hides the other's",
            "let kube-proxy, the engine and the network use one (update-alternatives --config"
            " iptables), then boot",
        )
    backend = used[0] if used else next(iter(rules))
    filters = rules[backend].get("filter", [])
    drops = any(line.startswith(":FORWARD DROP") for line in filters)
    lets = any(line.startswith("-A FORWARD") and line.endswith(_FORWARDERS) for line in filters)
    if drops and plugin in ("cni", "kubenet") and not lets:
        return warning(
            "the policy of FORWARD is DROP, as the engine sets it, and no rule of a pod network"
            " passes it: pods reach no address outside",
            'iptables -P FORWARD ACCEPT, or "iptables": false in the engine\'s daemon.json',
        )
    return ok(f"iptables, backend {backend}")


def _has_rules(tables: dict[str, list[str]]) -> bool:
    return any(line.startswith("-A ") for lines in tables.values() for line in lines)


async def other_networks(node: Node) -> Found:
    """Whether interfaces of an earlier pod network are left."""
    present = set(os.listdir(node.path("/sys/class/net")))
    network: NetworkList | None = None
    if node.config.network.plugin == "cni":
        network = (await _loader(node.config.network).load()).network
    used = network.source.decode(errors="replace") if network else node.config.network.plugin
    found: list[Finding] = [
        warning(
            f"interface {name} is left of {owner}, which the configuration does not use",
            f"ip link delete {name}, once no pod is on it",
        )
        for name, owner in _INTERFACES.items()
        if name in present and owner not in used and name not in used
    ]
    return found or ok("no interface is left of another pod network")
