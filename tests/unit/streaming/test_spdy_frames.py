"""Frames and header blocks, against bytes written out by hand from the specification's pictures."""

from __future__ import annotations

import struct
import zlib

import pytest

from asupervisor.streaming.spdy import RemoteProtocolError, frames
from asupervisor.streaming.spdy.codes import FLAG_FIN, FrameType, GoAwayStatus, ResetCode
from asupervisor.streaming.spdy.dictionary import DICTIONARY
from asupervisor.streaming.spdy.headers import HeaderDecoder, HeaderEncoder, MalformedHeaders
from asupervisor.streaming.spdy.limits import Limits
from tests.harness.spdy import parse

GOLDEN = [
    (frames.data_head(1, 3, True), "00000001 01000003"),
    (frames.data_head(0x7FFFFFFF, 0xFFFFFF, False), "7fffffff 00ffffff"),
    (frames.rst_stream(5, ResetCode.CANCEL), "80030003 00000008 00000005 00000005"),
    (frames.ping(1), "80030006 00000004 00000001"),
    (frames.goaway(7, GoAwayStatus.OK), "80030007 00000008 00000007 00000000"),
    (frames.window_update(0, 65536), "80030009 00000008 00000000 00010000"),
    (frames.settings(262144), "80030004 0000000c 00000001 00000007 00040000"),
    (frames.syn_reply(1, b"\xaa"), "80030002 00000005 00000001 aa"),
    (frames.headers(1, b"\xaa", True), "80030008 01000005 00000001 aa"),
    (frames.syn_stream(3, b"\xaa", 0), "80030001 0000000b 00000003 00000000 0000 aa"),
]


@pytest.mark.parametrize(("made", "expected"), GOLDEN)
def test_frames_are_laid_out_as_specified(made: bytes, expected: str) -> None:
    assert made == bytes.fromhex(expected.replace(" ", ""))


def test_the_dictionary_is_the_one_that_every_spdy3_stream_names() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def _whole(pieces: list[frames.DataPart | frames.ControlFrame]) -> list[object]:
    """Join data parts of one frame, so that results do not depend on where the input was cut."""
    joined: list[object] = []
    for piece in pieces:
        if (
            isinstance(piece, frames.DataPart)
            and joined
            and isinstance(joined[-1], tuple)
            and not joined[-1][2]
        ):
            stream, data, _ = joined[-1]
            if stream == piece.stream_id:
                joined[-1] = (stream, data + piece.data, piece.fin)
                continue
        joined.append(
            (piece.stream_id, piece.data, piece.fin)
            if isinstance(piece, frames.DataPart)
            else piece
        )
    return joined


def test_frames_split_at_every_byte() -> None:
    text = b"".join(
        [
            frames.syn_stream(1, b"block", 0),
            frames.data_head(1, 5, False) + b"hello",
            struct.pack(">II", 0x80030005, 4)
            + b"noop",  # a type that the version has not: to be skipped
            frames.ping(2),
            frames.data_head(1, 0, True),
            frames.settings(1000),
        ]
    )
    expected = _whole(parse(frames.FrameParser(1024), text))
    assert len(expected) == 5
    for cut in range(1, len(text)):
        parser = frames.FrameParser(1024)
        assert _whole([*parse(parser, text[:cut]), *parse(parser, text[cut:])]) == expected
    parser = frames.FrameParser(1024)
    assert _whole([piece for byte in text for piece in parse(parser, bytes((byte,)))]) == expected


def test_fin_comes_with_the_last_part_of_its_frame_only() -> None:
    parser = frames.FrameParser(1024)
    assert parse(parser, frames.data_head(1, 4, True) + b"ab") == [frames.DataPart(1, b"ab", False)]
    assert parse(parser, b"cd") == [frames.DataPart(1, b"cd", True)]


