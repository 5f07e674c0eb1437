"""What the service's log makes of the words of a dockerd of its own."""

from __future__ import annotations

import logging

import anyio
import pytest

from asupervisor.engine.daemon_log import log_output, read_line

TIME = 'time="2026-01-02T03:04:05.6Z" '


@pytest.mark.parametrize(
    ("line", "level", "message"),
    [
        ('level=info msg="API listen on /x"', logging.DEBUG, "API listen on /x"),
        ("level=warning msg=no error=e", logging.WARNING, "no (error=e)"),
        (
            'level=error msg="100% \\"bad\\"" id=1 b="x y"',
            logging.ERROR,
            '100% "bad" (id=1 b="x y")',
        ),
        ('level=fatal msg="a\\x00b"', logging.CRITICAL, "a\\x00b"),
        ('level=error msg="a\\nINFO b"', logging.ERROR, "a\nINFO b"),
        ('level=strange msg="x"', logging.WARNING, "x"),
        (
            'level=warning msg="cleaning up after shim disconnected" id=1',
            logging.DEBUG,
            "cleaning up after shim disconnected (id=1)",
        ),
        ('level=error msg="cleanup warnings"', logging.ERROR, "cleanup warnings"),
        (
            'level=error msg="Handler for POST /v1.41/images/create returned error: no such host"',
            logging.DEBUG,
            "Handler for POST /v1.41/images/create returned error: no such host",
        ),
        (
            'level=warning msg="Error getting v2 registry: no such host"',
            logging.DEBUG,
            "Error getting v2 registry: no such host",
        ),
    ],
)
def test_lines_keep_their_level_and_lose_their_time(line: str, level: int, message: str) -> None:
    assert read_line(TIME + line) == (level, message)


def test_what_is_no_line_of_its_log_is_a_warning() -> None:
    assert read_line("panic: runtime error") == (logging.WARNING, "panic: runtime error")
    assert read_line("  ") == (logging.WARNING, "")


async def said(*chunks: bytes) -> list[tuple[int, str]]:
    records: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keeper()
    logger = logging.getLogger("asupervisor.engine.dockerd")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    send, receive = anyio.create_memory_object_stream[bytes](len(chunks))
    try:
        for chunk in chunks:
            await send.send(chunk)
        send.close()
        await log_output(receive)
    finally:
        receive.close()
        logger.removeHandler(handler)
        logger.setLevel(before)
    return [(record.levelno, record.getMessage()) for record in records]


async def test_a_line_is_one_however_it_comes_in() -> None:
    whole = (TIME + 'level=error msg="it is bad"\n\n').encode()
    expected = [(logging.ERROR, "dockerd: it is bad")]
    assert await said(whole) == expected
    assert await said(*(bytes((byte,)) for byte in whole)) == expected
    assert await said(whole.rstrip()) == expected, "the last one need not end"


async def test_of_an_endless_line_the_beginning_is_told_once() -> None:
    flood = b"x" * 60000
    told = await said(flood, flood, flood + b"\nnext\n", b"y" * 20000)
    assert [(level, len(message) - len("dockerd: ")) for level, message in told] == [
        (logging.WARNING, 16384),
        (logging.WARNING, 4),
        (logging.WARNING, 16384),
    ]
