"""``attach``: join a container's own streams."""

from __future__ import annotations

import argparse

from asupervisor.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where, and whether standard input goes too."""
    parser.add_argument("container", metavar="POD/CONTAINER")
    parser.add_argument(
        "-i", "--stdin", action="store_true", help="hand standard input to the container"
    )
    parser.add_argument(
        "-t",
        "--tty",
        action="store_true",
        help="the container has a terminal; keys and changes of size go through",
    )
    parser.add_argument("-it", "-ti", dest="interactive", action="store_true", help="both")
    parser.add_argument(
        "--transport", choices=("spdy", "websocket"), default="spdy", help="default: spdy"
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """The container's output from now on; detaching leaves it alone."""
    from asupervisor.cli.terminal import run_session

    stdin, tty = options.stdin or options.interactive, options.tty or options.interactive
    container = await client.find_container(options.container)
    websocket = options.transport == "websocket"
    async with container.attach(stdin=stdin, terminal=tty, websocket=websocket) as running:
        return await run_session(running, has_terminal=tty)
