"""``port-forward``: reach a pod's ports from here."""

from __future__ import annotations

import argparse

import anyio

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.cli.output import say
from asupervisor.cli.streams import transport
from asupervisor.cli.terminal import end_on_signal
from asupervisor.client import Client
from asupervisor.errors import ConfigError, Unavailable


def arguments(parser: argparse.ArgumentParser) -> None:
    """The pod, and the ports."""
    parser.add_argument("pod", metavar="POD", help="name, NAMESPACE/NAME or start of the id")
    parser.add_argument(
        "ports",
        nargs="+",
        metavar="[LOCAL:]REMOTE",
        help="port here and port of the pod; LOCAL missing: the same port; 0 or empty: a free one",
    )
    parser.add_argument(
        "--address", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    transport(parser)


async def run(client: Client, options: argparse.Namespace) -> int:
    """Forward connections until a signal."""
    pairs = [parse_ports(text) for text in options.ports]
    pod = await client.find_pod(options.pod)
    websocket = options.transport == "websocket"
    with anyio.CancelScope() as scope:
        async with (
            pod.tunnel([remote for _, remote in pairs], websocket=websocket) as tunnel,
            BackgroundTasks() as background,
        ):
            background.start_soon(end_on_signal, scope, [])
            for local, remote in pairs:
                bound = await tunnel.listen(remote, local, options.address, _tell)
                print(f"Forwarding from {options.address}:{bound} -> {remote}", flush=True)
            await tunnel.wait_ended()
            raise Unavailable("the server closed the port-forward")
    return 0


def parse_ports(text: str) -> tuple[int, int]:
    """``[LOCAL:]REMOTE`` as the two ports. Without LOCAL and its colon both are the same; an empty
    LOCAL is 0.

    Raises:
        ConfigError: a port is malformed.
    """
    local, colon, remote = text.rpartition(":")
    try:
        numbers = int((local or "0") if colon else remote), int(remote)
    except ValueError:
        numbers = -1, -1
    if not 0 <= numbers[0] <= 65535 or not 1 <= numbers[1] <= 65535:
        raise ConfigError(f'"{text}" is not [LOCAL:]REMOTE with ports between 1 and 65535')
    return numbers


def _tell(port: int, failure: str) -> None:
    say(f"port {port}: {failure}")
