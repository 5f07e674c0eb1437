"""``pods``: list pods."""

from __future__ import annotations

import argparse

from asupervisor.cli.client import Client
from asupervisor.cli.output import SANDBOX_STATES, age, print_json, print_table, short_id


def arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


async def run(client: Client) -> int:
    """Newest first."""
    pods = sorted(
        await client.runtime.list_pod_sandbox(stream=True), key=lambda pod: -pod.created_at
    )
    if client.options.output == "json":
        print_json(pods)
        return 0
    rows = [
        (
            short_id(pod.id),
            age(pod.created_at),
            SANDBOX_STATES[pod.state],
            pod.metadata.namespace,
            pod.metadata.name,
            str(pod.metadata.attempt),
            pod.runtime_handler or "(default)",
        )
        for pod in pods
    ]
    print_table(("POD ID", "CREATED", "STATE", "NAMESPACE", "NAME", "ATTEMPT", "HANDLER"), rows)
    return 0
