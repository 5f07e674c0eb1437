"""The connection's law, one end at a time."""

from __future__ import annotations

import pytest

from asupervisor.streaming import spdy
from asupervisor.streaming.spdy import frames
from asupervisor.streaming.spdy.codes import FLAG_UNIDIRECTIONAL, GoAwayStatus, ResetCode
from asupervisor.streaming.spdy.headers import HeaderEncoder
from asupervisor.streaming.spdy.states import TRANSITIONS, VIOLATIONS, Action, State
from tests.harness.spdy import receive


def pair(limits: spdy.Limits | None = None) -> tuple[spdy.Connection, spdy.Connection]:
    return spdy.Connection(spdy.Role.CLIENT, limits), spdy.Connection(spdy.Role.SERVER, limits)


def carry(sender: spdy.Connection, receiver: spdy.Connection) -> list[spdy.Event]:
    return receive(receiver, sender.data_to_send())


def opened(limits: spdy.Limits | None = None) -> tuple[spdy.Connection, spdy.Connection, int]:
    client, server = pair(limits)
    stream = client.open_stream({"streamtype": "stdin"})
    carry(client, server)
    server.reply(stream)
    carry(server, client)
    return client, server, stream


def paced(limits: spdy.Limits | None = None) -> tuple[spdy.Connection, spdy.Connection, int]:
    client, server, stream = opened(limits)
    for one, other in ((client, server), (server, client)):
        one.send_settings()
        carry(one, other)
    return client, server, stream


def test_every_state_answers_every_action() -> None:
    for state in State:
        for action in Action:
            known = (state, action) in TRANSITIONS or (state, action) in VIOLATIONS
            assert known or action.name.startswith("SEND") or state is State.CLOSED, (state, action)
    assert not TRANSITIONS.keys() & VIOLATIONS.keys()


def test_a_stream_from_open_to_close() -> None:
    client, server = pair()
    stream = client.open_stream({"streamType": "data", "port": "80"})
    assert carry(client, server) == [
        spdy.StreamOpened(1, {"streamtype": "data", "port": "80"}, False, False)
    ]
    server.reply(stream, {"ok": "yes"})
    assert carry(server, client) == [spdy.HeadersReceived(1, {"ok": "yes"}, False)]
    client.send_data(stream, b"question", fin=True)
    assert carry(client, server) == [spdy.DataReceived(1, b"question", True)]
    server.send_data(stream, b"answer")
    server.send_data(stream, b"", fin=True)
    assert carry(server, client) == [
        spdy.DataReceived(1, b"answer", False),
        spdy.DataReceived(1, b"", True),
    ]
    assert (client.open_streams, server.open_streams) == (0, 0)


def test_ids_are_odd_for_the_client_and_even_for_the_server() -> None:
    client, server = pair()
    assert [client.open_stream({}) for _ in range(3)] == [1, 3, 5]
    assert [server.open_stream({}) for _ in range(3)] == [2, 4, 6]


def test_pings_are_answered_and_answers_to_none_are_not() -> None:
    client, server = pair()
    assert receive(server, frames.ping(1)) == receive(client, frames.ping(1)) == []
    assert (server.data_to_send(), client.data_to_send()) == (frames.ping(1), b"")


def test_data_before_the_reply_is_the_peers_mistake() -> None:
    client, server = pair()
    stream = client.open_stream({})
    carry(client, server)
    assert receive(client, frames.data_head(stream, 1, False) + b"x") == [
        spdy.StreamReset(stream, ResetCode.PROTOCOL_ERROR, by_peer=False)
    ]
    assert carry(client, server) == [
        spdy.StreamReset(stream, ResetCode.PROTOCOL_ERROR, by_peer=True)
    ]


def test_our_own_mistakes_send_nothing() -> None:
    client, server = pair()
    stream = client.open_stream({})
    carry(client, server)
    with pytest.raises(spdy.LocalProtocolError):
        server.send_data(stream, b"early")
    with pytest.raises(spdy.LocalProtocolError):
        client.reply(stream)
    with pytest.raises(spdy.LocalProtocolError):
        client.send_data(99, b"x")
    client.send_data(stream, b"", fin=True)
    client.data_to_send()
    with pytest.raises(spdy.LocalProtocolError):
        client.send_data(stream, b"more")
    assert (client.data_to_send(), server.data_to_send()) == (b"", b"")


@pytest.mark.parametrize(
    "double", [frames.data_head(1, 1, False) + b"x", frames.data_head(1, 0, True)]
)
def test_more_after_fin_is_stream_already_closed(double: bytes) -> None:
    client, server, stream = opened()
    client.send_data(stream, b"", fin=True)
    carry(client, server)
    assert receive(server, double) == [
        spdy.StreamReset(stream, ResetCode.STREAM_ALREADY_CLOSED, by_peer=False)
    ]


