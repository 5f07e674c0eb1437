"""``uninstall``: take away what ``install`` laid down; pods keep running."""

from __future__ import annotations

import argparse

from asupervisor.cli.verbs import install
from asupervisor.installation.machine import Machine


def arguments(parser: argparse.ArgumentParser) -> None:
    """From where."""
    install.arguments(parser)


async def run_here(options: argparse.Namespace) -> int:
    """Again is fine."""
    machine = Machine(options.root, options.timeout_s)
    for line in await machine.uninstall(install.files()):
        print(line)
    return 0
