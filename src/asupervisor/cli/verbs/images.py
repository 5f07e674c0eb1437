"""``images``: list images."""

from __future__ import annotations

import argparse

from asupervisor.cli import listing
from asupervisor.cli.output import size
from asupervisor.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """Those of every list."""
    listing.arguments(parser, pods=False)


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print a line for each tag."""

    async def look() -> listing.Listing:
        images = await client.images()
        rows = [
            (
                tag,
                listing.identifier(options, image.id),
                size(image.size_bytes),
                "yes" if image.pinned else "",
            )
            for image in images
            for tag in (image.tags or image.digests[:1] or ("(none)",))
        ]
        header = ("IMAGE", "IMAGE ID", "SIZE", "PINNED")
        return listing.Listing(header, sorted(rows), images)

    return await listing.run_list(client, options, look)
