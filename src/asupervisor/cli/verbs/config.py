"""``config``: which server the client uses, and its deadline."""

from __future__ import annotations

import argparse

from asupervisor.cli.output import print_document, print_fields
from asupervisor.client.endpoint import TIMEOUT_S


def arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


async def run_here(options: argparse.Namespace) -> int:
    """Print the settings; the server is not asked."""
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
