"""``stop``: stop pods, or single containers."""

from __future__ import annotations

import argparse

from asupervisor.client import Client
from asupervisor.client.containers import DEFAULT_GRACE_S
from asupervisor.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """The pods or containers, and the grace period."""
    parser.add_argument("name", nargs="+", metavar="POD[/CONTAINER]", help="or the start of an id")
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        help=f"before SIGKILL (default: those of the manifest, else {DEFAULT_GRACE_S})",
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Stop them; the containers of a pod get their stop signal at the same time."""
    grace_s = _seconds(options.grace)
    for name in options.name:
        await (await client.find(name)).stop(grace_s)
        print(name)
    return 0


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdigit():
        raise ConfigError(f'--grace: "{text}" is not a whole number of seconds')
    return int(text)