def test_a_data_frame_of_16_mib_is_passed_on_and_not_kept() -> None:
    parser = frames.FrameParser(1024)
    parse(parser, frames.data_head(1, 0xFFFFFF, False))
    for _ in range(100):
        assert parse(parser, bytes(1000)) == [frames.DataPart(1, bytes(1000), False)]
        assert parser.buffered_bytes == 0


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("80020001 0000000a", id="version 2"),
        pytest.param("80030006 00000005", id="ping of 5 bytes"),
        pytest.param("80030003 00000004", id="reset of 4 bytes"),
        pytest.param("80030001 00000009", id="syn_stream of 9 bytes"),
        pytest.param("80030008 00000401", id="headers longer than the limit"),
        pytest.param("00000000 00000001", id="data for stream 0"),
    ],
)
def test_impossible_heads_end_the_connection(head: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse(frames.FrameParser(1024), bytes.fromhex(head.replace(" ", "")))


def test_settings_count_must_fit() -> None:
    assert frames.parse_settings(
        bytes.fromhex("00000002 00000007 00000001 01000007 00000002".replace(" ", ""))
    ) == {7: 1}
    with pytest.raises(RemoteProtocolError):
        frames.parse_settings(bytes.fromhex("ffffffff"))


def test_header_blocks_share_one_compression_context() -> None:
    encoder, decoder = HeaderEncoder(), HeaderDecoder(Limits())
    first, second = (
        encoder.encode({"streamType": "stdin"}),
        encoder.encode({"streamtype": "stdin", "port": "80"}),
    )
    assert decoder.decode(first) == {"streamtype": "stdin"}
    assert decoder.decode(second) == {"streamtype": "stdin", "port": "80"}
    with pytest.raises(RemoteProtocolError):
        HeaderDecoder(Limits()).decode(second)  # out of its context


def _block(text: bytes) -> bytes:
    deflate = zlib.compressobj(zdict=DICTIONARY)
    return deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        struct.pack(">I", 1),
        struct.pack(">I", 65) + bytes(8) * 65,
        struct.pack(">II", 1, 0) + struct.pack(">I", 0),
        struct.pack(">II", 1, 1) + b"A" + struct.pack(">I", 0),
        struct.pack(">II", 1, 1) + b"a" + struct.pack(">I", 99) + b"short",
        struct.pack(">I", 2) + (struct.pack(">I", 1) + b"a" + struct.pack(">I", 0)) * 2,
        struct.pack(">I", 0) + b"more",
    ],
    ids=[
        "empty",
        "no pair",
        "too many",
        "no name",
        "upper case",
        "short value",
        "twice",
        "trailing",
    ],
)
def test_malformed_lists_leave_the_context_good(text: bytes) -> None:
    deflate, decoder = zlib.compressobj(zdict=DICTIONARY), HeaderDecoder(Limits())
    with pytest.raises(MalformedHeaders):
        decoder.decode(deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH))
    good = struct.pack(">II", 1, 1) + b"a" + struct.pack(">I", 1) + b"b"
    assert decoder.decode(deflate.compress(good) + deflate.flush(zlib.Z_SYNC_FLUSH)) == {"a": "b"}


def test_several_values_give_the_first() -> None:
    text = struct.pack(">II", 1, 1) + b"a" + struct.pack(">I", 3) + b"x\0y"
    assert HeaderDecoder(Limits()).decode(_block(text)) == {"a": "x"}


def test_a_block_that_inflates_without_end_ends_the_connection() -> None:
    bomb = _block(bytes(50_000_000))
    assert len(bomb) < 60_000
    with pytest.raises(RemoteProtocolError):
        HeaderDecoder(Limits()).decode(bomb)


def test_control_frames_know_their_parts() -> None:
    (frame,) = parse(frames.FrameParser(1024), frames.headers(9, b"", True))
    assert isinstance(frame, frames.ControlFrame)
    assert (frame.type, frame.stream_id, frame.flags, frame.fin) == (
        FrameType.HEADERS,
        9,
        FLAG_FIN,
        True,
    )
