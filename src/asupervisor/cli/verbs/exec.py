"""``exec``: run a command in a container."""

from __future__ import annotations

import argparse
import sys

from asupervisor.cli.client import Client
from asupervisor.cli.find import find_container
from asupervisor.cli.output import print_json
from asupervisor.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where, and what."""
    parser.add_argument("container", metavar="POD/CONTAINER")
    parser.add_argument("command", nargs="*", metavar="-- COMMAND")
    parser.add_argument("-s", "--sync", action="store_true", help="without a stream: output comes when the command has ended")
    parser.add_argument("--limit", default="0", metavar="SECONDS", help="kill the command after it; 0: never (default: 0)")


async def run(client: Client) -> int:
    """The command's output and its exit code."""
    options = client.options
    if not options.command:
        raise ConfigError("no command; write it after --")
    if not options.limit.isdigit():
        raise ConfigError(f'--limit: "{options.limit}" is no whole number of seconds')
    container = await find_container(client.runtime, options.container)
    answer = await client.runtime.exec_sync(container.id, options.command, int(options.limit))
    if options.output == "json":
        print_json(answer)
        return int(answer.exit_code)
    sys.stdout.buffer.write(answer.stdout)
    sys.stdout.flush()
    sys.stderr.buffer.write(answer.stderr)
    sys.stderr.flush()
    return int(answer.exit_code)
