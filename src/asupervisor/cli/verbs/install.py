"""``install``: unit, socket, settings, manual and completion, where no package brings them."""

from __future__ import annotations

import argparse
import os
import sys

from asupervisor.errors import FailedPrecondition
from asupervisor.installation.files import File, installed_files
from asupervisor.installation.machine import Machine


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where to."""
    parser.add_argument(
        "--root",
        default="/",
        metavar="DIRECTORY",
        help="of the machine's files; with another than / nothing is started (default: /)",
    )


async def run_here(options: argparse.Namespace) -> int:
    """Again is fine: the service is started anew then, and settings stay as they are."""
    machine = Machine(options.root, options.timeout_s)
    for line in await machine.install(files()):
        print(line)
    return 0


def files() -> tuple[File, ...]:
    """Those of this installation of the package.

    Raises:
        FailedPrecondition: it has no command.
    """
    # Imported here: the manual is made from every verb, this one among them.
    from asupervisor.cli.manual import completion, manual

    executable = os.path.join(sys.prefix, "bin", "asupervisor")
    if not os.access(executable, os.X_OK):
        raise FailedPrecondition(
            f"{executable} is not there: install the package first, as with"
            " python3 -m venv /opt/asupervisor && /opt/asupervisor/bin/pip install asupervisor"
        )
    return installed_files(executable, manual(), completion())
