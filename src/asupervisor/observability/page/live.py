"""The live page of a node. While a client has it open, a picture of the node is made for all
clients, at most every two seconds."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio
import anyio.to_thread
import orjson

from asupervisor.observability.page.html import Html
from asupervisor.observability.page.render import page, sections
from asupervisor.observability.page.view import Finding, Totals, View

_logger = logging.getLogger(__name__)
_REMEMBERED = 150
"""Pictures whose figures are kept for the charts."""
_REST = 20
"""The pause after a picture is at least so many times as long as its making took."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """The sections, and each as a server-sent event."""

    parts: dict[str, Html]
    messages: dict[str, bytes]


class LivePage:
    """Makes the pictures, and sends them to those that watch.

    Args:
        look: gives the node as it is now; called on the event loop, so it must be quick.
        examine: runs doctor.
        every_s: seconds from one picture to the next, at least.
        examine_every_s: seconds from one run of doctor to the next, while the page is open.
        most_watchers: how many clients may watch at once.
    """

    def __init__(
        self,
        look: Callable[[], View],
        examine: Callable[[], Awaitable[Sequence[Finding]]],
        *,
        every_s: float = 2.0,
        examine_every_s: float = 60.0,
        most_watchers: int = 16,
    ) -> None:
        self._look = look
        self._examine = examine
        self._every_s = every_s
        self._examine_every_s = examine_every_s
        self._most_watchers = most_watchers
        self._watchers = 0
        self._turn = anyio.Lock()
        self._asked = anyio.Event()
        self._findings: Sequence[Finding] | None = None
        self._history: deque[Totals] = deque(maxlen=_REMEMBERED)
        self._node = ""
        self._picture = _Picture({}, {})
        self._rests_until = 0.0

    @property
    def is_full(self) -> bool:
        """Whether as many clients watch as may."""
        return self._watchers >= self._most_watchers

    async def run(self) -> None:
        """Run doctor while the page is open, until cancelled."""
        while True:
            await self._asked.wait()
            try:
                self._findings = tuple(await self._examine())
            except Exception as error:  # an error here must not end the service
                _logger.warning("the node could not be examined for the status page: %s", error)
                self._findings = (Finding("doctor", "error", str(error), "see the log"),)
            self._rests_until = 0.0
            await anyio.sleep(self._examine_every_s)
            self._asked = anyio.Event()

    async def document(self) -> bytes:
        """The whole page, at most as old as the time between two pictures."""
        picture = await self._now()
        return page(self._node, picture.parts)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events: each section at first, then those that changed. If none did, a
        comment is sent, which shows whether the client is still there. The caller checks
        :attr:`is_full`.
        """
        self._watchers += 1
        try:
            seen: dict[str, bytes] = {}
            while True:
                messages = (await self._now()).messages
                changed = (one for name, one in messages.items() if seen.get(name) != one)
                yield b"".join(changed) or b":\n\n"
                seen = messages
                await anyio.sleep(self._every_s)
        finally:
            self._watchers -= 1

    async def _now(self) -> _Picture:
        async with self._turn:
            self._asked.set()
            began = time.monotonic()
            if began < self._rests_until:
                return self._picture
            view = self._look()
            if self._history and began - self._history[-1].at > 10 * self._every_s:
                self._history.clear()  # it was not open for a while
            self._history.append(view.totals)
            self._node = view.node
            self._picture = await anyio.to_thread.run_sync(
                _make, view, tuple(self._history), self._findings
            )
            now = time.monotonic()
            # Clients come a little early or late. A pause that is a little shorter gives each of
            # them a new picture.
            self._rests_until = now + max(0.9 * self._every_s, _REST * (now - began))
            return self._picture


def _make(view: View, history: Sequence[Totals], findings: Sequence[Finding] | None) -> _Picture:
    parts = sections(view, history, findings)
    return _Picture(parts, {name: _message(name, html) for name, html in parts.items()})


def _message(name: str, html: Html) -> bytes:
    return b"event: section\ndata: " + orjson.dumps({"name": name, "html": str(html)}) + b"\n\n"
