"""``uninstall``: remove what ``install`` put in place; pods keep running."""

from __future__ import annotations

import argparse

from asupervisor.cli.verbs import install
from asupervisor.installation.machine import Machine


def arguments(parser: argparse.ArgumentParser) -> None:
    """The machine."""
    install.arguments(parser)


async def run_here(options: argparse.Namespace) -> int:
    """Uninstall; a further call does nothing."""
    machine = Machine(options.root, options.timeout_s)
    for line in await machine.uninstall(install.files()):
        print(line)
    return 0
