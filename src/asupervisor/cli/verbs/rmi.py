"""``rmi``: remove images."""

from __future__ import annotations

import argparse

from asupervisor.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """The images."""
    parser.add_argument("image", nargs="+", help="reference or id")


async def run(client: Client, options: argparse.Namespace) -> int:
    """Remove them; if one is gone already, that is a success."""
    for image in options.image:
        await client.remove_image(image)
        print(image)
    return 0
