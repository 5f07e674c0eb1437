"""``prune``: remove what is not used."""

from __future__ import annotations

import argparse

from asupervisor.cli.output import say
from asupervisor.client import Client
from asupervisor.words import one_line


def arguments(parser: argparse.ArgumentParser) -> None:
    """Whether to remove images too."""
    parser.add_argument(
        "--images",
        action="store_true",
        help="remove images too that no container uses and that are not pinned",
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print a line for each that was removed; exit code 1 if one could not be removed."""
    pruned = await client.prune(images=options.images)
    for pod in pruned.pods:
        print(one_line(f"pod {pod.namespace}/{pod.name}"))
    for image in pruned.images:
        print(one_line(f"image {next(iter(image.tags), image.id)}"))
    for failure in pruned.failures:
        say(str(failure))
    return 1 if pruned.failures else 0
