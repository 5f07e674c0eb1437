"""How long a hostile client holds the event loop: ``python -m benchmarks.turns``.

A streaming server in this process, and for each flood one client that sends 64 KiB of it at once.
What is measured is the longest time between two turns of a task that does nothing else than to ask
for the next one, in CPU time of the loop's thread, so that other work on the machine does not
count."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import struct
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread

from asupervisor.config import StreamingConfig
from asupervisor.streaming import spdy
from asupervisor.streaming.backend import Output
from asupervisor.streaming.dial import upgrade
from asupervisor.streaming.requests import AttachRequest, ExecRequest, PortForwardRequest
from asupervisor.streaming.server import StreamingService
from asupervisor.streaming.spdy import frames
from asupervisor.streaming.spdy.headers import HeaderEncoder

FLOOD_BYTES = 64 * 1024


class _Sink:
    """A process that takes everything and says nothing."""

    async def receive(self) -> tuple[Output, bytes]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def resize(self, width: int, height: int) -> None:
        await anyio.lowlevel.checkpoint()

    async def wait(self) -> int:
        return 0

    async def kill(self) -> None:
        await anyio.lowlevel.checkpoint()


class _Backend:
    @contextlib.asynccontextmanager
    async def exec(self, request: ExecRequest) -> AsyncIterator[_Sink]:
        yield _Sink()

    @contextlib.asynccontextmanager
    async def attach(self, request: AttachRequest) -> AsyncIterator[_Sink]:
        yield _Sink()

    async def port_forward(self, pod_sandbox_id: str, port: int) -> anyio.abc.ByteStream:
        return await anyio.connect_tcp("127.0.0.1", port)


@dataclass
class Flood:
    """One kind of 64 KiB.

    Args:
        name: for the table.
        websocket: over which transport.
        protocol: the one that is asked for.
        make: gives the bytes.
        port_forward: whether the session is one; else it is a command with a terminal.
    """

    name: str
    websocket: bool
    protocol: str
    make: Callable[[], bytes]
    port_forward: bool = False


def _masked(opcode: int, payload: bytes, fin: bool = True) -> bytes:
    return bytes(((0x80 if fin else 0) | opcode, 0x80 | len(payload))) + bytes(4) + payload


def _filled(piece: bytes) -> bytes:
    return piece * (FLOOD_BYTES // len(piece))


def _command_streams(encoder: HeaderEncoder) -> bytes:
    return b"".join(
        frames.syn_stream(2 * index + 1, encoder.encode({"streamtype": kind}), 0)
        for index, kind in enumerate(("error", "stdin", "stdout", "resize"))
    )


def _spdy(piece: bytes) -> Callable[[], bytes]:
    return lambda: _command_streams(HeaderEncoder()) + _filled(piece)


def _headers(value_bytes: int) -> Callable[[], bytes]:
    def make() -> bytes:
        encoder = HeaderEncoder()
        wire = b""
        stream = 1
        while len(wire) < FLOOD_BYTES:
            headers = {"streamtype": "data", "port": "1", "x": "a" * value_bytes}
            wire += frames.syn_stream(stream, encoder.encode(headers), 0)
            stream += 2
        return wire

    return make


def _settings_of_many_streams() -> bytes:
    encoder = HeaderEncoder()
    wire = b"".join(
        frames.syn_stream(2 * index + 1, encoder.encode({}), 0) for index in range(1024)
    )
    return wire + _filled(frames.settings(65536) + frames.settings(65537))


def _resizes() -> bytes:
    size = b'{"Width":80,"Height":24}'
    return _masked(2, b"\x04" + size * 5) * (FLOOD_BYTES // (7 + 5 * len(size)))


def _one_message(payload: bytes) -> bytes:
    head = bytes((0x82, 0x80 | 127)) + struct.pack(">Q", len(payload))
    return head + bytes(4) + payload


V4, FORWARD = "v4.channel.k8s.io", "portforward.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
FLOODS = [
    Flood("SPDY, one frame", False, V4, _spdy(frames.data_head(3, 65528, False) + bytes(65528))),
    Flood("SPDY, data of one byte", False, V4, _spdy(frames.data_head(3, 1, False) + b"x")),
    Flood("SPDY, empty data", False, V4, _spdy(frames.data_head(3, 0, False))),
    Flood("SPDY, pings", False, V4, _spdy(frames.ping(1))),
    Flood("SPDY, window updates", False, V4, _spdy(frames.window_update(0, 1))),
    Flood("SPDY, settings and 1024 streams", False, FORWARD, _settings_of_many_streams, True),
    Flood("SPDY, unknown frames", False, V4, _spdy(bytes.fromhex("800300ff00000000"))),
    Flood(
        "SPDY, resets of no stream", False, V4, _spdy(frames.rst_stream(99, spdy.ResetCode.CANCEL))
    ),
    Flood("SPDY, short SYN_STREAMs", False, FORWARD, _headers(1), True),
    Flood("SPDY, SYN_STREAMs of 30 KiB, deflated", False, FORWARD, _headers(30_000), True),
    Flood("WebSocket, one message", True, V4, lambda: _one_message(bytes(65000))),
    Flood("WebSocket, empty messages", True, V4, lambda: _filled(_masked(2, b""))),
    Flood("WebSocket, messages of one byte", True, V4, lambda: _filled(_masked(2, b"\0x"))),
    Flood(
        "WebSocket, fragments",
        True,
        V4,
        lambda: _masked(2, b"\0", False) + _filled(_masked(0, b"x", False)),
    ),
    Flood("WebSocket, pings", True, V4, lambda: _filled(_masked(9, b""))),
    Flood("WebSocket, sizes", True, V4, _resizes),
    Flood(
        "WebSocket, base64 of one byte",
        True,
        "base64.channel.k8s.io",
        lambda: _filled(_masked(1, b"0eA==")),
    ),
    Flood("tunnel, pieces of one byte", True, TUNNEL, lambda: _filled(_masked(2, b"\0")), True),
]


class LongestTurn:
    """Of the event loop, while :meth:`watch` runs.

    Attributes:
        seconds: CPU time of the loop's thread.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    async def watch(self) -> None:
        """Ask for one turn after the other, until cancelled."""
        last = time.thread_time()
        while True:
            await anyio.lowlevel.checkpoint()
            now = time.thread_time()
            self.seconds, last = max(self.seconds, now - last), now


