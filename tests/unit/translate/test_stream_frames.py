"""The engine's frames: whatever they are and however they come in, the same payload, in bounded
steps and linear work.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.translate.stream_frames import FRAMES_PER_STEP, Piece, StreamFrames, runs


def frame(number: int, payload: bytes) -> bytes:
    return bytes((number, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


class CountedBytes(bytes):
    """Counts what is copied out of it."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, bytes):
            CountedBytes.copied += len(found)
        return found


def drain(frames: StreamFrames) -> list[Piece]:
    found: list[Piece] = []
    while frames.pending:
        found += frames.take()
    return found


FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=30)


@given(FRAMES, st.lists(st.integers(1, 20), min_size=1), st.binary(max_size=12))
def test_the_payload_does_not_depend_on_how_the_bytes_come(
    frames: list[tuple[int, bytes]], cuts: list[int], tail: bytes
) -> None:
    wire = b"".join(frame(*one) for one in frames)
    decoder, found, at, turn = StreamFrames(), [], 0, 0
    while at < len(wire):
        step = cuts[turn % len(cuts)]
        decoder.feed(wire[at : at + step])
        found += drain(decoder)
        at, turn = at + step, turn + 1
    whole: list[tuple[int, bytes]] = []
    waiting = b""
    for number, data, ends in found:
        waiting += data
        if ends:
            whole.append((number, waiting))
            waiting = b""
    assert whole == frames and waiting == b""
    merged = runs(found)
    assert all(data for _, data in merged)
    assert all(one[0] != other[0] for one, other in itertools.pairwise(merged))
    decoder.feed(tail)  # whatever follows is not an error
    drain(decoder)
    assert not decoder.pending


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_frames(data: bytes, step: int) -> None:
    decoder = StreamFrames()
    taken = 0
    for at in range(0, len(data), step):
        decoder.feed(data[at : at + step])
        taken += sum(len(piece) for _, piece, _ in drain(decoder))
    assert taken <= len(data)


@pytest.mark.parametrize("payload", [b"", b"x", b"x" * 100])
def test_a_step_is_bounded_and_all_steps_are_linear(payload: bytes) -> None:
    wire = CountedBytes(frame(1, payload) * (65536 // (8 + len(payload))))
    CountedBytes.copied = 0
    decoder = StreamFrames()
    decoder.feed(wire)
    count = len(wire) // (8 + len(payload))
    steps = 0
    while decoder.pending:
        assert len(decoder.take()) <= FRAMES_PER_STEP
        steps += 1
    assert steps <= 2 * count / FRAMES_PER_STEP + 1
    assert CountedBytes.copied <= len(wire)


def test_two_streams_in_turn_stay_apart() -> None:
    decoder = StreamFrames()
    decoder.feed((frame(1, b"o") + frame(2, b"e")) * 3)
    assert runs(drain(decoder)) == [(1, b"o"), (2, b"e")] * 3
