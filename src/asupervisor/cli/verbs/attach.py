"""``attach``: join a container's own streams."""

from __future__ import annotations

import argparse

from asupervisor.cli import streams
from asupervisor.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """The container, and which streams."""
    parser.add_argument("container", metavar="POD/CONTAINER", help="or the start of its id")
    streams.arguments(parser, "container", "the container has a terminal")


async def run(client: Client, options: argparse.Namespace) -> int:
    """Show the container's output from now on; it goes on running when the client ends."""
    from asupervisor.cli.terminal import run_session

    stdin, tty = streams.wanted(options)
    container = await client.find_container(options.container)
    websocket = options.transport == "websocket"
    async with container.attach(stdin=stdin, terminal=tty, websocket=websocket) as running:
        return await run_session(running, has_terminal=tty)
