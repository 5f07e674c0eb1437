"""``stop``: stop pods, or single containers."""

from __future__ import annotations

import argparse

from asupervisor.cli.client import Client
from asupervisor.cli.find import find_either
from asupervisor.cli.manifest import GRACE_ANNOTATION
from asupervisor.errors import ConfigError
from asupervisor.proto import cri

DEFAULT_GRACE_S = 30
"""As a pod without terminationGracePeriodSeconds has it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What, and how patiently."""
    parser.add_argument("name", nargs="+", metavar="POD[/CONTAINER]")
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        help=f"before SIGKILL; default: the manifest's, else {DEFAULT_GRACE_S}",
    )


async def run(client: Client) -> int:
    """A pod's containers get their stop signal all at once, then the sandbox goes."""
    import anyio

    given = _seconds(client.options.grace)
    for name in client.options.name:
        found = await find_either(client.runtime, name)
        if isinstance(found, cri.Container):
            await client.runtime.stop_container(found.id, _grace(found, given))
        else:
            running = cri.ContainerFilter(
                pod_sandbox_id=found.id, state=cri.ContainerStateValue(state=cri.CONTAINER_RUNNING)
            )
            async with anyio.create_task_group() as tasks:
                for container in await client.runtime.list_containers(running):
                    tasks.start_soon(
                        client.runtime.stop_container, container.id, _grace(container, given)
                    )
            await client.runtime.stop_pod_sandbox(found.id)
        print(name)
    return 0


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdigit():
        raise ConfigError(f'--grace: "{text}" is not a whole number of seconds')
    return int(text)


def _grace(container: cri.Container, given: int | None) -> int:
    if given is not None:
        return given
    noted = container.annotations.get(GRACE_ANNOTATION, "")
    return int(noted) if noted.isdigit() else DEFAULT_GRACE_S
