"""``install``: put units, settings, manual and completion in place, if no package brings them."""

from __future__ import annotations

import argparse
import os
import sys

from asupervisor.errors import FailedPrecondition
from asupervisor.installation.files import File, installed_files
from asupervisor.installation.machine import Machine


def arguments(parser: argparse.ArgumentParser) -> None:
    """The machine."""
    parser.add_argument(
        "--root",
        default="/",
        metavar="DIRECTORY",
        help="root of the machine's files; if it is not /, nothing is started (default: /)",
    )


async def run_here(options: argparse.Namespace) -> int:
    """Install; a further call updates the files, restarts the service and keeps the settings."""
    machine = Machine(options.root, options.timeout_s)
    for line in await machine.install(files()):
        print(line)
    return 0


def files() -> tuple[File, ...]:
    """The files that belong to this installation of the package.

    Raises:
        FailedPrecondition: the installation has no command.
    """
    # Imported here: that module imports every verb's parser, this one too.
    from asupervisor.cli.manual import completion, manual

    executable = os.path.join(sys.prefix, "bin", "asupervisor")
    if not os.access(executable, os.X_OK):
        raise FailedPrecondition(
            f"{executable} is not there: install the package first, as with"
            " python3 -m venv /opt/asupervisor && /opt/asupervisor/bin/pip install asupervisor"
        )
    return installed_files(executable, manual(), completion())
