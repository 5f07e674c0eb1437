"""``port-forward``: reach a pod's ports from here."""

from __future__ import annotations

import argparse
import signal
import sys

import anyio
import anyio.abc

from asupervisor.cli.client import Client
from asupervisor.cli.find import find_pod
from asupervisor.errors import ConfigError, ServiceError, Unavailable
from asupervisor.streaming.background_tasks import BackgroundTasks
from asupervisor.streaming.client import PortForwarder, open_port_forward
from asupervisor.streaming.port_forward import join

_FAILURE_S = 2.0


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
    parser.add_argument(
        "--transport", choices=("spdy", "websocket"), default="spdy", help="default: spdy"
    )


async def run(client: Client) -> int:
    """Forward until a signal; each connection on its own."""
    options = client.options
    pairs = [parse_ports(text) for text in options.ports]
    pod = await find_pod(client.runtime, options.pod)
    url = await client.runtime.port_forward(pod.id, [remote for _, remote in pairs])
    with anyio.CancelScope() as scope:
        async with (
            open_port_forward(url, websocket=options.transport == "websocket") as forwarder,
            BackgroundTasks() as background,
        ):
            background.start_soon(_end_on_signal, scope)
            for local, remote in pairs:
                try:
                    listener = await anyio.create_tcp_listener(
                        local_host=options.address, local_port=local
                    )
                except OSError as error:
                    raise Unavailable(
                        f"cannot listen on {options.address}:{local}: {error.strerror}"
                    ) from error
                bound = listener.extra(anyio.abc.SocketAttribute.local_port)
                print(f"Forwarding from {options.address}:{bound} -> {remote}", flush=True)
                background.start_soon(_serve, listener, forwarder, remote)
            await forwarder.ended.wait()
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


async def _serve(
    listener: anyio.abc.Listener[anyio.abc.SocketStream], forwarder: PortForwarder, port: int
) -> None:
    async def forward(stream: anyio.abc.SocketStream) -> None:
        failure = ""
        async with stream:
            try:
                async with forwarder.connect(port) as connection:
                    await join(connection.data, stream)
                    with anyio.move_on_after(_FAILURE_S):
                        failure = await connection.failure()
            except (ServiceError, anyio.BrokenResourceError) as error:
                failure = str(error)
        if failure:
            print(f"asupervisor: port {port}: {failure}", file=sys.stderr)

    async with listener:
        await listener.serve(forward)


async def _end_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return
