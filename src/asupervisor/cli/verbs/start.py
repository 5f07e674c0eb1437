"""``start``: start created containers."""

from __future__ import annotations

import argparse

from asupervisor.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """The containers."""
    parser.add_argument(
        "container", nargs="+", metavar="POD/CONTAINER", help="or the start of its id"
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Start one after the other."""
    for name in options.container:
        await (await client.find_container(name)).start()
        print(name)
    return 0
