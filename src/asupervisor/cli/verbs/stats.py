"""``stats``: print what CPU, memory and disk containers use."""

from __future__ import annotations

import argparse

from asupervisor.cli.output import print_document, print_table, short_id, size
from asupervisor.client import Client
from asupervisor.client.containers import Container


def arguments(parser: argparse.ArgumentParser) -> None:
    """The pod or container."""
    parser.add_argument("name", nargs="?", metavar="POD[/CONTAINER]", help="only of this one")


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print the containers, most processor time first."""
    pod_id = container_id = ""
    if options.name:
        found = await client.find(options.name)
        if isinstance(found, Container):
            container_id = found.id
        else:
            pod_id = found.id
    stats = await client.stats(pod_id=pod_id, container_id=container_id)
    if print_document(options.output, [each.raw for each in stats]):
        return 0
    pods = {pod.id: f"{pod.namespace}/{pod.name}" for pod in await client.pods()}
    containers = {each.id: pods.get(each.pod_id, "") for each in await client.containers()}
    rows = [
        (
            short_id(each.container_id),
            containers.get(each.container_id, ""),
            each.name,
            f"{each.cpu_cores * 100:.2f}",
            f"{each.cpu_time_s:.2f}",
            size(each.memory_bytes),
            size(each.disk_bytes),
        )
        for each in stats
    ]
    print_table(("CONTAINER ID", "POD", "NAME", "CPU %", "CPU s", "MEMORY", "DISK"), rows)
    return 0
