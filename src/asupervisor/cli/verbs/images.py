"""``images``: list images."""

from __future__ import annotations

import argparse

from asupervisor.cli.output import print_json, print_table, short_id, size
from asupervisor.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


async def run(client: Client, options: argparse.Namespace) -> int:
    """One line for each tag."""
    images = await client.images()
    if options.output == "json":
        print_json([image.raw for image in images])
        return 0
    rows = [
        (tag, short_id(image.id), size(image.size_bytes), "yes" if image.pinned else "")
        for image in images
        for tag in (image.tags or image.digests[:1] or ("(none)",))
    ]
    print_table(("IMAGE", "IMAGE ID", "SIZE", "PINNED"), sorted(rows))
    return 0
