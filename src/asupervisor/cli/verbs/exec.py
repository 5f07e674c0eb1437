"""``exec``: run a command in a container."""

from __future__ import annotations

import argparse
import sys
from base64 import b64encode

from asupervisor.cli import streams
from asupervisor.cli.output import is_document, print_document
from asupervisor.client import Client
from asupervisor.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """The container, the command, and its streams."""
    parser.add_argument("container", metavar="POD/CONTAINER", help="or the start of its id")
    parser.add_argument(
        "command", nargs="*", metavar="-- COMMAND", help="program and arguments, without a shell"
    )
    streams.arguments(parser, "command", "give the command a terminal")
    parser.add_argument(
        "-s",
        "--sync",
        action="store_true",
        help="run it without streams: its output is printed when it has ended",
    )
    parser.add_argument(
        "--limit",
        default="0",
        metavar="SECONDS",
        help="kill the command after so many whole seconds (implies --sync); 0: never (default: 0)",
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Run the command, and return its exit code."""
    if not options.command:
        raise ConfigError("no command; write it after --")
    if not options.limit.isdigit():
        raise ConfigError(f'--limit: "{options.limit}" is not a whole number of seconds')
    stdin, tty = streams.wanted(options)
    container = await client.find_container(options.container)
    if not (options.sync or int(options.limit) or is_document(options.output)):
        from asupervisor.cli.terminal import run_session

        async with container.open(
            options.command, stdin=stdin, terminal=tty, websocket=options.transport == "websocket"
        ) as running:
            return await run_session(running, has_terminal=tty)
    if stdin or tty:
        raise ConfigError(
            "--stdin and --tty need a stream: they exclude --sync, --limit and -o json"
        )
    limit_s = int(options.limit) or None
    ended = await container.exec(options.command, timeout_s=limit_s)
    document = {
        "stdout": b64encode(ended.stdout).decode(),
        "stderr": b64encode(ended.stderr).decode(),
        "exitCode": ended.exit_code,
    }
    if print_document(options.output, document):
        return ended.exit_code
    sys.stdout.buffer.write(ended.stdout)
    sys.stdout.flush()
    sys.stderr.buffer.write(ended.stderr)
    sys.stderr.flush()
    return ended.exit_code
