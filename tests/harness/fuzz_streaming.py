"""Broken and hostile clients for the streaming server, made from a seed: ``python -m
tests.harness.fuzz_streaming --seconds 600``.

Every case is one connection. Whatever it sends, the server has to answer or close it, stay within
its memory, leave no session behind, log no failure of its own, and serve the next honest client.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.abc

from asupervisor.config import StreamingConfig
from asupervisor.streaming import spdy
from asupervisor.streaming.requests import ExecRequest, PortForwardRequest, Request
from asupervisor.streaming.server import StreamingService
from asupervisor.streaming.settings import Settings
from asupervisor.streaming.spdy import frames
from asupervisor.streaming.spdy.headers import HeaderEncoder
from asupervisor.streaming.tokens import TokenCache
from tests.harness.client import run_command
from tests.harness.streaming import LocalBackend

SETTINGS = Settings(
    head_timeout_s=1.0,
    creation_timeout_s=0.3,
    idle_timeout_s=1.0,
    farewell_timeout_s=0.3,
    spdy=spdy.Limits(streams=64, stream_window=64 * 1024, session_window=256 * 1024),
    buffer_bytes=64 * 1024,
)
GROWTH_BYTES = 48 << 20
"""What the process may grow by after its first hundred cases: far above noise, far below what an
unbounded peer reaches.
"""
RECORDED = Path(__file__).parents[1] / "data" / "streaming"


@dataclass
class Report:
    """What came of it."""

    cases: int = 0
    sent_bytes: int = 0
    grown_bytes: int = 0
    seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)


class _Failures(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


def _mutate(chance: random.Random, text: bytes) -> bytes:
    wire = bytearray(text)
    for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
        if not wire:
            break
        at = chance.randrange(len(wire))
        match chance.randrange(5):
            case 0:
                wire[at] = chance.randrange(256)
            case 1:
                wire[at] ^= 1 << chance.randrange(8)
            case 2:
                del wire[at : at + chance.randrange(1, 9)]
            case 3:
                wire[at:at] = chance.randbytes(chance.randrange(1, 9))
            case _:
                wire[at:at] = wire[at : at + chance.randrange(1, 64)]
    return bytes(wire)


def _honest_spdy(chance: random.Random) -> bytes:
    connection = spdy.Connection(spdy.Role.CLIENT)
    if chance.random() < 0.5:
        connection.send_settings()
    kinds = chance.choice(
        (
            ("error", "stdin", "stdout", "stderr"),
            ("error", "data"),
            ("error", "stdin", "stdout", "stderr", "resize"),
        )
    )
    for kind in kinds:
        stream = connection.open_stream(
            {"streamtype": kind, "port": "80", "requestid": str(chance.randrange(3))}
        )
        for _ in range(chance.randrange(3)):
            connection.send_data(stream, chance.randbytes(chance.randrange(200)))
        if chance.random() < 0.4:
            connection.send_data(stream, b"", fin=True)
    if chance.random() < 0.3:
        connection.goaway()
    return connection.data_to_send()


def _wild_spdy(chance: random.Random) -> bytes:
    encoder = HeaderEncoder()
    out: list[bytes] = []
    for _ in range(chance.randrange(1, 60)):
        stream = chance.choice((0, 1, 1, 3, 5, 7, 9, 2, 0x7FFFFFFF, chance.randrange(1 << 31)))
        match chance.randrange(10):
            case 0 | 1:
                headers = {
                    chance.choice(("streamtype", "port", "x", "")): chance.choice(
                        ("error", "stdin", "data", "80", "x" * 500)
                    )
                }
                out.append(frames.syn_stream(stream, encoder.encode(headers), chance.randrange(4)))
            case 2:
                data = chance.randbytes(chance.choice((0, 1, 100, 5000, 70000)))
                out.append(frames.data_head(stream or 1, len(data), chance.random() < 0.2) + data)
            case 3:
                out.append(frames.rst_stream(stream, chance.choice(list(spdy.ResetCode))))
            case 4:
                out.append(frames.settings(chance.choice((0, 1, 65536, 0x7FFFFFFF, 0xFFFFFFFF))))
            case 5:
                out.append(frames.ping(chance.randrange(1 << 32)) * chance.choice((1, 1, 5000)))
            case 6:
                out.append(frames.window_update(stream, chance.choice((0, 1, 65536, 0x7FFFFFFF))))
            case 7:
                out.append(
                    frames.headers(
                        stream,
                        encoder.encode({"a": "b" * chance.randrange(2000)}),
                        chance.random() < 0.2,
                    )
                )
            case 8:
                out.append(frames.syn_reply(stream, encoder.encode({})))
            case _:
                out.append(
                    struct.pack(">II", chance.randrange(1 << 32), chance.randrange(1 << 32))
                    + chance.randbytes(chance.randrange(40))
                )
    return b"".join(out)


def _frame(
    chance: random.Random, payload: bytes, opcode: int | None = None, *, masked: bool = True
) -> bytes:
    head = bytes(
        (
            chance.choice((0x80, 0x80, 0x80, 0x00, 0xF0))
            | (opcode if opcode is not None else chance.randrange(16)),
        )
    )
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes((bit | len(payload),))
    elif len(payload) < 65536:
        head += bytes((bit | 126,)) + struct.pack(">H", len(payload))
    else:
        head += bytes((bit | 127,)) + struct.pack(">Q", len(payload))
    if not masked:
        return head + payload
    key = chance.randbytes(4)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def _websocket(chance: random.Random, tunnel: bool) -> bytes:
    out: list[bytes] = []
    for _ in range(chance.randrange(1, 25)):
        if tunnel and chance.random() < 0.7:
            payload = (
                _mutate(chance, _honest_spdy(chance))
                if chance.random() < 0.7
                else _wild_spdy(chance)[:5000]
            )
            out.append(_frame(chance, payload, 2))
            continue
        payload = bytes(
            (chance.choice((0, 1, 2, 3, 4, 255, chance.randrange(256))),)
        ) + chance.randbytes(chance.choice((0, 1, 30, 3000)))
        opcode = chance.choice((2, 2, 2, 2, 1, 8, 9, 10, 0, chance.randrange(16)))
        out.append(
            _frame(
                chance,
                payload[:125] if opcode >= 8 else payload,
                opcode,
                masked=chance.random() < 0.95,
            )
        )
    return b"".join(out)


def _head(chance: random.Random, url: str, websocket: bool, protocol: str) -> bytes:
    path = "/" + url.split("/", 3)[3]
    if websocket:
        lines = [
            f"GET {path} HTTP/1.1",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
        ]
        lines += [f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []
    else:
        lines = [
            f"POST {path} HTTP/1.1",
            "Upgrade: SPDY/3.1",
            f"X-Stream-Protocol-Version: {protocol}",
        ]
    head = "\r\n".join([lines[0], "Host: fuzz", "Connection: Upgrade", *lines[1:], "", ""]).encode()
    return _mutate(chance, head) if chance.random() < 0.15 else head


def case(chance: random.Random, url_of: Callable[[Request], str]) -> tuple[str, bytes, bytes]:
    """One connection: what it is, its head, and what comes behind it."""
    command = ExecRequest(container_id="c", command=("cat",), stdin=True)
    forward = PortForwardRequest(pod_sandbox_id="p", ports=(1, 2))
    recorded = [
        b"".join(
            bytes.fromhex(line)
            for line in file.read_text().splitlines()
            if not line.startswith("#")
        )
        for file in sorted(RECORDED.glob("client-*.txt"))
    ]
    match chance.randrange(6):
        case 0:
            request: Request = chance.choice((command, forward))
            protocol = "v4.channel.k8s.io" if request is command else "portforward.k8s.io"
            return (
                "spdy, mutated",
                _head(chance, url_of(request), False, protocol),
                _mutate(chance, _honest_spdy(chance)),
            )
        case 1:
            request = chance.choice((command, forward))
            protocol = "v5.channel.k8s.io" if request is command else "portforward.k8s.io"
            return "spdy, wild", _head(chance, url_of(request), False, protocol), _wild_spdy(chance)
        case 2:
            name = chance.choice(
                (
                    "v5.channel.k8s.io",
                    "v4.channel.k8s.io",
                    "v4.base64.channel.k8s.io",
                    "channel.k8s.io",
                    "",
                )
            )
            return "channels", _head(chance, url_of(command), True, name), _websocket(chance, False)
        case 3:
            return (
                "tunnel",
                _head(chance, url_of(forward), True, "SPDY/3.1+portforward.k8s.io"),
                _websocket(chance, True),
            )
        case 4:
            name = chance.choice(("v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""))
            return (
                "port channels",
                _head(chance, url_of(forward), True, name),
                _websocket(chance, False),
            )
        case _:
            return (
                "recorded, mutated",
                _head(chance, url_of(forward), False, "portforward.k8s.io"),
                _mutate(chance, chance.choice(recorded)),
            )


async def _one(chance: random.Random, service: StreamingService, report: Report) -> None:
    kind, head, body = case(chance, lambda request: service.url(request))
    host, port = service.base_url.removeprefix("http://").rsplit(":", 1)
    answer = b""
    with anyio.fail_after(30):
        stream = await anyio.connect_tcp(host, int(port))
        try:
            with suppress(anyio.BrokenResourceError):
                wire = head + body
                while wire:
                    step = chance.choice((len(wire), len(wire), 1, 7, 100, 5000))
                    await stream.send(wire[:step])
                    report.sent_bytes += min(step, len(wire))
                    wire = wire[step:] if chance.random() < 0.98 else b""
            if chance.random() < 0.7:  # the others break off without a word
                with suppress(anyio.BrokenResourceError, OSError, RuntimeError):
                    await stream.send_eof()
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    while True:
                        answer = (answer + await stream.receive())[:12]
        finally:
            await anyio.aclose_forcefully(stream)
    report.cases += 1
    report.answers[f"{kind}: {answer[9:12].decode(errors='replace') or 'broken off'}"] += 1


async def fuzz(seconds: float, seed: int, concurrency: int = 20) -> Report:
    """Run cases for a while.

    Raises:
        AssertionError: the server did what it must not.
    """
    report, backend, failures = Report(), LocalBackend(), _Failures()
    logging.getLogger("asupervisor").addHandler(failures)
    chance = random.Random(seed)
    started = time.monotonic()
    baseline = 0
    # Many cases never get as far as their URL; those that wait for nobody must not fill the place
    # up on a fast machine.
    service = StreamingService(
        StreamingConfig(),
        backend,
        settings=SETTINGS,
        tokens=TokenCache(lifetime_s=30.0, capacity=1_000_000),
    )
    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(service.run)
            while time.monotonic() < started + seconds:
                async with anyio.create_task_group() as batch:
                    for _ in range(concurrency):
                        batch.start_soon(
                            _one, random.Random(chance.randrange(1 << 62)), service, report
                        )
                with anyio.fail_after(30):
                    while service.handler.active:  # noqa: ASYNC110
                        await anyio.sleep(0.01)
                assert not failures.texts, failures.texts[0]
                if report.cases % (20 * concurrency) == 0:
                    url = service.url(ExecRequest(container_id="c", command=("cat",), stdin=True))
                    assert (await run_command(url, given=b"honest")).stdout == b"honest"
                if not baseline and report.cases >= 100:
                    baseline = _resident()
                report.grown_bytes = (
                    max(report.grown_bytes, _resident() - baseline) if baseline else 0
                )
                assert report.grown_bytes < GROWTH_BYTES, f"grown by {report.grown_bytes} bytes"
                backend.processes.clear()
            tasks.cancel_scope.cancel()
    finally:
        logging.getLogger("asupervisor").removeHandler(failures)
    report.seconds = time.monotonic() - started
    return report


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report = anyio.run(fuzz, options.seconds, options.seed, backend_options={"use_uvloop": True})
    print(
        f"{report.cases} connections, {report.sent_bytes} bytes in {report.seconds:.0f} s; grown by"
        f" {report.grown_bytes >> 10} KiB"
    )
    for answer, count in sorted(report.answers.items()):
        print(f"  {count:7} {answer}")


if __name__ == "__main__":
    main()
