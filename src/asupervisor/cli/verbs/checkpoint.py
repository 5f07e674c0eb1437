"""``checkpoint``: write the state of a running container to an archive on the server's node."""

from __future__ import annotations

import argparse

from asupervisor.client import Client
from asupervisor.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """The container, and the archive."""
    parser.add_argument("container", metavar="POD/CONTAINER", help="or the start of its id")
    parser.add_argument(
        "--export", required=True, metavar="FILE", help="absolute path of the archive on the node"
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """The container goes on running."""
    if not options.export.startswith("/"):
        raise ConfigError("--export must be an absolute path")
    container = await client.find_container(options.container)
    await client.runtime.checkpoint_container(container.id, options.export)
    print(options.export)
    return 0
