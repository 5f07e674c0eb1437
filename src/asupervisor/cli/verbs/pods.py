"""``pods``: list pods."""

from __future__ import annotations

import argparse

from asupervisor.cli import listing
from asupervisor.cli.output import age, readiness
from asupervisor.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """Those of every list."""
    listing.arguments(parser)


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print the pods, the newest first."""
    wanted = listing.labels(options)

    async def look() -> listing.Listing:
        pods = [
            pod
            for pod in await client.pods(wanted)
            if options.namespace in ("", pod.namespace) and options.name in ("", pod.name)
        ]
        rows = [
            (
                listing.identifier(options, pod.id),
                age(pod.created_at_ns),
                readiness(pod),
                pod.namespace,
                pod.name,
                str(pod.attempt),
                pod.runtime_handler or "(default)",
            )
            for pod in pods
        ]
        header = ("POD ID", "CREATED", "STATE", "NAMESPACE", "NAME", "ATTEMPT", "HANDLER")
        return listing.Listing(header, rows, pods)

    return await listing.run_list(client, options, look)