def test_a_second_reply_is_stream_in_use() -> None:
    client, _, stream = opened()
    block = HeaderEncoder()
    first = block.encode({})
    # The server's context has seen one block already, so the stray one is made in the same context.
    fresh_client = spdy.Connection(spdy.Role.CLIENT)
    assert fresh_client.open_stream({}) == stream
    receive(fresh_client, frames.syn_reply(stream, first))
    assert receive(fresh_client, frames.syn_reply(stream, block.encode({}))) == [
        spdy.StreamReset(stream, ResetCode.STREAM_IN_USE, by_peer=False)
    ]
    assert client.open_streams == 1


def test_data_for_a_stream_never_opened_is_refused_and_for_a_closed_one_ignored() -> None:
    _, server, stream = opened()
    server.data_to_send()
    assert receive(server, frames.data_head(77, 1, False) + b"x") == []
    assert server.data_to_send() == frames.rst_stream(77, ResetCode.INVALID_STREAM)
    server.reset(stream)
    assert server.data_to_send() == frames.rst_stream(stream, ResetCode.CANCEL)
    assert receive(server, frames.data_head(stream, 1, False) + b"x") == []
    assert server.data_to_send() == b""
    server.reset(stream)
    assert server.data_to_send() == b""


def test_too_many_streams_are_refused_until_one_ends() -> None:
    client, server = pair(spdy.Limits(streams=2))
    streams = [client.open_stream({}) for _ in range(3)]
    assert [type(event) for event in carry(client, server)] == [
        spdy.StreamOpened,
        spdy.StreamOpened,
    ]
    assert carry(server, client) == [
        spdy.StreamReset(streams[2], ResetCode.REFUSED_STREAM, by_peer=True)
    ]
    client.reset(streams[0])
    client.open_stream({})
    assert [type(event) for event in carry(client, server)] == [spdy.StreamReset, spdy.StreamOpened]


def test_malformed_headers_end_their_stream_and_not_the_connection() -> None:
    client, server = pair()
    bad = client.open_stream({"": "nameless"})
    good = client.open_stream({"name": "value"})
    assert carry(client, server) == [spdy.StreamOpened(good, {"name": "value"}, False, False)]
    assert carry(server, client) == [spdy.StreamReset(bad, ResetCode.PROTOCOL_ERROR, by_peer=True)]


def test_a_refused_stream_keeps_the_compression_in_step() -> None:
    client, server = pair(spdy.Limits(streams=1))
    client.open_stream({"a": "1"})
    client.open_stream({"b": "2"})
    client.reset(1)
    third = client.open_stream({"b": "2", "c": "3"})
    assert carry(client, server)[-1] == spdy.StreamOpened(third, {"b": "2", "c": "3"}, False, False)


@pytest.mark.parametrize("stream_id", [0, 2])
def test_opening_a_stream_that_is_not_its_own_ends_the_connection(stream_id: int) -> None:
    server = spdy.Connection(spdy.Role.SERVER)
    with pytest.raises(spdy.RemoteProtocolError):
        receive(server, frames.syn_stream(stream_id, HeaderEncoder().encode({}), 0))
    assert server.data_to_send() == frames.goaway(0, GoAwayStatus.PROTOCOL_ERROR)
    assert receive(server, frames.ping(1)) == []
    with pytest.raises(spdy.LocalProtocolError):
        server.open_stream({})


def test_ids_must_grow() -> None:
    server, encoder = spdy.Connection(spdy.Role.SERVER), HeaderEncoder()
    receive(server, frames.syn_stream(5, encoder.encode({}), 0))
    with pytest.raises(spdy.RemoteProtocolError):
        receive(server, frames.syn_stream(3, encoder.encode({}), 0))


def test_one_way_streams_take_no_reply() -> None:
    server, encoder = spdy.Connection(spdy.Role.SERVER), HeaderEncoder()
    events = receive(server, frames.syn_stream(1, encoder.encode({}), FLAG_UNIDIRECTIONAL))
    assert events == [spdy.StreamOpened(1, {}, False, True)]
    with pytest.raises(spdy.LocalProtocolError):
        server.reply(1)
    assert receive(server, frames.data_head(1, 1, True) + b"x") == [
        spdy.DataReceived(1, b"x", True)
    ]
    assert server.open_streams == 0


