"""Chooses the protocol of a session by the request's headers, or refuses the request.

SPDY: the client sends a list in ``X-Stream-Protocol-Version``; the first entry that the server
knows is chosen. WebSocket: the same with ``Sec-WebSocket-Protocol``; a client that sends no list
gets the first binary protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asupervisor.streaming.channels import ChannelProtocol

PROTOCOL_HEADER = "X-Stream-Protocol-Version"
ACCEPTED_HEADER = "X-Accepted-Stream-Protocol-Versions"

COMMAND_VERSIONS = {
    "v5.channel.k8s.io": 5,
    "v4.channel.k8s.io": 4,
    "v3.channel.k8s.io": 3,
    "v2.channel.k8s.io": 2,
    "channel.k8s.io": 1,
}
"""Exec and attach over SPDY, the newest first."""

PORT_FORWARD = "portforward.k8s.io"
"""Port-forward over SPDY, directly or in a tunnel."""

TUNNEL = "SPDY/3.1+portforward.k8s.io"
"""Port-forward over SPDY inside binary WebSocket messages."""

COMMAND_CHANNELS = {
    protocol.name: protocol
    for protocol in (
        ChannelProtocol("v5.channel.k8s.io", 5),
        ChannelProtocol("v4.channel.k8s.io", 4),
        ChannelProtocol("v4.base64.channel.k8s.io", 4, base64=True),
        ChannelProtocol("channel.k8s.io", 1),
        ChannelProtocol("base64.channel.k8s.io", 1, base64=True),
        ChannelProtocol("", 1),
    )
}
"""Exec and attach over WebSocket."""

PORT_CHANNELS = {
    name: COMMAND_CHANNELS[name] for name in ("v4.channel.k8s.io", "v4.base64.channel.k8s.io", "")
}
"""Port-forward over WebSocket by pairs of channels."""


class Refused(Exception):
    """The request gets an HTTP error and no session.

    Args:
        status: HTTP status code.
        reason: for the answer's body.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, reason: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = tuple(headers)


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen protocol.

    Args:
        transport: ``spdy``, ``channels`` or ``tunnel``.
        name: of the protocol, for the answer; empty if a WebSocket client asked for none.
        version: of the remote command protocol; 0 for port-forward.
        channels: the channel protocol, for that transport.
    """

    transport: str
    name: str
    version: int = 0
    channels: ChannelProtocol | None = None


def split_list(values: Iterable[str]) -> list[str]:
    """The entries of a header that may come several times and as a comma-separated list."""
    return [entry.strip() for value in values for entry in value.split(",") if entry.strip()]


def choose_spdy(offered: Sequence[str], *, port_forward: bool) -> Choice:
    """Choose from a client's ``X-Stream-Protocol-Version``.

    Raises:
        Refused: 400 if it offers none; 403, with the known ones, if it offers only unknown ones.
    """
    known = {PORT_FORWARD: 0} if port_forward else COMMAND_VERSIONS
    if not offered:
        raise Refused(400, f"unable to upgrade: {PROTOCOL_HEADER} is needed")
    for name in offered:
        if name in known:
            return Choice("spdy", name, known[name])
    raise Refused(
        403,
        f"unable to upgrade: none of {', '.join(offered)} is known; known are {', '.join(known)}",
        [(ACCEPTED_HEADER, name) for name in known],
    )


def choose_websocket(offered: Sequence[str], *, port_forward: bool) -> Choice:
    """Choose from a client's ``Sec-WebSocket-Protocol``.

    Raises:
        Refused: 403 if it offers some and none of them is known.
    """
    known = PORT_CHANNELS if port_forward else COMMAND_CHANNELS
    for name in offered or ("",):
        if port_forward and name == TUNNEL:
            return Choice("tunnel", name)
        if name in known:
            return Choice("channels", name, 0 if port_forward else known[name].version, known[name])
    raise Refused(403, f"unable to upgrade: none of the subprotocols {', '.join(offered)} is known")
