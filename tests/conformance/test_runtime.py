"""Version, Status, RuntimeConfig, UpdateRuntimeConfig."""

from __future__ import annotations

import json

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri
from tests.conformance.node import Node


async def test_version_names_the_runtime_and_the_api(node: Node) -> None:
    assert node.version.version == "0.1.0"
    assert node.version.runtime_name
    assert node.version.runtime_version
    assert node.version.runtime_api_version == "v1"


async def test_status_has_both_required_conditions_and_they_are_true(node: Node) -> None:
    status = (await node.runtime.status()).status
    conditions = {condition.type: condition.status for condition in status.conditions}
    assert conditions["RuntimeReady"]
    assert conditions["NetworkReady"]


async def test_status_has_no_info_unless_verbose_and_then_json(node: Node) -> None:
    assert not (await node.runtime.status()).info
    info = (await node.runtime.status(verbose=True)).info
    assert info
    for key, value in info.items():
        if key != "lastCNILoadStatus" and not key.startswith("lastCNILoadStatus."):
            json.loads(value)


async def test_status_lists_the_default_runtime_handler_under_the_empty_name(node: Node) -> None:
    assert "" in {handler.name for handler in node.status.runtime_handlers}


async def test_runtime_config_tells_the_cgroup_driver(node: Node) -> None:
    config = await node.runtime.runtime_config()
    assert config.linux.cgroup_driver in (cri.SYSTEMD, cri.CGROUPFS)


async def test_update_runtime_config_takes_a_pod_cidr_and_nothing(node: Node) -> None:
    await node.runtime.update_runtime_config(cri.RuntimeConfig())
    await node.runtime.update_runtime_config(
        cri.RuntimeConfig(network_config=cri.NetworkConfig(pod_cidr="10.77.0.0/24"))
    )


async def test_update_runtime_config_refuses_what_is_no_cidr(node: Node) -> None:
    node.only_docker("other runtimes only keep the text")
    with node.refused(InvalidArgument, "not-a-cidr"):
        await node.runtime.update_runtime_config(
            cri.RuntimeConfig(network_config=cri.NetworkConfig(pod_cidr="not-a-cidr"))
        )
