"""The driver of a SPDY connection, over bytes in memory."""

from __future__ import annotations

import anyio
from anyio.streams.stapled import StapledByteStream

from asupervisor.streaming import spdy
from asupervisor.streaming.spdy import frames
from asupervisor.streaming.spdy.codes import FLAG_UNIDIRECTIONAL
from asupervisor.streaming.spdy.headers import HeaderEncoder
from asupervisor.streaming.spdy_session import SpdySession


class _Pipe:
    """One direction of bytes in memory."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[bytes](100)

    async def send(self, item: bytes) -> None:
        await self._send.send(item)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._receive.receive()

    async def aclose(self) -> None:
        self._send.close()
        self._receive.close()

    @property
    def extra_attributes(self) -> dict[object, object]:
        return {}


async def test_a_unidirectional_stream_is_refused_and_the_next_is_taken() -> None:
    """No Kubernetes protocol has such streams, and they cannot be replied to."""
    up, down = _Pipe(), _Pipe()
    stream = StapledByteStream(down, up)  # type: ignore[arg-type]
    encoder = HeaderEncoder()
    await up.send(frames.syn_stream(1, encoder.encode({}), FLAG_UNIDIRECTIONAL))
    await up.send(frames.syn_stream(3, encoder.encode({}), 0))
    async with SpdySession(stream, spdy.Role.SERVER) as session:
        with anyio.fail_after(5):
            accepted = await session.accept()
            session.reply(accepted)
            assert accepted.id == 3
            answer = await down.receive()
            while len(answer) < 20:
                answer += await down.receive()
    assert answer.startswith(frames.rst_stream(1, spdy.ResetCode.REFUSED_STREAM))
    await up.aclose()
    await down.aclose()
