"""Both ends against each other: whatever they do, cut wherever, arrives whole, in order and within
the windows.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asupervisor.streaming import spdy
from asupervisor.streaming.spdy.codes import ResetCode
from tests.harness.spdy import receive

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "open",
                "send",
                "send",
                "send",
                "fin",
                "reset",
                "read",
                "read",
                "carry",
                "carry",
                "carry",
            ]
        ),
        st.integers(0, 1),
        st.integers(0, 5),
        st.integers(1, 5000),
        st.lists(st.integers(1, 40), max_size=8),
    ),
    max_size=120,
)


class _End:
    """One end, with a record of what it sent and received on each stream."""

    def __init__(self, role: spdy.Role, limits: spdy.Limits) -> None:
        self.connection = spdy.Connection(role, limits)
        self.wire = b""
        self.sent: dict[int, bytes] = {}
        self.received: dict[int, bytes] = {}
        self.unread: dict[int, int] = {}
        self.writable: set[int] = set()
        self.finished: set[int] = set()
        self.lost: set[int] = set()

    def take(self, events: list[spdy.Event]) -> None:
        over = {event.stream_id for event in events if isinstance(event, spdy.StreamReset)}
        for event in events:
            match event:
                case spdy.StreamOpened():
                    if event.stream_id in over:
                        continue
                    self.connection.reply(event.stream_id)
                    self._add(event.stream_id)
                case spdy.DataReceived():
                    self.received[event.stream_id] = (
                        self.received.get(event.stream_id, b"") + event.data
                    )
                    self.unread[event.stream_id] = self.unread.get(event.stream_id, 0) + len(
                        event.data
                    )
                    if event.fin:
                        self.finished.add(event.stream_id)
                case spdy.StreamReset():
                    assert event.by_peer, (
                        f"stream {event.stream_id} failed with {event.code}: an end broke the"
                        " protocol"
                    )
                    self.lost.add(event.stream_id)
                    self.writable.discard(event.stream_id)
                case _:
                    pass
        self.wire += self.connection.data_to_send()

    def _add(self, stream: int) -> None:
        self.sent.setdefault(stream, b"")
        self.writable.add(stream)

    def act(self, action: str, index: int, size: int) -> None:
        streams = sorted(self.writable)
        stream = streams[index % len(streams)] if streams else None
        if action == "open":
            self._add(self.connection.open_stream({"n": str(size)}))
        elif action == "read":
            for one, count in list(self.unread.items()):
                self.connection.consume(one, count)
            self.unread.clear()
        elif stream is not None and action == "send":
            count = min(size, self.connection.send_capacity(stream))
            if count > 0:
                data = bytes((stream * 7 + at) % 256 for at in range(count))
                self.connection.send_data(stream, data)
                self.sent[stream] += data
        elif stream is not None and action == "fin":
            self.connection.send_data(stream, b"", fin=True)
            self.writable.discard(stream)
        elif stream is not None and action == "reset":
            self.connection.reset(stream, ResetCode.CANCEL)
            self.writable.discard(stream)
            self.lost.add(stream)
        self.wire += self.connection.data_to_send()


def _carry(sender: _End, receiver: _End, cuts: list[int]) -> None:
    for cut in cuts:
        piece, sender.wire = sender.wire[:cut], sender.wire[cut:]
        receiver.take(receive(receiver.connection, piece))


@settings(max_examples=60, deadline=None)
@given(ACTIONS, st.booleans())
def test_two_ends_agree_on_every_stream(
    actions: list[tuple[str, int, int, int, list[int]]], flow_control: bool
) -> None:
    limits = spdy.Limits(stream_window=6000, session_window=70_000, streams=200)
    ends = _End(spdy.Role.CLIENT, limits), _End(spdy.Role.SERVER, limits)
    if flow_control:
        for one, other in (ends, ends[::-1]):
            one.connection.send_settings()
            other.take(receive(other.connection, one.connection.data_to_send()))
    for action, who, index, size, cuts in actions:
        if action == "carry":
            _carry(ends[who], ends[1 - who], cuts)
        else:
            ends[who].act(action, index, size)
    while any(end.wire for end in ends):
        for one, other in (ends, ends[::-1]):
            _carry(one, other, [len(one.wire)] if one.wire else [])
    for one, other in (ends, ends[::-1]):
        for stream, data in one.sent.items():
            got = other.received.get(stream, b"")
            assert data.startswith(got)
            if stream not in one.lost | other.lost:
                assert got == data
                assert (stream in other.finished) == (stream not in one.writable)
    assert ends[0].connection.open_streams == ends[1].connection.open_streams


@pytest.mark.parametrize("seed", range(20))
def test_mutated_bytes_only_ever_end_in_a_protocol_error(seed: int) -> None:
    """What a peer sends, however broken, gives events, a GOAWAY, or both, and never anything
    else.
    """
    chance = random.Random(seed)
    limits = spdy.Limits(streams=8, control_frame_bytes=512, header_bytes=512)
    for _ in range(60):
        client, server = (
            spdy.Connection(spdy.Role.CLIENT),
            spdy.Connection(spdy.Role.SERVER, limits),
        )
        for _ in range(chance.randrange(1, 6)):
            stream = client.open_stream({"streamtype": "data", "port": "80"})
            client.send_data(
                stream, chance.randbytes(chance.randrange(300)), fin=chance.random() < 0.3
            )
        client.send_settings()
        wire = bytearray(client.data_to_send())
        for _ in range(chance.randrange(1, 8)):
            wire[chance.randrange(len(wire))] = chance.randrange(256)
        broken = False
        position = 0
        while position < len(wire):
            step = chance.randrange(1, 100)
            try:
                receive(server, bytes(wire[position : position + step]))
            except spdy.RemoteProtocolError:
                broken = True
            position += step
            assert server.open_streams <= limits.streams
        if broken:
            assert server.data_to_send().endswith(
                b"\x00\x00\x00\x01"
            )  # the GOAWAY's status is the last word
