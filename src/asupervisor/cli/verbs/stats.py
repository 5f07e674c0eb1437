"""``stats``: what containers use."""

from __future__ import annotations

import argparse

from asupervisor.cli.client import Client
from asupervisor.cli.find import find_either
from asupervisor.cli.output import print_json, print_table, short_id, size
from asupervisor.proto import cri


def arguments(parser: argparse.ArgumentParser) -> None:
    """All, or of one pod or container."""
    parser.add_argument("name", nargs="?", metavar="POD[/CONTAINER]")


async def run(client: Client) -> int:
    """Most processor time first."""
    wanted = None
    if client.options.name:
        found = await find_either(client.runtime, client.options.name)
        wanted = (
            cri.ContainerStatsFilter(id=found.id)
            if isinstance(found, cri.Container)
            else cri.ContainerStatsFilter(pod_sandbox_id=found.id)
        )
    stats = await client.runtime.list_container_stats(wanted, stream=True)
    stats.sort(key=lambda each: (-each.cpu.usage_nano_cores.value, each.attributes.metadata.name))
    if client.options.output == "json":
        print_json(stats)
        return 0
    pods = {
        pod.id: f"{pod.metadata.namespace}/{pod.metadata.name}"
        for pod in await client.runtime.list_pod_sandbox(stream=True)
    }
    containers = {
        container.id: pods.get(container.pod_sandbox_id, "")
        for container in await client.runtime.list_containers(stream=True)
    }
    rows = [
        (
            short_id(each.attributes.id),
            containers.get(each.attributes.id, ""),
            each.attributes.metadata.name,
            f"{each.cpu.usage_nano_cores.value / 1e7:.2f}",
            f"{each.cpu.usage_core_nano_seconds.value / 1e9:.2f}",
            size(each.memory.working_set_bytes.value),
            size(each.writable_layer.used_bytes.value),
        )
        for each in stats
    ]
    print_table(("CONTAINER ID", "POD", "NAME", "CPU %", "CPU s", "MEMORY", "DISK"), rows)
    return 0
