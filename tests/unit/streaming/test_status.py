"""The error stream, and the resize stream."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.streaming.status import ExitStatus, decode_status, encode_status
from asupervisor.streaming.terminal import MAX_OBJECT_BYTES, SizeDecoder, encode_size


@pytest.mark.parametrize("version", [4, 5])
def test_status_is_json_from_v4_on(version: int) -> None:
    assert json.loads(encode_status(ExitStatus(), version)) == {"metadata": {}, "status": "Success"}
    failure = json.loads(encode_status(ExitStatus(3), version))
    assert (failure["status"], failure["reason"]) == ("Failure", "NonZeroExitCode")
    assert failure["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    internal = json.loads(encode_status(ExitStatus(None, "it broke"), version))
    assert (internal["reason"], internal["code"]) == ("InternalError", 500)
    assert "it broke" in internal["message"]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_status_is_text_before_v4_and_nothing_on_success(version: int) -> None:
    assert encode_status(ExitStatus(), version) == b""
    assert b"3" in encode_status(ExitStatus(3), version)
    assert b"it broke" in encode_status(ExitStatus(None, "it broke"), version)


@pytest.mark.parametrize("status", [ExitStatus(), ExitStatus(1), ExitStatus(137)])
def test_exit_codes_survive(status: ExitStatus) -> None:
    assert decode_status(encode_status(status, 5), 5) == status


def test_statuses_of_other_servers_are_read() -> None:
    # As Go's metav1.Status comes out of cri-dockerd and containerd.
    go = (
        b'{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code:'
        b' exit status 7",'
        + b'"reason":"NonZeroExitCode",'
        + b'"details":{"causes":[{"reason":"ExitCode","message":"7"}]}}\n'
    )
    assert decode_status(go, 4) == ExitStatus(7)
    assert decode_status(b"executable not found", 2) == ExitStatus(None, "executable not found")
    assert decode_status(b"", 2) == ExitStatus()


NO_STATUS = st.recursive(st.none() | st.text(max_size=5) | st.integers(), st.lists).map(
    lambda one: json.dumps(one).encode()
)


@given(st.binary(max_size=60) | NO_STATUS)
def test_nonsense_is_no_success(raw: bytes) -> None:
    assert decode_status(raw, 4).exit_code is None


def test_sizes_come_in_pieces_and_in_rows() -> None:
    text = encode_size(80, 24) + encode_size(100, 30) + b'{"Width":120,"Height":40}'
    expected = [(80, 24), (100, 30), (120, 40)]
    assert SizeDecoder().feed(text) == expected
    decoder = SizeDecoder()
    assert [size for byte in text for size in decoder.feed(bytes((byte,)))] == expected


@pytest.mark.parametrize(
    "text",
    [
        b'{"Width":0,"Height":24}',
        b'{"Width":80,"Height":-1}',
        b'{"Width":80}',
        b'{"Width":"80","Height":24}',
        b"[]",
        b"{}",
        b"{]}",
    ],
)
def test_what_is_no_size_is_left_out(text: bytes) -> None:
    decoder = SizeDecoder()
    assert decoder.feed(text) == []
    assert decoder.feed(b"}" + encode_size(80, 24)) == [(80, 24)]


def test_an_object_without_end_is_not_kept() -> None:
    decoder = SizeDecoder()
    for _ in range(10):
        assert decoder.feed(b'{"Width":[[[[[[[[[[' + b"[" * MAX_OBJECT_BYTES) == []
    assert len(decoder._text) <= MAX_OBJECT_BYTES
    assert decoder.feed(b"}" + encode_size(80, 24)) == [(80, 24)]
