"""The encoding of json-file lines, against a slow and plain one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.logs.lines import MAX_CONTENT_BYTES, LineEncoder
from tests.harness.engine_log import engine_line, engine_time

_T = "2026-09-21T13:46:40.000000123Z"


def plainly(lines: list[bytes]) -> bytes:
    """The CRI lines of json-file lines, one after the other through the standard library."""
    out = b""
    for line in lines:
        row = json.loads(line)
        content = row["log"].encode()
        whole = content.endswith(b"\n")
        content = content.removesuffix(b"\n")
        parts = [
            content[at : at + MAX_CONTENT_BYTES] for at in range(0, len(content), MAX_CONTENT_BYTES)
        ] or [b""]
        for number, part in enumerate(parts):
            tag = b"F" if whole and number == len(parts) - 1 else b"P"
            out += b"%s %s %s %s\n" % (row["time"].encode(), row["stream"].encode(), tag, part)
    return out


_contents = st.one_of(
    st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"")),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace").replace(b"\n", b"")),
    st.sampled_from(
        [
            b"",
            b"\\",
            b"\\n",
            b'","stream":"stdout","time":"',
            b'"}\n{"log":"'.replace(b"\n", b""),
            b"\r",
            b"\x00",
            b"\x1b[1m",
        ]
    ),
)
_rows = st.lists(
    st.tuples(
        _contents,
        st.sampled_from(["", "\n", "\n", "\n"]),
        st.sampled_from(["stdout", "stderr"]),
        st.sampled_from([b"", b'{"tag":"a\\"b"}']),
    ),
    min_size=1,
    max_size=12,
)
_alike = st.sampled_from(["as they are", "stdout", "stderr", "whole lines of both streams"])


@st.composite
def _lines(draw: st.DrawFn) -> list[bytes]:
    """Lines of a json-file; often all of one kind, for which there are shorter ways."""
    alike = draw(_alike)
    lines = []
    for index, (content, end, stream, attributes) in enumerate(draw(_rows)):
        if alike != "as they are":
            end, attributes = "\n", b""
        if alike in ("stdout", "stderr"):
            stream = alike
        lines.append(
            engine_line(content + end.encode(), engine_time(index * 7), stream, attributes)
        )
    return lines


@given(_lines())
def test_every_chunk_encodes_as_its_lines_do(lines: list[bytes]) -> None:
    assert LineEncoder().encode(b"".join(lines)) == plainly(lines)


@given(_lines(), st.integers(0, 12))
def test_the_encoding_does_not_depend_on_where_chunks_end(lines: list[bytes], cut: int) -> None:
    encoder = LineEncoder()
    parts = [b"".join(lines[:cut]), b"".join(lines[cut:])]
    assert b"".join(encoder.encode(part) for part in parts if part) == plainly(lines)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"hello\n", b"F hello\n"),
        (b"no newline", b"P no newline\n"),
        (b"\n", b"F \n"),
        (b"tty line\r\n", b"F tty line\r\n"),
        (b'{"a":"<b>&\\"}\n', b'F {"a":"<b>&\\"}\n'),
        ("grüße \u2028 €\n".encode(), "F grüße \u2028 €\n".encode()),
        (b"\x00\x01\x1b[31mred\x1b[0m\n", b"F \x00\x01\x1b[31mred\x1b[0m\n"),
        (b"\xff\xfe\n", "F \ufffd\ufffd\n".encode()),
    ],
)
def test_contents(content: bytes, expected: bytes) -> None:
    line = engine_line(content, _T, "stderr")
    assert LineEncoder().encode(line) == f"{_T} stderr ".encode() + expected


def test_a_long_line_is_split_and_its_parts_marked() -> None:
    line = engine_line(b"\xff" * MAX_CONTENT_BYTES + b"\n", _T)
    encoded = LineEncoder().encode(line).splitlines()
    tags = [part.split(b" ", 3)[2] for part in encoded]
    contents = [part.split(b" ", 3)[3] for part in encoded]
    assert tags == [b"P", b"P", b"F"]
    assert all(len(content) <= MAX_CONTENT_BYTES for content in contents)
    assert b"".join(contents) == "\ufffd".encode() * MAX_CONTENT_BYTES


@pytest.mark.parametrize("beyond", [-40, -1, 0, 1, MAX_CONTENT_BYTES])
@pytest.mark.parametrize("letter", ["x", "é", '"'])
def test_around_the_limit(beyond: int, letter: str) -> None:
    size = MAX_CONTENT_BYTES + beyond
    lines = [engine_line((letter * (size // len(letter.encode()))).encode() + b"\n", _T)] * 3
    assert LineEncoder().encode(b"".join(lines)) == plainly(lines)


def test_a_torn_line_is_left_out() -> None:
    good = engine_line(b"one\n", _T)
    encoder = LineEncoder()
    assert encoder.encode(good + b'{"log":"to\n' + good) == plainly([good, good])


def test_what_follows_a_torn_beginning_or_zeros_is_kept() -> None:
    good = engine_line(b"one\n", _T)
    encoder = LineEncoder()
    assert encoder.encode(b'{"log":"to' + good + b"\x00" * 5000 + good) == plainly([good, good])


def test_a_message_without_content_keeps_its_time() -> None:
    line = f'{{"stream":"stdout","time":"{_T}"}}\n'.encode()
    good = engine_line(b"one\n", _T)
    assert LineEncoder().encode(good + line + good) == plainly(
        [good]
    ) + f"{_T} stdout P \n".encode() + plainly([good])
