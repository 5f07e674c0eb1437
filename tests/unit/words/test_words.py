"""What other people's words may do to a line, a status and a notification."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.log import JsonFormatter, TextFormatter
from asupervisor.supervisor.notify import Notifier
from asupervisor.words import bounded_line, one_line

EVIL = (
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
    "\u2028",
    "\u2029",
    "\u200b",
    "\u200e",
    "\ufeff",
    "\xad",
    "\u180e",
    "\u3164",
    "\ufe0f",
    "\ufffa",
    "\U0001d173",
    "\U000e0041",
    "\ud800",
    "\udfff",
)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("asupervisor.x", logging.INFO, "x.py", 1, message, (), None)
    made.__dict__.update(fields)
    return made


@pytest.mark.parametrize("evil", EVIL, ids=lambda one: f"{ord(one):04x}")
def test_no_character_ends_a_line_or_steers_a_terminal(evil: str) -> None:
    text = TextFormatter().format(record(f"a{evil}b", pod=f"c{evil}d"))
    assert evil not in text and len(text.splitlines()) == 1
    assert text.encode()
    document = JsonFormatter().format(record(f"a{evil}b", pod=f"c{evil}d"))
    assert evil not in document and len(document.splitlines()) == 1
    assert json.loads(document)["message"] == f"a{evil}b"


def test_words_of_every_language_stay() -> None:
    words = "größer, 大きい, أكبر, больше — “quoted” 100 % \\n"
    assert one_line(words) == words


def test_a_field_cannot_bring_another_one_with_it() -> None:
    line = TextFormatter().format(record("x", pod='a" code="OK', image="b=c"))
    assert line.endswith(r' pod="a\" code=\"OK" image="b=c"')


def test_the_words_of_an_error_do_not_look_like_a_line_of_the_log() -> None:
    try:
        raise ValueError("evil\n2026-01-01T00:00:00.000Z INFO all is well\x9b2J")
    except ValueError as error:
        line = record("it failed")
        line.exc_info = (ValueError, error, error.__traceback__)
    lines = TextFormatter().format(line).splitlines()
    assert all(one.startswith("  ") for one in lines[1:])
    assert any("all is well\\x9b2J" in one for one in lines)


@given(ANY_TEXT)
def test_a_line_is_one_and_encodes(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert line.encode()[:0] == b""
    entry = JsonFormatter().format(record("x", pod=text))
    assert json.loads(entry).get("pod", "") == text


@given(ANY_TEXT, st.integers(9, 400))
def test_a_bounded_line_keeps_to_its_bound_on_the_wire(text: str, limit: int) -> None:
    line = bounded_line(text, limit)
    wire = sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in line.encode())
    assert wire <= limit
    assert line == one_line(text) or line.endswith("…")


def test_what_fits_is_not_cut() -> None:
    assert bounded_line("x" * 4096, 4096) == "x" * 4096
    assert bounded_line("x" * 4097, 4096) == "x" * 4087 + "…"


def test_systemd_is_sent_one_line_for_each_field(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        Notifier(str(tmp_path / "notify")).send(
            READY="1", STATUS="engine\nMAINPID=1\r\nWATCHDOG=trigger\x00" + "x" * 5000
        )
        lines = systemd.recv(65536).split(b"\n")
    assert lines[0] == b"READY=1" and len(lines) == 2
    assert lines[1].startswith(b"STATUS=engine\\nMAINPID=1\\r\\nWATCHDOG=trigger\\x00xxx")
    assert len(lines[1]) <= 1100, "systemd ignores what is longer than a page"


def test_orjson_refuses_what_the_formatter_repairs() -> None:
    with pytest.raises(TypeError):
        orjson.dumps("\ud800")
    assert json.loads(JsonFormatter().format(record("\ud800")))["message"] == "\ud800"
