"""``ps``: list containers."""

from __future__ import annotations

import argparse

from asupervisor.cli.client import Client
from asupervisor.cli.output import CONTAINER_STATES, age, print_json, print_table, short_id
from asupervisor.proto import cri


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    parser.add_argument("-a", "--all", action="store_true", help="those that do not run too")


async def run(client: Client) -> int:
    """Running ones, newest first."""
    running = cri.ContainerFilter(state=cri.ContainerStateValue(state=cri.CONTAINER_RUNNING))
    containers = await client.runtime.list_containers(
        None if client.options.all else running, stream=True
    )
    containers.sort(key=lambda container: -container.created_at)
    if client.options.output == "json":
        print_json(containers)
        return 0
    pods = {
        pod.id: f"{pod.metadata.namespace}/{pod.metadata.name}"
        for pod in await client.runtime.list_pod_sandbox(stream=True)
    }
    rows = [
        (
            short_id(container.id),
            container.image.user_specified_image or container.image.image,
            age(container.created_at),
            CONTAINER_STATES[container.state],
            container.metadata.name,
            str(container.metadata.attempt),
            pods.get(container.pod_sandbox_id, short_id(container.pod_sandbox_id)),
        )
        for container in containers
    ]
    print_table(("CONTAINER ID", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD"), rows)
    return 0
