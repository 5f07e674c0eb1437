"""Long lists in several messages, as the Stream* calls answer them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

from asupervisor.dockershim.shim import Shim

Entries = Callable[[Shim, Any], Awaitable[list[bytes]]]
"""Takes a request, and gives the encoded elements of its answer, each as field 1."""

BATCH_BYTES = 1 << 20
"""Bytes after which a message is sent and the next one begun: far fewer than a message may have,
and enough to make few messages.
"""


def batches(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Join encoded elements to messages of about :data:`BATCH_BYTES`; nothing at all for an empty
    list.

    Args:
        entries: each an encoded field 1, which is the repeated field of every Stream* response.
    """
    waiting: list[bytes] = []
    size = 0
    for entry in entries:
        if size and size + len(entry) > BATCH_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(entry)
        size += len(entry)
    if waiting:
        yield b"".join(waiting)


def streamed(entries: Entries) -> Callable[[Shim, Any], AsyncIterator[bytes]]:
    """The verb of a Stream* call: what ``entries`` gives, in several messages."""

    async def stream(shim: Shim, request: Any) -> AsyncIterator[bytes]:
        for batch in batches(await entries(shim, request)):
            yield batch

    return stream
