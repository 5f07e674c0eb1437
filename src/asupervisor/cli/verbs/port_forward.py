"""``port-forward``: reach a pod's ports from here."""

from __future__ import annotations

import argparse
import signal

import anyio

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.cli.output import say
from asupervisor.cli.streams import transport
from asupervisor.client import Client
from asupervisor.errors import ConfigError, Unavailable


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which pod, and which ports."""
    parser.add_argument("pod", metavar="POD")
    parser.add_argument(
        "ports",
        nargs="+",
        metavar="[LOCAL:]REMOTE",
        help="LOCAL 0 or empty: a port of the system's choosing",
    )
    parser.add_argument(
        "--address", default="127.0.0.1", help="where to listen (default: 127.0.0.1)"
    )
    transport(parser)


async def run(client: Client, options: argparse.Namespace) -> int:
    """Forward until a signal; each connection on its own."""
    pairs = [parse_ports(text) for text in options.ports]
    pod = await client.find_pod(options.pod)
    websocket = options.transport == "websocket"
    with anyio.CancelScope() as scope:
        async with (
            pod.tunnel([remote for _, remote in pairs], websocket=websocket) as tunnel,
            BackgroundTasks() as background,
        ):
            background.start_soon(_end_on_signal, scope)
            for local, remote in pairs:
                bound = await tunnel.listen(remote, local, options.address, _tell)
                print(f"Forwarding from {options.address}:{bound} -> {remote}", flush=True)
            await tunnel.wait_ended()
            raise Unavailable("the server closed the port-forward")
    return 0


def parse_ports(text: str) -> tuple[int, int]:
    """``[LOCAL:]REMOTE`` as the two ports; LOCAL is REMOTE where it is not there, 0 where it is
    empty.

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


async def _end_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return
