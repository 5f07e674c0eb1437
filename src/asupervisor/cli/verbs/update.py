"""``update``: change the limits of containers in place."""

from __future__ import annotations

import argparse

from asupervisor.client import Client, Resources
from asupervisor.client.manifest.quantity import parse_quantity
from asupervisor.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """The containers, and the new limits."""
    parser.add_argument(
        "container", nargs="+", metavar="POD/CONTAINER", help="or the start of its id"
    )
    parser.add_argument(
        "--cpu", default="", metavar="CORES", help="new limit of CPU, such as 1.5 or 500m"
    )
    parser.add_argument(
        "--memory", default="", metavar="BYTES", help="new limit of memory, such as 64Mi or 1G"
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Change the limits that are given; the others stay."""
    if not (options.cpu or options.memory):
        raise ConfigError("nothing to change; give --cpu or --memory")
    cores = float(parse_quantity(options.cpu, "--cpu")) if options.cpu else None
    memory = int(parse_quantity(options.memory, "--memory")) if options.memory else None
    for name in options.container:
        container = await client.find_container(name)
        await container.update(Resources(cpu_cores=cores, memory_bytes=memory))
        print(name)
    return 0
