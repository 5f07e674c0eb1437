"""``config``: how a server is reached, by what was told."""

from __future__ import annotations

import argparse

from asupervisor.cli.output import print_document, print_fields
from asupervisor.client.endpoint import TIMEOUT_S


def arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


async def run_here(options: argparse.Namespace) -> int:
    """The settings, without a look at the server."""
    settings = options.settings
    timeout_s = options.timeout_s or settings.timeout_s or TIMEOUT_S
    document = {
        "runtime-endpoint": settings.endpoint,
        "image-endpoint": settings.image_endpoint or settings.endpoint,
        "timeout": f"{timeout_s:g}s",
    }
    if not print_document(options.output, document):
        print_fields(list(document.items()))
    return 0
