"""Which connections a listener keeps when there are too many.

Anybody who reaches a port can open connections and send nothing. To refuse further ones would keep
out the clients that do send something. So every connection is accepted, and beyond a limit the
oldest that has sent no request yet is closed for the newest. A client that sends its request at
once is answered long before it is the oldest."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import anyio.abc

_SUBNET_V6 = 64


class Guest:
    """One connection from when it was accepted to when it is closed.

    Args:
        room: counts it.
        peer: the address or network that it counts for.

    Attributes:
        scope: cancelled when the connection has to give way.
        gave_way: whether it had to.
        is_admitted: whether it may stay, however many others come.
    """

    def __init__(self, room: Admission, peer: str) -> None:
        self._room = room
        self.peer = peer
        self.scope = anyio.CancelScope()
        self.gave_way = False
        self.is_admitted = False
        self._entered = anyio.current_time()

    def left_of(self, timeout_s: float) -> float:
        """Seconds left of a timeout that began when the connection was accepted."""
        return self._entered + timeout_s - anyio.current_time()

    def admit(self) -> None:
        """From now on it need not give way: it has sent a valid request."""
        self.is_admitted = True
        self._room.forget(self)

    def renew(self) -> None:
        """Count it as the newest again, unless it gave way already: a request was answered."""
        if self in self._room.guests:
            del self._room.guests[self]
            self._room.guests[self] = None


class Admission:
    """The connections of one listener that may have to give way.

    Args:
        limit: of all peers.
        per_peer: of one address, or of one IPv6 network of 64 bits.
    """

    def __init__(self, limit: int, per_peer: int) -> None:
        self._limit = limit
        self._per_peer = per_peer
        self._of_peer: Counter[str] = Counter()
        self.guests: dict[Guest, None] = {}
        """The oldest first."""

    @contextmanager
    def enter(self, address: str) -> Iterator[Guest]:
        """Keep a connection for as long as the context lasts; the context ends early, without an
        error, where it has to give way.

        Args:
            address: the peer's, without its port.
        """
        guest = Guest(self, _network(address))
        if self._of_peer[guest.peer] >= self._per_peer:
            self._send_away(next(one for one in self.guests if one.peer == guest.peer))
        elif len(self.guests) >= self._limit:
            self._send_away(next(iter(self.guests)))
        self.guests[guest] = None
        self._of_peer[guest.peer] += 1
        try:
            with guest.scope:
                yield guest
        finally:
            self.forget(guest)

    def forget(self, guest: Guest) -> None:
        """Count a connection no longer, if it is counted."""
        if guest in self.guests:
            del self.guests[guest]
            self._of_peer[guest.peer] -= 1
            if not self._of_peer[guest.peer]:
                del self._of_peer[guest.peer]

    def _send_away(self, guest: Guest) -> None:
        self.forget(guest)
        guest.gave_way = True
        guest.scope.cancel()


def peer_address(stream: anyio.abc.ByteStream) -> tuple[str, str]:
    """Host and port of a connection's other end; ``local`` where it has none or is gone."""
    try:
        remote = stream.extra(anyio.abc.SocketAttribute.remote_address, None)
    except OSError:
        return "local", ""
    return (str(remote[0]), str(remote[1])) if isinstance(remote, tuple) else ("local", "")


class HeadLines:
    """Bounds the lines of a message's head before a parser sees them: a header costs it some µs,
    however short it is.

    Args:
        limit: lines of one head.
    """

    def __init__(self, limit: int = 128) -> None:
        self._limit = self._left = limit

    def restart(self) -> None:
        """Another head begins."""
        self._left = self._limit

    def portion(self, data: bytes) -> bytes:
        """The beginning of ``data`` that may be parsed now; nothing where the head has too many
        lines. If the head ends within this part, the rest may be parsed as what follows it.
        """
        at = 0
        while self._left:
            found = data.find(b"\n", at) + 1
            if not found:
                return data
            self._left -= 1
            at = found
        return data[:at]


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, _SUBNET_V6), strict=False))
    return str(parsed)
