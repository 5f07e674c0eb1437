"""The WebSocket channel protocols."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.streaming import channels
from asupervisor.streaming.channels import ChannelClosed, ChannelData, ChannelDecoder, ChannelError
from asupervisor.streaming.negotiation import COMMAND_CHANNELS

V1, V4, V5 = (COMMAND_CHANNELS[name] for name in ("", "v4.channel.k8s.io", "v5.channel.k8s.io"))
BASE64 = COMMAND_CHANNELS["v4.base64.channel.k8s.io"]


def test_binary_messages_begin_with_their_channel() -> None:
    assert channels.encode(V4, channels.STDOUT, b"out") == b"\x01out"
    assert ChannelDecoder(V4).feed(b"\x00in", text=False, finished=True) == [
        ChannelData(channels.STDIN, b"in")
    ]


def test_base64_messages_begin_with_a_digit() -> None:
    assert channels.encode(BASE64, channels.ERROR, b"\xff\x00") == b"3/wA="
    assert ChannelDecoder(BASE64).feed(b"0/wA=", text=True, finished=True) == [
        ChannelData(channels.STDIN, b"\xff\x00")
    ]


def test_an_empty_message_announces_its_channel() -> None:
    assert channels.encode(V1, channels.STDOUT, b"") == b"\x01"
    assert channels.encode(BASE64, channels.STDOUT, b"") == b"1"
    assert ChannelDecoder(V1).feed(b"\x01", text=False, finished=True) == [
        ChannelData(channels.STDOUT, b"")
    ]
    assert ChannelDecoder(V1).feed(b"", text=False, finished=True) == []


def test_v5_closes_a_channel_and_older_ones_do_not() -> None:
    assert channels.encode_close(channels.STDIN) == b"\xff\x00"
    assert ChannelDecoder(V5).feed(b"\xff\x00", text=False, finished=True) == [
        ChannelClosed(channels.STDIN)
    ]
    assert ChannelDecoder(V4).feed(b"\xff\x00", text=False, finished=True) == [
        ChannelData(255, b"\x00")
    ]


@pytest.mark.parametrize("message", [b"\xff", b"\xff\x00\x01"])
def test_a_close_names_one_channel(message: bytes) -> None:
    with pytest.raises(ChannelError):
        ChannelDecoder(V5).feed(message, text=False, finished=True)


@pytest.mark.parametrize("message", [b"0!!!!", b"0abc", b"xAAAA", b"\xffAAAA"])
def test_what_is_no_base64_is_refused(message: bytes) -> None:
    with pytest.raises(ChannelError):
        ChannelDecoder(BASE64).feed(message, text=True, finished=True)


def test_text_in_a_binary_protocol_is_refused() -> None:
    with pytest.raises(ChannelError):
        ChannelDecoder(V5).feed(b"0abc", text=True, finished=True)


def test_a_base64_message_without_end_is_not_kept_for_ever() -> None:
    decoder = ChannelDecoder(BASE64)
    for _ in range(15):
        decoder.feed(b"0" + b"A" * 65536, text=True, finished=False)
    with pytest.raises(ChannelError, match="more than"):
        decoder.feed(b"A" * 65536, text=True, finished=False)


MESSAGES = st.lists(st.tuples(st.integers(0, 4), st.binary(max_size=40)), max_size=6)


@given(MESSAGES, st.data(), st.sampled_from([V4, V5, BASE64]))
def test_messages_in_any_pieces_give_the_same_bytes(
    messages: list[tuple[int, bytes]], data: st.DataObject, protocol: channels.ChannelProtocol
) -> None:
    decoder = ChannelDecoder(protocol)
    got: dict[int, bytes] = {}
    sent: dict[int, bytes] = {}
    for channel, content in messages:
        sent[channel] = sent.get(channel, b"") + content
        message = channels.encode(protocol, channel, content)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=4)))
        pieces = [
            message[start:end] for start, end in zip([0, *cuts], [*cuts, len(message)], strict=True)
        ]
        for index, piece in enumerate(pieces):
            for event in decoder.feed(
                piece, text=protocol.base64, finished=index == len(pieces) - 1
            ):
                assert isinstance(event, ChannelData)
                got[event.channel] = got.get(event.channel, b"") + event.data
    assert got == sent
