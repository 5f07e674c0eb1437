"""``rm``: remove pods, or single containers."""

from __future__ import annotations

import argparse

from asupervisor.cli.client import Client
from asupervisor.cli.find import find_either
from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri


def arguments(parser: argparse.ArgumentParser) -> None:
    """What, and whether running ones too."""
    parser.add_argument("name", nargs="+", metavar="POD[/CONTAINER]")
    parser.add_argument(
        "-f", "--force", action="store_true", help="what still runs is killed first"
    )


async def run(client: Client) -> int:
    """A pod goes with its containers."""
    runtime, force = client.runtime, client.options.force
    for name in client.options.name:
        found = await find_either(runtime, name)
        if isinstance(found, cri.Container):
            if found.state == cri.CONTAINER_RUNNING and not force:
                raise FailedPrecondition(
                    f'"{name}" runs; stop it first, or give --force', subject=found.id
                )
            await runtime.remove_container(found.id)
        else:
            if found.state == cri.SANDBOX_READY:
                if not force:
                    raise FailedPrecondition(
                        f'pod "{name}" runs; stop it first, or give --force', subject=found.id
                    )
                await runtime.stop_pod_sandbox(found.id)
            await runtime.remove_pod_sandbox(found.id)
        print(name)
    return 0
