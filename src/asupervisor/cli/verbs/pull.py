"""``pull``: fetch an image."""

from __future__ import annotations

import argparse
import os
import sys

from asupervisor.cli.output import print_document
from asupervisor.client import Client
from asupervisor.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """The image, and the user."""
    parser.add_argument("image", help="reference, such as example.test/app:1")
    parser.add_argument(
        "--user",
        default="",
        metavar="NAME",
        help="user of the registry; $REGISTRY_PASSWORD has the password",
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print the reference by which containers should name it."""
    password = ""
    if options.user:
        # Not a flag: everybody on the machine can read a command line.
        if "REGISTRY_PASSWORD" not in os.environ:
            raise ConfigError("--user needs the password in $REGISTRY_PASSWORD")
        password = os.environ["REGISTRY_PASSWORD"]
    if sys.stderr.isatty():
        from asupervisor.cli.progress import shown_progress

        async with shown_progress(options.image) as progress:
            reference = await client.pull(
                options.image, username=options.user, password=password, progress=progress
            )
    else:
        reference = await client.pull(options.image, username=options.user, password=password)
    if not print_document(options.output, {"imageRef": reference}):
        print(reference)
    return 0
