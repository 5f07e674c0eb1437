"""``ps``: list containers."""

from __future__ import annotations

import argparse

from asupervisor.cli.output import age, print_json, print_table, short_id
from asupervisor.client import Client
from asupervisor.client.values import State


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    parser.add_argument("-a", "--all", action="store_true", help="those that do not run too")


async def run(client: Client, options: argparse.Namespace) -> int:
    """Running ones, newest first."""
    containers = [
        each for each in await client.containers() if options.all or each.state is State.RUNNING
    ]
    if options.output == "json":
        print_json([container.raw for container in containers])
        return 0
    pods = {pod.id: f"{pod.namespace}/{pod.name}" for pod in await client.pods()}
    rows = [
        (
            short_id(container.id),
            container.image,
            age(container.created_at_ns),
            container.state.title(),
            container.name,
            str(container.attempt),
            pods.get(container.pod_id, short_id(container.pod_id)),
        )
        for container in containers
    ]
    print_table(("CONTAINER ID", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD"), rows)
    return 0
