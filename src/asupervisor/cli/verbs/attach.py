"""``attach``: join a container's own streams."""

from __future__ import annotations

import argparse

from asupervisor.cli.client import Client
from asupervisor.cli.find import find_container


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


async def run(client: Client) -> int:
    """The container's output from now on; detaching leaves it alone."""
    from asupervisor.cli.terminal import run_session
    from asupervisor.streaming.client import open_command

    options = client.options
    stdin, tty = options.stdin or options.interactive, options.tty or options.interactive
    container = await find_container(client.runtime, options.container)
    url = await client.runtime.attach(container.id, tty=tty, stdin=stdin, stderr=not tty)
    async with open_command(
        url, tty=tty, stdin=stdin, websocket=options.transport == "websocket"
    ) as command:
        return await run_session(command, has_terminal=tty)
