"""``cp``: copy files and folders into a container or out of it."""

from __future__ import annotations

import argparse
import os
import posixpath
from pathlib import Path

from asupervisor.cli.output import say
from asupervisor.client import Client
from asupervisor.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Source and target."""
    place = "a path here, or POD[/CONTAINER]:/PATH; one of the two is in a container"
    parser.add_argument("source", metavar="SOURCE", help=place)
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="the same; in an existing folder here, or after a final /, it keeps its name",
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Copy; each thing that was left out is a line on standard error, and makes the exit code 1."""
    (source_name, source), (target_name, target) = map(place, (options.source, options.target))
    if bool(source_name) is bool(target_name):
        raise ConfigError("one of SOURCE and TARGET must be POD[/CONTAINER]:/PATH, and one a path")
    if target_name:
        if target.endswith("/"):
            target += os.path.basename(source.rstrip("/"))
        await (await client.find(target_name)).put(Path(source), target)
        return 0
    left_out = await (await client.find(source_name)).get(source, local_target(source, target))
    for line in left_out:
        say(line)
    return 1 if left_out else 0


def place(text: str) -> tuple[str, str]:
    """The container's name, empty for a path here, and the path."""
    name, colon, path = text.partition(":")
    if not colon or text.startswith((".", "/")):
        return "", text
    return name, path


def local_target(source: str, target: str) -> Path:
    """The path of the copy: in an existing folder it keeps its name."""
    path = Path(target)
    return path / (posixpath.basename(source.rstrip("/")) or "root") if path.is_dir() else path
