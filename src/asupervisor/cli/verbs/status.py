"""``status``: show a pod and its containers."""

from __future__ import annotations

import argparse

from asupervisor.cli.output import (
    age,
    print_document,
    print_fields,
    print_table,
    readiness,
    short_id,
)
from asupervisor.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """The pod."""
    parser.add_argument("pod", metavar="POD", help="name, NAMESPACE/NAME or start of the id")


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print the pod, and below it a table of its containers."""
    pod = await client.find_pod(options.pod)
    containers = [await each.status() for each in pod.containers.values()]
    document = {"pod": pod.info.raw, "containers": [each.raw for each in containers]}
    if print_document(options.output, document):
        return 0
    print_fields(
        [
            ("Pod", f"{pod.info.namespace}/{pod.name}"),
            ("Id", short_id(pod.id)),
            ("State", readiness(pod.info)),
            ("Addresses", ", ".join(pod.info.addresses) or "those of the node"),
            ("Created", age(pod.info.created_at_ns)),
        ]
    )
    rows = [
        (
            each.name,
            short_id(each.id),
            each.state.title(),
            "" if each.exit_code is None else str(each.exit_code),
            " ".join(filter(None, (each.reason, each.message))),
            age(each.started_at_ns),
            each.image,
        )
        for each in containers
    ]
    if rows:
        print()
        print_table(("CONTAINER", "ID", "STATE", "EXIT", "REASON", "STARTED", "IMAGE"), rows)
    return 0
