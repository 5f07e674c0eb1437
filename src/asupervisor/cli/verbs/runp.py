"""``runp``: run a sandbox alone, from the CRI's own configuration."""

from __future__ import annotations

import argparse

from asupervisor.cli.messages import read_message
from asupervisor.client import Client
from asupervisor.proto import cri


def arguments(parser: argparse.ArgumentParser) -> None:
    """The configuration, and the handler."""
    parser.add_argument(
        "file",
        metavar="POD-CONFIG",
        help="file with a PodSandboxConfig (JSON or YAML); -: standard input",
    )
    parser.add_argument(
        "--runtime",
        default="",
        metavar="HANDLER",
        help="runtime handler (default: the server's)",
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print the sandbox's id."""
    config = read_message(options.file, cri.PodSandboxConfig)
    print(await client.runtime.run_pod_sandbox(config, options.runtime))
    return 0
