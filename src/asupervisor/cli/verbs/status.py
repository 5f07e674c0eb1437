"""``status``: a pod and its containers."""

from __future__ import annotations

import argparse

from asupervisor.cli.client import Client
from asupervisor.cli.find import find_pod
from asupervisor.cli.output import (
    CONTAINER_STATES,
    SANDBOX_STATES,
    age,
    print_fields,
    print_json,
    print_table,
    short_id,
)
from asupervisor.proto import cri


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which pod."""
    parser.add_argument("pod", metavar="POD")


async def run(client: Client) -> int:
    """The sandbox first, a table of its containers below."""
    pod = await find_pod(client.runtime, client.options.pod)
    sandbox = (await client.runtime.pod_sandbox_status(pod.id)).status
    inside = await client.runtime.list_containers(cri.ContainerFilter(pod_sandbox_id=pod.id))
    containers = [
        (await client.runtime.container_status(container.id)).status for container in inside
    ]
    containers.sort(key=lambda status: status.created_at)
    if client.options.output == "json":
        print_json({"pod": sandbox, "containers": containers})
        return 0
    addresses = [sandbox.network.ip, *(address.ip for address in sandbox.network.additional_ips)]
    print_fields(
        [
            ("Pod", f"{sandbox.metadata.namespace}/{sandbox.metadata.name}"),
            ("Id", short_id(sandbox.id)),
            ("State", SANDBOX_STATES[sandbox.state]),
            ("Addresses", ", ".join(filter(None, addresses)) or "those of the node"),
            ("Created", age(sandbox.created_at)),
        ]
    )
    rows = [
        (
            status.metadata.name,
            short_id(status.id),
            CONTAINER_STATES[status.state],
            str(status.exit_code) if status.state == cri.CONTAINER_EXITED else "",
            " ".join(filter(None, (status.reason, status.message))),
            age(status.started_at),
            status.image.user_specified_image or status.image.image,
        )
        for status in containers
    ]
    if rows:
        print()
        print_table(("CONTAINER", "ID", "STATE", "EXIT", "REASON", "STARTED", "IMAGE"), rows)
    return 0
