"""``pods``: list pods."""

from __future__ import annotations

import argparse

from asupervisor.cli.output import age, print_json, print_table, readiness, short_id
from asupervisor.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


async def run(client: Client, options: argparse.Namespace) -> int:
    """Newest first."""
    pods = await client.pods()
    if options.output == "json":
        print_json([pod.raw for pod in pods])
        return 0
    rows = [
        (
            short_id(pod.id),
            age(pod.created_at_ns),
            readiness(pod),
            pod.namespace,
            pod.name,
            str(pod.attempt),
            pod.runtime_handler or "(default)",
        )
        for pod in pods
    ]
    print_table(("POD ID", "CREATED", "STATE", "NAMESPACE", "NAME", "ATTEMPT", "HANDLER"), rows)
    return 0
