"""The engine's logs answer, cut at every place."""

from __future__ import annotations

import pytest

from asupervisor.logs.frames import HttpBody, Message, Messages

_T = b"2026-09-21T13:46:40.000000123Z"
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding:"
    b" chunked\r\n\r\n"
)


def frame(stream: int, payload: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


def chunked(*chunks: bytes) -> bytes:
    return (
        _HEAD + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    )


@pytest.mark.parametrize("step", [1, 2, 3, 7, 50, 10_000])
def test_frames_come_out_whole_however_they_come_in(step: int) -> None:
    frames = frame(1, _T + b" one\n") + frame(2, _T + b" two") + frame(1, _T + b" \n")
    wire = chunked(frames[:5], frames[5:30], frames[30:])
    body, messages, found = HttpBody(), Messages(tty=False), []
    for at in range(0, len(wire), step):
        found += messages.feed(body.feed(wire[at : at + step]))
    assert found == [
        Message(_T, b"stdout", b"one\n"),
        Message(_T, b"stderr", b"two"),
        Message(_T, b"stdout", b"\n"),
    ]
    assert body.status == 200
    assert body.ended


def test_a_cut_body_has_not_ended() -> None:
    body = HttpBody()
    body.feed(chunked(b"abc")[:-3])
    assert not body.ended


@pytest.mark.parametrize("step", [1, 40, 100_000])
def test_a_terminal_is_cut_at_newlines_and_after_16_kib(step: int) -> None:
    long = b"x" * 16384
    wire = _T + b" $ ls\r\n" + _T + b" " + long + _T + b" rest\r\n" + _T + b" prompt"
    messages, found = Messages(tty=True), []
    for at in range(0, len(wire), step):
        found += messages.feed(wire[at : at + step])
    found += messages.rest()
    assert [message.content for message in found] == [b"$ ls\r\n", long, b"rest\r\n", b"prompt"]


def test_a_refusal_is_read_to_its_end() -> None:
    body = HttpBody()
    text = b'{"message":"configured logging driver does not support reading"}\n'
    assert (
        body.feed(
            b"HTTP/1.1 501 Not Implemented\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
        )
        == text
    )
    assert body.status == 501
    assert body.ended
