"""``events``: print what happens to containers and pods, from now on."""

from __future__ import annotations

import argparse
from contextlib import aclosing

from asupervisor.cli.output import print_document, short_id
from asupervisor.client import Client
from asupervisor.words import one_line


def arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print a line for each event, until Ctrl-C or until the server ends."""
    async with aclosing(client.events()) as events:
        async for event in events:
            if not print_document(options.output, event.raw):
                pod = f"{event.pod.namespace}/{event.pod.name}" if event.pod else ""
                print(f"{event.kind:8} {short_id(event.container_id)} {one_line(pod)}".rstrip())
            print(end="", flush=True)
    return 0
