"""``completion``: what a shell sources to complete verbs and flags."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """For which shell."""
    parser.add_argument("shell", nargs="?", choices=("bash",), default="bash")


async def run_here(options: argparse.Namespace) -> int:
    """Print it."""
    # Imported here: it is made from every verb, this one among them.
    from asupervisor.cli.manual import completion

    print(completion(), end="")
    return 0
