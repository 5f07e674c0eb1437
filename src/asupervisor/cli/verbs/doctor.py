"""``doctor``: what is wrong with this node, and what to do about it."""

from __future__ import annotations

import argparse
import os

from asupervisor.addresses import RUNTIME_ENDPOINT
from asupervisor.cli.output import print_document
from asupervisor.cli.running import settings
from asupervisor.doctor.examine import Line, examine, worst
from asupervisor.doctor.finding import Level
from asupervisor.doctor.node import KUBELET_CONFIGURATION, Node
from asupervisor.words import one_line

_WIDTH = max(len(level.name) for level in Level)


def arguments(parser: argparse.ArgumentParser) -> None:
    """kubelet's configuration, and the service's flags."""
    parser.add_argument(
        "--kubelet-config",
        default="",
        metavar="FILE",
        help=(
            "kubelet's configuration (default: that of the running kubelet, else"
            f" {KUBELET_CONFIGURATION})"
        ),
    )
    parser.add_argument(
        "--kubelet-config-dir",
        default="",
        metavar="DIRECTORY",
        help="kubelet's drop-in configuration, *.conf (default: that of the running kubelet)",
    )
    parser.add_argument(
        "command",
        nargs="*",
        metavar="-- FLAGS",
        help="flags that the service will be started with, if it does not run",
    )


async def run_here(options: argparse.Namespace) -> int:
    """Run every check; exit code 0 if everything is ok, 1 with warnings, 2 with errors."""
    told = options.settings.endpoint
    named = "" if told == RUNTIME_ENDPOINT else told
    node = Node(
        settings(named, list(options.command), os.environ),
        deadline_s=options.timeout_s,
        kubelet_path=options.kubelet_config,
        kubelet_directory=options.kubelet_config_dir,
    )
    lines = await examine(node)
    checks = [_document(line) for line in lines]
    document = {"level": worst(lines).name.lower(), "checks": checks}
    if not print_document(options.output, document):
        _print(lines)
    return int(worst(lines))


def _document(line: Line) -> dict[str, str]:
    found = line.finding
    return {
        "check": line.check,
        "level": found.level.name.lower(),
        "message": found.message,
        "remedy": found.remedy,
    }


def _print(lines: list[Line]) -> None:
    names = max(len(line.check) for line in lines)
    for line in lines:
        found = line.finding
        print(
            f"{found.level.name.lower():{_WIDTH}}  {line.check:{names}}  {one_line(found.message)}"
        )
        if found.remedy:
            print(f"{'':{_WIDTH}}  {'':{names}}  -> {one_line(found.remedy)}")
    levels = [line.finding.level for line in lines]
    errors, warnings = levels.count(Level.ERROR), levels.count(Level.WARNING)
    print(f"\n{errors} errors, {warnings} warnings")