def test_goaway_stops_new_streams_and_gives_up_unseen_ones() -> None:
    client, server = pair()
    seen = client.open_stream({})
    carry(client, server)
    unseen = client.open_stream({})
    server.goaway()
    assert carry(server, client) == [
        spdy.GoAwayReceived(seen, 0),
        spdy.StreamReset(unseen, ResetCode.REFUSED_STREAM, by_peer=True),
    ]
    with pytest.raises(spdy.LocalProtocolError):
        client.open_stream({})
    assert carry(client, server) == []  # what was on its way is not taken any more
    assert server.open_streams == 1


# -- flow control
# --------------------------------------------------------------------------------------------


def test_a_peer_that_never_speaks_of_windows_is_not_held_to_one() -> None:
    client, server, stream = opened()
    assert not server.peer_is_paced
    server.send_data(stream, bytes(1_000_000))
    client.send_data(stream, bytes(1_000_000))
    assert (
        sum(
            len(event.data)
            for event in carry(client, server)
            if isinstance(event, spdy.DataReceived)
        )
        == 1_000_000
    )


def test_a_window_is_used_up_and_opened_again_by_reading() -> None:
    client, server, stream = paced(spdy.Limits(stream_window=100_000))
    assert client.send_capacity(stream) == 100_000
    client.send_data(stream, bytes(100_000))
    assert client.send_capacity(stream) == 0
    with pytest.raises(spdy.LocalProtocolError):
        client.send_data(stream, b"x")
    carry(client, server)
    server.consume(stream, 40_000)
    assert carry(server, client) == []  # less than half a window is not worth a frame
    server.consume(stream, 20_000)
    assert carry(server, client) == [spdy.WindowOpened(stream)]
    assert client.send_capacity(stream) == 60_000


def test_the_session_has_a_window_of_its_own() -> None:
    client, server, stream = paced(spdy.Limits(stream_window=100_000, session_window=150_000))
    other = client.open_stream({})
    carry(client, server)
    client.send_data(stream, bytes(100_000))
    assert client.send_capacity(other) == 50_000
    client.send_data(other, bytes(50_000))
    carry(client, server)
    server.consume(stream, 100_000)
    assert set(map(type, carry(server, client))) == {spdy.WindowOpened}
    assert (client.send_capacity(stream), client.send_capacity(other)) == (100_000, 50_000)


def test_breaking_a_streams_window_resets_it_and_breaking_the_sessions_ends_it() -> None:
    client, server, stream = paced(spdy.Limits(stream_window=1000, session_window=70_000))
    over = receive(server, frames.data_head(stream, 1001, False) + bytes(1001))
    assert over == [spdy.StreamReset(stream, ResetCode.FLOW_CONTROL_ERROR, by_peer=False)]
    with pytest.raises(spdy.RemoteProtocolError):
        receive(server, frames.data_head(stream, 200_000, False) + bytes(200_000))
    assert client.peer_is_paced


def test_bytes_for_dead_streams_do_not_use_up_the_session() -> None:
    client, server, stream = paced(spdy.Limits(stream_window=80_000, session_window=80_000))
    server.reset(stream)
    server.data_to_send()  # the reset is still on its way while the client fills its window
    client.send_data(stream, bytes(80_000))
    assert carry(client, server) == []
    other = client.open_stream({})
    assert client.send_capacity(other) == 0
    assert carry(server, client) == [spdy.WindowOpened(0)]
    assert client.send_capacity(other) == 80_000


def test_a_smaller_initial_window_can_leave_a_stream_in_debt() -> None:
    client, server, stream = opened()
    receive(server, frames.settings(1000))
    assert server.send_capacity(stream) == 1000
    server.send_data(stream, bytes(1000))
    receive(server, frames.settings(500))
    assert server.send_capacity(stream) == -500
    receive(server, frames.window_update(stream, 501))
    assert server.send_capacity(stream) == 1
    assert client.open_streams == 1


@pytest.mark.parametrize(
    "frame",
    [frames.window_update(0, 0), frames.window_update(0, 0x7FFFFFFF), frames.settings(0x80000000)],
    ids=["by nothing", "too far", "too large"],
)
def test_session_windows_that_cannot_be_end_the_connection(frame: bytes) -> None:
    _, server, _ = opened()
    with pytest.raises(spdy.RemoteProtocolError):
        receive(server, frame)


@pytest.mark.parametrize("delta", [0, 0x7FFFFFFF])
def test_stream_windows_that_cannot_be_reset_the_stream(delta: int) -> None:
    _, server, stream = opened()
    assert receive(server, frames.window_update(stream, delta)) == [
        spdy.StreamReset(stream, ResetCode.FLOW_CONTROL_ERROR, by_peer=False)
    ]