async def longest_turn_s(service: StreamingService, flood: Flood) -> float:
    """Send the flood. Returns the longest time without a turn for others, in seconds."""
    url = (
        service.url(PortForwardRequest(pod_sandbox_id="p", ports=(1,)))
        if flood.port_forward
        else service.url(
            ExecRequest(container_id="c", command=("x",), stdin=True, tty=True, stderr=False)
        )
    )
    wire = flood.make()
    gc.collect()
    gc.freeze()  # as the service does: what is measured is not the collector at work on our imports
    upgraded = await upgrade(url, [flood.protocol], websocket=flood.websocket)
    sock = upgraded.stream.extra(anyio.abc.SocketAttribute.raw_socket)
    longest = LongestTurn()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(longest.watch)
        # From a thread: what the client does is not the server's time.
        with contextlib.suppress(anyio.BrokenResourceError, OSError):
            await anyio.to_thread.run_sync(_push, sock.fileno(), wire)
        with anyio.move_on_after(0.5), contextlib.suppress(Exception):
            while True:
                await upgraded.stream.receive()
        tasks.cancel_scope.cancel()
    await anyio.aclose_forcefully(upgraded.stream)
    with anyio.move_on_after(10):
        while service.handler.active:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    return longest.seconds


def _push(descriptor: int, wire: bytes) -> None:

    view = memoryview(wire)
    deadline = time.monotonic() + 5
    while view and time.monotonic() < deadline:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            time.sleep(0.001)
        except OSError:
            return


async def run(rounds: int) -> None:
    """Print the table."""
    service = StreamingService(StreamingConfig(), _Backend())
    async with anyio.create_task_group() as tasks:
        await tasks.start(service.run)
        print(f"{'64 KiB at once':42} {'longest turn, ms (CPU)':>24}")
        for flood in FLOODS:
            longest = [await longest_turn_s(service, flood) for _ in range(rounds)]
            print(
                f"{flood.name:42} {1000 * min(longest):12.1f} to {1000 * max(longest):.1f}",
                flush=True,
            )
        tasks.cancel_scope.cancel()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turns", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each flood (3)")
    options = parser.parse_args()
    anyio.run(run, options.rounds, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
