"""``images``: list images."""

from __future__ import annotations

import argparse

from asupervisor.cli.client import Client
from asupervisor.cli.output import print_json, print_table, short_id, size


def arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


async def run(client: Client) -> int:
    """One line for each tag."""
    images = await client.images.list_images(stream=True)
    if client.options.output == "json":
        print_json(images)
        return 0
    rows = [
        (tag, short_id(image.id), size(image.size), "yes" if image.pinned else "")
        for image in images
        for tag in (image.repo_tags or [*image.repo_digests[:1]] or ["(none)"])
    ]
    print_table(("IMAGE", "IMAGE ID", "SIZE", "PINNED"), sorted(rows))
    return 0
