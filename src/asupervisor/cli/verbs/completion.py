"""``completion``: print what a shell sources to complete verbs and flags."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """The shell."""
    parser.add_argument(
        "shell", nargs="?", choices=("bash",), default="bash", help="(default: bash)"
    )


async def run_here(options: argparse.Namespace) -> int:
    """Print the script."""
    # Imported here: that module imports every verb's parser, this one too.
    from asupervisor.cli.manual import completion

    print(completion(), end="")
    return 0
