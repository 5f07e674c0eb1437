"""However a peer cuts its bytes, a step of the work on them is bounded, and between steps others
have their turn. Counted in steps and turns, not in seconds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.stapled import StapledByteStream

from asupervisor.streaming import spdy
from asupervisor.streaming.channel_session import ChannelSession
from asupervisor.streaming.channels import ChannelProtocol
from asupervisor.streaming.inbox import CHUNK_BYTES, Inbox
from asupervisor.streaming.loop_turns import Patience
from asupervisor.streaming.spdy import frames
from asupervisor.streaming.spdy.connection import UNITS_PER_STEP
from asupervisor.streaming.spdy.headers import HeaderEncoder
from asupervisor.streaming.spdy_session import SpdySession
from asupervisor.streaming.terminal import NEWEST, SizeDecoder, encode_size
from asupervisor.streaming.websocket import FRAMES_PER_TURN, WebSocket, WebSocketByteStream
from tests.harness.spdy import parse, receive
from tests.unit.streaming.test_spdy_session import _Pipe

FLOOD_BYTES = 64 * 1024
MOST = UNITS_PER_STEP // 6 + 1
"""Frames of one step, by the least that one costs."""


def masked(opcode: int, payload: bytes, fin: bool = True) -> bytes:
    return bytes(((0x80 if fin else 0) | opcode, 0x80 | len(payload))) + bytes(4) + payload


def filled(piece: bytes) -> bytes:
    return piece * (FLOOD_BYTES // len(piece))


def header_blocks(value_bytes: int) -> bytes:
    encoder, wire, stream = HeaderEncoder(), b"", 1
    while len(wire) < FLOOD_BYTES:
        wire += frames.syn_stream(stream, encoder.encode({"x": "a" * value_bytes}), 0)
        stream += 2
    return wire


def settings_of_many_streams() -> bytes:
    encoder = HeaderEncoder()
    opened = b"".join(frames.syn_stream(2 * n + 1, encoder.encode({}), 0) for n in range(1024))
    return opened + filled(frames.settings(65536) + frames.settings(65537))


SPDY_FLOODS: dict[str, tuple[Callable[[], bytes], int]] = {
    # the bytes, and the most frames that one step may take of them
    "data of one byte": (lambda: filled(frames.data_head(1, 1, False) + b"x"), MOST),
    "empty data": (lambda: filled(frames.data_head(1, 0, False)), MOST),
    "pings": (lambda: filled(frames.ping(1)), MOST),
    "window updates": (lambda: filled(frames.window_update(0, 1)), MOST),
    "unknown frames": (lambda: filled(bytes.fromhex("800300ff00000000")), 101),
    "resets": (lambda: filled(frames.rst_stream(99, spdy.ResetCode.CANCEL)), MOST),
    "streams": (lambda: header_blocks(1), MOST),
    "deflated headers": (lambda: header_blocks(30_000), 2),
    "settings of many streams": (settings_of_many_streams, MOST),
}


@pytest.mark.parametrize("name", list(SPDY_FLOODS))
def test_a_step_of_spdy_is_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, most = SPDY_FLOODS[name]
    taken = 0
    cut = frames.FrameParser.steps

    def counted(self: Any, data: bytes) -> Any:
        nonlocal taken
        for frame in cut(self, data):
            taken += frame is not None or name == "unknown frames"
            yield frame

    monkeypatch.setattr(frames.FrameParser, "steps", counted)
    connection = spdy.Connection(spdy.Role.SERVER)
    connection.feed(make())
    steps, total = 0, 0
    while connection.pending:
        taken = 0
        connection.step()
        assert taken <= most
        steps, total = steps + 1, total + taken
    assert steps >= total / most


def test_settings_cost_what_they_touch() -> None:
    """A frame of 20 bytes that changes the windows of a thousand streams is a step of its own."""
    connection = spdy.Connection(spdy.Role.SERVER)
    wire = settings_of_many_streams()
    opened = len(wire) - len(filled(frames.settings(1) * 2))
    receive(connection, wire[:opened])
    connection.feed(wire[opened:])
    connection.step()
    assert connection.empty_frames <= 1 + UNITS_PER_STEP // 1024


def test_a_step_is_the_same_as_all_at_once() -> None:
    wire = header_blocks(100) + frames.ping(1) + frames.data_head(1, 3, True) + b"abc"
    whole, stepwise = (spdy.Connection(spdy.Role.SERVER) for _ in range(2))
    events: list[spdy.Event] = []
    stepwise.feed(wire)
    while stepwise.pending:
        events += stepwise.step(1)
    assert events == receive(whole, wire)
    assert stepwise.data_to_send() == whole.data_to_send()


@asynccontextmanager
async def counted_rounds() -> AsyncIterator[list[int]]:
    """How often somebody else had its turn meanwhile."""
    rounds = [0]

    async def others() -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            rounds[0] += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        yield rounds
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def piped(*wire: bytes) -> AsyncIterator[StapledByteStream]:
    """A connection on which a peer has sent something, and takes whatever is answered."""
    up, down = _Pipe(), _Pipe()

    async def take() -> None:
        with_end = anyio.EndOfStream, anyio.ClosedResourceError
        try:
            while True:
                await down.receive()
        except with_end:
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        for piece in wire:
            await up.send(piece)
        yield StapledByteStream(down, up)  # type: ignore[arg-type]
        tasks.cancel_scope.cancel()
        await up.aclose()
        await down.aclose()


@pytest.mark.parametrize("name", ["data of one byte", "window updates", "deflated headers"])
async def test_others_have_their_turn_beside_a_spdy_flood(name: str) -> None:
    make, most = SPDY_FLOODS[name]
    wire = make()
    parser = frames.FrameParser(32768)
    count = sum(1 for _ in parse(parser, wire))
    async with piped(wire) as stream, counted_rounds() as rounds:
        async with SpdySession(stream, spdy.Role.SERVER) as session:
            end = frames.goaway(0, spdy.GoAwayStatus.OK)
            await stream.receive_stream._send.send(end)  # type: ignore[attr-defined]
            while not session.connection.going_away:
                await anyio.lowlevel.checkpoint()
            assert not session.violation
        assert rounds[0] >= count // most // 2


@pytest.mark.parametrize(
    "piece",
    [
        frames.ping(1),
        frames.settings(65536),
        frames.data_head(1, 0, False),
        bytes.fromhex("800300ff00000000"),
    ],
    ids=["pings", "settings", "empty data", "unknown"],
)
async def test_a_spdy_flood_ends_the_connection_by_the_protocols_error(piece: bytes) -> None:
    async with (
        piped(filled(piece), filled(piece)) as stream,
        SpdySession(stream, spdy.Role.SERVER) as session,
    ):
        with anyio.fail_after(60):
            await session.ended.wait()
        assert "flood" in session.violation


WEBSOCKET_FLOODS = {
    "messages of one byte": masked(2, b"\0x"),
    "fragments": masked(0, b"x", False),
    "closes of no channel": masked(2, b"\x01"),
}


@pytest.mark.parametrize("name", list(WEBSOCKET_FLOODS))
async def test_others_have_their_turn_beside_a_websocket_flood(name: str) -> None:
    wire = filled(WEBSOCKET_FLOODS[name])
    count = FLOOD_BYTES // len(WEBSOCKET_FLOODS[name])
    if name == "fragments":
        wire = masked(2, b"\0", False) + wire + masked(0, b"")
    protocol = ChannelProtocol("v4.channel.k8s.io", 4)
    async with piped(wire, masked(8, b"\x03\xe8")) as stream, counted_rounds() as rounds:
        async with WebSocket(stream, client=False) as websocket:
            async with ChannelSession(websocket, protocol, readable={0}, writable={1}) as session:
                with anyio.fail_after(60):
                    await session.ended.wait()
            assert websocket.close_code == 1000
        assert rounds[0] >= count // FRAMES_PER_TURN // 2


@pytest.mark.parametrize("piece", [masked(9, b""), masked(10, b""), masked(2, b"")])
async def test_a_websocket_flood_ends_the_connection(piece: bytes) -> None:
    async with (
        piped(filled(piece)) as stream,
        WebSocket(stream, client=False) as websocket,
    ):
        tunnel = WebSocketByteStream(websocket)
        with anyio.fail_after(60), pytest.raises(anyio.BrokenResourceError, match="flood"):
            await tunnel.receive()


async def test_patience_comes_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0], raising=False)
    patience = Patience(burst=10, per_s=1)
    assert patience.spend(10) and not patience.spend(1)
    now[0] += 5
    assert patience.spend(4) and not patience.spend(1)
    for _ in range(100):  # a ping every second for ever
        now[0] += 2
        assert patience.spend(1)


def test_single_bytes_are_gathered_as_they_come() -> None:
    inbox = Inbox(lambda count: None)
    for _ in range(2 * CHUNK_BYTES):
        inbox.feed(b"x")
    assert inbox.size == 2 * CHUNK_BYTES and len(inbox._chunks) <= 4


async def test_the_inbox_gives_what_it_was_fed() -> None:
    inbox = Inbox(lambda count: None)
    wire = [bytes((n % 251,)) * (n % 7 * n) for n in range(300)]
    for piece in wire:
        if piece:
            inbox.feed(piece)
    inbox.feed_eof()
    found: list[bytes] = []
    while inbox.size:
        found.append(await inbox.read())
    assert all(isinstance(data, bytes) and data for data in found)
    assert b"".join(found) == b"".join(wire)
    with pytest.raises(anyio.EndOfStream):
        await inbox.read()


@pytest.mark.parametrize("piece", [b"{}", b"{", b"}", b"}{", b'{"', encode_size(80, 24)])
def test_few_sizes_of_a_storm_are_looked_at(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    loads = json.loads

    def counted(text: str) -> object:
        nonlocal looked
        looked += 1
        return loads(text)

    monkeypatch.setattr(json, "loads", counted)
    decoder = SizeDecoder()
    decoder.feed(filled(piece))
    assert looked <= NEWEST
    decoder.feed(b"}")
    assert decoder.feed(encode_size(81, 25)) == [(81, 25)]
