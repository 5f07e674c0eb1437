"""``rm``: remove pods, or single containers."""

from __future__ import annotations

import argparse

from asupervisor.client import Client
from asupervisor.client.containers import Container
from asupervisor.client.values import State
from asupervisor.errors import FailedPrecondition


def arguments(parser: argparse.ArgumentParser) -> None:
    """The pods or containers, and whether running ones too."""
    parser.add_argument("name", nargs="+", metavar="POD[/CONTAINER]", help="or the start of an id")
    parser.add_argument("-f", "--force", action="store_true", help="kill what still runs first")


async def run(client: Client, options: argparse.Namespace) -> int:
    """Remove them; a pod with its containers."""
    for name in options.name:
        found = await client.find(name)
        if isinstance(found, Container):
            what, runs = f'"{name}"', found.info.state is State.RUNNING
        else:
            what, runs = f'pod "{name}"', found.info.ready
        if runs and not options.force:
            raise FailedPrecondition(
                f"{what} runs; stop it first, or give --force", subject=found.id
            )
        await found.remove()
        print(name)
    return 0
