"""Bytes that another implementation of SPDY sent: Kubernetes' own client, and cri-dockerd's
server.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import pytest

from asupervisor.streaming import spdy
from asupervisor.streaming.status import ExitStatus, decode_status
from tests.harness.spdy import receive

DATA = Path(__file__).parents[2] / "data" / "streaming"


def recorded(name: str) -> list[bytes]:
    """What was read, read by read."""
    return [
        bytes.fromhex(line)
        for line in (DATA / name).read_text().splitlines()
        if not line.startswith("#")
    ]


def cuts(reads: list[bytes], how: str) -> Iterable[bytes]:
    """The same bytes as they came, at once, or one by one."""
    whole = b"".join(reads)
    return {
        "as read": reads,
        "at once": [whole],
        "byte by byte": [whole[at : at + 1] for at in range(len(whole))],
    }[how]


class Replay:
    """Feeds recorded bytes to a connection and keeps what they say."""

    def __init__(self, connection: spdy.Connection) -> None:
        self.connection = connection
        self.headers: dict[int, dict[str, str]] = {}
        self.data: dict[int, bytes] = {}
        self.finished: set[int] = set()
        self.reset: set[int] = set()
        self.gone_away = False

    def feed(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            for event in receive(self.connection, piece):
                match event:
                    case spdy.StreamOpened():
                        self.headers[event.stream_id] = dict(event.headers)
                        with contextlib.suppress(
                            spdy.LocalProtocolError
                        ):  # it may be reset by bytes that came with it
                            self.connection.reply(event.stream_id)
                    case spdy.DataReceived():
                        self.data[event.stream_id] = (
                            self.data.get(event.stream_id, b"") + event.data
                        )
                        self.finished |= {event.stream_id} if event.fin else set()
                    case spdy.StreamReset():
                        assert event.by_peer
                        self.reset.add(event.stream_id)
                    case spdy.GoAwayReceived():
                        self.gone_away = True
                    case _:
                        pass
            self.connection.data_to_send()


@pytest.mark.parametrize("how", ["as read", "at once", "byte by byte"])
def test_a_kubernetes_client_executes(how: str) -> None:
    replay = Replay(spdy.Connection(spdy.Role.SERVER))
    replay.feed(cuts(recorded("client-exec.txt"), how))
    kinds = {number: headers["streamtype"] for number, headers in replay.headers.items()}
    assert kinds == {1: "error", 3: "stdin", 5: "stdout", 7: "stderr"}
    assert replay.data == {3: b"hello\n"}
    assert 3 in replay.finished
    assert replay.gone_away
    assert not replay.connection.peer_is_paced  # it keeps to no windows, and opens none


@pytest.mark.parametrize("how", ["as read", "at once", "byte by byte"])
@pytest.mark.parametrize("name", ["client-portforward.txt", "client-portforward-tunnel.txt"])
def test_a_kubernetes_client_forwards_a_port(name: str, how: str) -> None:
    replay = Replay(spdy.Connection(spdy.Role.SERVER))
    replay.feed(cuts(recorded(name), how))
    assert replay.headers == {
        1: {"streamtype": "error", "port": "80", "requestid": "0"},
        3: {"streamtype": "data", "port": "80", "requestid": "0"},
    }
    assert replay.data[3].startswith(b"GET / HTTP/1.1\r\n")
    assert 1 in replay.finished  # it never writes to the error stream, and says so at once
    assert replay.gone_away


@pytest.mark.parametrize("how", ["as read", "at once", "byte by byte"])
def test_a_kubernetes_server_executes(how: str) -> None:
    client = spdy.Connection(spdy.Role.CLIENT)
    error, stdin, stdout, stderr = (
        client.open_stream({"streamtype": name}) for name in ("error", "stdin", "stdout", "stderr")
    )
    client.send_data(stdin, b"hello\n", fin=True)
    replay = Replay(client)
    replay.feed(cuts(recorded("server-exec.txt"), how))
    assert (replay.data[stdout], replay.data[stderr]) == (b"hello\n", b"bad\n")
    assert decode_status(replay.data[error], 5) == ExitStatus(7)
    assert replay.reset >= {error, stdout, stderr}


@pytest.mark.parametrize("how", ["as read", "at once", "byte by byte"])
def test_a_kubernetes_server_forwards_a_port(how: str) -> None:
    client = spdy.Connection(spdy.Role.CLIENT)
    error, data = (
        client.open_stream({"streamtype": name, "port": "80", "requestid": "0"})
        for name in ("error", "data")
    )
    client.send_data(error, b"", fin=True)
    client.data_to_send()
    replay = Replay(client)
    replay.feed(cuts(recorded("server-portforward.txt"), how))
    assert replay.data[data] == b"served\n"
    assert replay.finished >= {error, data}
