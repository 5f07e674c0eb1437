"""The multiplexer and ttrpc, two ends together in memory."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.nri.mux import Demultiplexer, frames
from asupervisor.nri.ttrpc import (
    LONGEST_MESSAGE,
    Answer,
    Call,
    ProtocolError,
    Receiver,
    TooLong,
    encode_answer,
    encode_call,
)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The same bytes in pieces of these sizes, the last of what is left."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


PIECES = st.lists(st.integers(0, 40), max_size=20)
MESSAGES = st.lists(st.tuples(st.integers(1, 5), st.binary(max_size=60)), max_size=8)


@given(MESSAGES, PIECES)
def test_every_connection_gets_its_bytes_however_they_arrive(
    messages: list[tuple[int, bytes]], sizes: list[int]
) -> None:
    wire = b"".join(frames(connection, message) for connection, message in messages)
    ends = Demultiplexer()
    got: dict[int, bytes] = {}
    for piece in cut(wire, sizes):
        for connection, data in ends.receive(piece):
            got[connection] = got.get(connection, b"") + data
    wanted: dict[int, bytes] = {}
    for connection, message in messages:
        if message:
            wanted[connection] = wanted.get(connection, b"") + message
    assert got == wanted


def test_the_first_frame_of_a_message_fits_the_buffer_of_the_go_side() -> None:
    wire = frames(1, bytes(10_000))
    assert struct.unpack(">II", wire[:8]) == (1, 4096)
    assert struct.unpack(">II", wire[8 + 4096 : 16 + 4096]) == (1, 10_000 - 4096)
    assert len(wire) == 10_000 + 16


def test_a_frame_of_any_length_is_not_collected() -> None:
    ends = Demultiplexer()
    assert list(ends.receive(struct.pack(">II", 9, 0xFFFFFFFF))) == []
    assert list(ends.receive(bytes(100))) == [(9, bytes(100))]


CALLS = st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9), st.binary(max_size=50)))


@given(CALLS, PIECES)
def test_calls_arrive_as_they_were_made(
    calls: list[tuple[str, str, bytes]], sizes: list[int]
) -> None:
    sent = [Call(2 * number + 1, *call) for number, call in enumerate(calls)]
    wire = b"".join(
        encode_call(one.stream, one.service, one.method, one.payload, 2.0) for one in sent
    )
    receiver = Receiver(serves=True)
    assert [one for piece in cut(wire, sizes) for one in receiver.receive(piece)] == sent


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 16), st.text(max_size=9))), PIECES)
def test_answers_arrive_as_they_were_given(
    answers: list[tuple[int, int, str]], sizes: list[int]
) -> None:
    sent = [Answer(stream, code, message, b"x") for stream, code, message in answers]
    wire = b"".join(encode_answer(one.stream, b"x", one.code, one.message) for one in sent)
    receiver = Receiver(serves=False)
    assert [one for piece in cut(wire, sizes) for one in receiver.receive(piece)] == sent


@given(st.binary(max_size=200), st.booleans(), PIECES)
def test_any_bytes_are_understood_or_refused(data: bytes, serves: bool, sizes: list[int]) -> None:
    receiver = Receiver(serves)
    kinds = set()
    with contextlib.suppress(ProtocolError):
        for piece in cut(data, sizes):
            kinds |= {type(message) for message in receiver.receive(piece)}
    assert kinds <= {Call if serves else Answer}


def header(length: int, stream: int, kind: int, flags: int = 0) -> bytes:
    return struct.pack(">IIBB", length, stream, kind, flags)


@pytest.mark.parametrize(
    "wire",
    [
        header(LONGEST_MESSAGE + 1, 1, 1),
        header(0xFFFFFFFF, 1, 1),
        header(0, 2, 1),
        header(0, 1, 1, flags=2),
        header(0, 1, 3),
        header(0, 1, 2),
        header(0, 1, 1) + header(0, 1, 1),
        header(3, 1, 1) + b"\x0a\xff\xff",
    ],
    ids=["long", "longest", "even", "open", "data", "response", "reused", "not-protobuf"],
)
def test_what_no_caller_sends_ends_the_connection(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(Receiver(serves=True).receive(wire))


def test_a_length_alone_reserves_nothing() -> None:
    receiver = Receiver(serves=True)
    assert list(receiver.receive(header(LONGEST_MESSAGE, 1, 1))) == []
    assert len(receiver._buffer) == 10


def test_what_is_too_long_is_not_sent() -> None:
    with pytest.raises(TooLong):
        encode_call(1, "s", "m", bytes(LONGEST_MESSAGE), 1.0)
    with pytest.raises(TooLong):
        encode_answer(1, bytes(LONGEST_MESSAGE + 1))
