"""``ps``: list containers."""

from __future__ import annotations

import argparse

from asupervisor.cli import listing
from asupervisor.cli.output import age
from asupervisor.client import Client, State
from asupervisor.client.find import choose_pod


def arguments(parser: argparse.ArgumentParser) -> None:
    """The state, the pod, and those of every list."""
    parser.add_argument("-a", "--all", action="store_true", help="containers that do not run too")
    parser.add_argument("-p", "--pod", default="", metavar="POD", help="only those of this pod")
    listing.arguments(parser)


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print the running containers, the newest first."""
    wanted = listing.labels(options)

    async def look() -> listing.Listing:
        found = await client.pods()
        pods = {pod.id: pod for pod in found if options.namespace in ("", pod.namespace)}
        pod_id = choose_pod(found, options.pod).id if options.pod else ""
        containers = [
            each
            for each in await client.containers(pod_id=pod_id, labels=wanted)
            if (options.all or each.state is State.RUNNING)
            and options.name in ("", each.name)
            and (each.pod_id in pods or not options.namespace)
        ]
        rows = [
            (
                listing.identifier(options, each.id),
                each.image,
                age(each.created_at_ns),
                each.state.title(),
                each.name,
                str(each.attempt),
                f"{pods[each.pod_id].namespace}/{pods[each.pod_id].name}"
                if each.pod_id in pods
                else listing.identifier(options, each.pod_id),
            )
            for each in containers
        ]
        header = ("CONTAINER ID", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD")
        return listing.Listing(header, rows, containers)

    return await listing.run_list(client, options, look)
