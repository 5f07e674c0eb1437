"""``version``: names and versions of the client and the runtime."""

from __future__ import annotations

import argparse

from asupervisor import __version__
from asupervisor.cli.output import print_document, print_fields
from asupervisor.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print them."""
    answer = await client.runtime.version()
    if not print_document(options.output, answer):
        print_fields(
            [
                ("Client", f"asupervisor {__version__}"),
                ("Runtime", f"{answer.runtime_name} {answer.runtime_version}"),
                ("CRI", answer.runtime_api_version),
            ]
        )
    return 0
