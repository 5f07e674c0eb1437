"""What lists have in common: which objects, in which form, once or at every change."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import anyio

from asupervisor.cli.output import print_document, print_table, short_id
from asupervisor.client import Client, ContainerInfo, ImageInfo, PodInfo
from asupervisor.errors import ConfigError, Unimplemented

_EVERY_S = 2.0
CLEAR = "\x1b[H\x1b[2J"
"""Clears a terminal."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list at one moment.

    Args:
        header, rows: as a table.
        objects: each once.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    objects: Sequence[PodInfo | ContainerInfo | ImageInfo]


def arguments(parser: argparse.ArgumentParser, *, pods: bool = True) -> None:
    """The arguments of every list; ``pods``: it is one of pods or containers."""
    parser.add_argument("-q", "--quiet", action="store_true", help="print only the ids, in full")
    if pods:
        parser.add_argument("-n", "--namespace", default="", help="only those of this namespace")
        parser.add_argument(
            "-l",
            "--label",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="only those with this label; may be given several times",
        )
        parser.add_argument("--name", default="", help="only those of this name")
    parser.add_argument(
        "-w",
        "--watch",
        action="store_true",
        help="show the list again at every change, until Ctrl-C",
    )


def labels(options: argparse.Namespace) -> dict[str, str]:
    """The labels that were asked for.

    Raises:
        ConfigError: one is not KEY=VALUE.
    """
    pairs = [text.partition("=") for text in options.label]
    if malformed := next((key for key, equals, _ in pairs if not key or not equals), None):
        raise ConfigError(f'--label: "{malformed}" is not KEY=VALUE')
    return {key: value for key, _, value in pairs}


def identifier(options: argparse.Namespace, text: str) -> str:
    """An id as the table shows it: in full where it is wide."""
    return text if options.output == "wide" else short_id(text)


async def run_list(
    client: Client, options: argparse.Namespace, look: Callable[[], Awaitable[Listing]]
) -> int:
    """Show a list, and with ``--watch`` again at every change.

    Args:
        client: of the server, for its events.
        options: of :func:`arguments`.
        look: gives the list as it is now.
    """
    _show(await look(), options)
    if not options.watch:
        return 0
    try:
        async with aclosing(client.events()) as events:
            async for _ in events:
                _show(await look(), options)
    except Unimplemented:
        while True:
            await anyio.sleep(_EVERY_S)
            _show(await look(), options)
    return 0


def _show(listing: Listing, options: argparse.Namespace) -> None:
    if options.watch and sys.stdout.isatty():
        print(CLEAR, end="")
    if options.quiet:
        print("".join(f"{each.id}\n" for each in listing.objects), end="")
    elif not print_document(options.output, [each.raw for each in listing.objects]):
        print_table(listing.header, listing.rows)
    sys.stdout.flush()
