"""``prune``: remove what is not used."""

from __future__ import annotations

import argparse

from asupervisor.cli.output import say
from asupervisor.client import Client
from asupervisor.words import one_line


def arguments(parser: argparse.ArgumentParser) -> None:
    """Whether images too."""
    parser.add_argument(
        "--images", action="store_true", help="images that no container uses too, but pinned ones"
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """One line for each that is gone; those that could not be removed are an exit code of 1."""
    pruned = await client.prune(images=options.images)
    for pod in pruned.pods:
        print(one_line(f"pod {pod.namespace}/{pod.name}"))
    for image in pruned.images:
        print(one_line(f"image {next(iter(image.tags), image.id)}"))
    for failure in pruned.failures:
        say(str(failure))
    return 1 if pruned.failures else 0
