"""``logs``: a container's log, read from its file on this node."""

from __future__ import annotations

import argparse
import sys
from contextlib import aclosing

from asupervisor.client import Client
from asupervisor.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """The container, and how much of its log."""
    parser.add_argument("container", metavar="POD/CONTAINER", help="or the start of its id")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="print further lines until the container ends"
    )
    parser.add_argument(
        "--tail", default="", metavar="LINES", help="only so many of the last lines"
    )
    parser.add_argument(
        "-t", "--timestamps", action="store_true", help="print its time before each line"
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print what the container wrote to stdout to stdout, and the same for stderr."""
    if options.tail and not options.tail.isdecimal():
        raise ConfigError(f'--tail: "{options.tail}" is not a whole number of lines')
    container = await client.find_container(options.container)
    tail = int(options.tail) if options.tail else None
    mid_line = False
    async with aclosing(container.logs(follow=options.follow, tail=tail)) as lines:
        async for line in lines:
            out = sys.stderr.buffer if line.stream == "stderr" else sys.stdout.buffer
            time = f"{line.time} ".encode() if options.timestamps and not mid_line else b""
            out.write(time + line.content + (b"" if line.partial else b"\n"))
            out.flush()
            mid_line = line.partial
    return 0
