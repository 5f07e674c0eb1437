"""The pages over HTTP: status, ``/metrics``, ``/healthz``, ``/readyz``, ``/debug/tasks``."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from asupervisor.addresses import parse_bind_address
from asupervisor.metrics import SCRAPE_CONTENT_TYPE, Metrics
from asupervisor.observability.http import Answer, HttpServer
from asupervisor.observability.page.live import LivePage
from asupervisor.observability.page.render import CONTENT_SECURITY_POLICY, asset
from asupervisor.observability.tasks import dump_tasks

_LAG_INTERVAL_S = 1.0
_SHARE = 0.1
"""Most of the time that making a page may take, however often clients ask for it."""


_GUARDS = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


async def _document(status: LivePage) -> Answer:
    return Answer(200, await status.document(), "text/html; charset=utf-8", _GUARDS)


def _stream(status: LivePage) -> Answer:
    if status.is_full:
        return Answer(503, b"too many clients watch this page; try again later\n")
    return Answer(200, b"", "text/event-stream", _GUARDS, status.stream())


_ASSETS = {
    "/page.css": "text/css; charset=utf-8",
    "/page.js": "text/javascript; charset=utf-8",
}


class _Paced:
    """A page that takes a while to make. A client, also a pod on the host's network, could ask for
    it all the time. So there is a pause after each making: requests that come meanwhile wait, and
    all get the next page that is made.

    Args:
        make: makes the page.
    """

    def __init__(self, make: Callable[[], Awaitable[Answer]]) -> None:
        self._make = make
        self._turn = anyio.Lock()
        self._began = self._rests_until = -math.inf
        self._answer = Answer(503, b"")

    async def answer(self) -> Answer:
        """The page, never older than the request."""
        asked = time.monotonic()
        async with self._turn:
            if self._began <= asked:
                await anyio.sleep(max(0.0, self._rests_until - time.monotonic()))
                began = time.monotonic()
                self._answer = await self._make()
                self._began, now = began, time.monotonic()
                self._rests_until = now + (now - began) * (1 / _SHARE - 1)
            return self._answer


class Observability:
    """The HTTP endpoint of one supervisor.

    Args:
        bind_address: ``host:port``; without a host the loopback.
        metrics: what ``/metrics`` shows.
        not_ready_reasons: gives why the service is not ready, one sentence each; empty if it is.
        figures: gives the first lines of a dump of the tasks.
        status: the page for people, at ``/``; None: there is none.

    Raises:
        ConfigError: the address is malformed.
    """

    def __init__(
        self,
        bind_address: str,
        metrics: Metrics,
        not_ready_reasons: Callable[[], list[str]],
        figures: Callable[[], Mapping[str, object]] = dict,
        status: LivePage | None = None,
    ) -> None:
        self._metrics = metrics
        self._not_ready_reasons = not_ready_reasons
        self._figures = figures
        self._slow = {"/metrics": _Paced(self._scrape), "/debug/tasks": _Paced(self._tasks)}
        self._status = status
        if status is not None:
            self._slow["/"] = _Paced(partial(_document, status))
        self._server = HttpServer(
            *parse_bind_address(bind_address, "--metrics-bind-addr"), self.answer
        )

    async def run(self, *, task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started with the URL.

        Raises:
            FailedPrecondition: the address cannot be bound.
        """
        self._metrics.tasks.follow(lambda: len(asyncio.all_tasks()))
        # The metrics library takes a while to import: do that now, in a thread, and not at the
        # first scrape on the event loop.
        await anyio.to_thread.run_sync(self._metrics.exposition, [])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_loop, name="event loop lag")
            if self._status is not None:
                tasks.start_soon(self._status.run, name="status page")
            await self._server.run(task_status=task_status)

    async def answer(self, path: str) -> Answer:
        """One page."""
        if path in self._slow:
            return await self._slow[path].answer()
        if path == "/healthz":
            return Answer(200, b"ok\n")
        if path == "/readyz":
            reasons = self._not_ready_reasons()
            text = "".join(f"not ready: {reason}\n" for reason in reasons) or "ready\n"
            return Answer(503 if reasons else 200, text.encode())
        if self._status is not None and path == "/stream":
            return _stream(self._status)
        if self._status is not None and path in _ASSETS:
            return Answer(200, asset(path.removeprefix("/")), _ASSETS[path], _GUARDS)
        return Answer(
            404, b"not found; there are /, /metrics, /healthz, /readyz and /debug/tasks\n"
        )

    async def _scrape(self) -> Answer:
        families = list(self._metrics.collect())
        return Answer(
            200,
            await anyio.to_thread.run_sync(self._metrics.exposition, families),
            SCRAPE_CONTENT_TYPE,
        )

    async def _tasks(self) -> Answer:
        return Answer(200, dump_tasks(self._figures()).encode("utf-8", "replace"))

    async def _watch_loop(self) -> None:
        """Measure how late the event loop wakes up: whatever blocks it delays every call."""
        while True:
            due = time.monotonic() + _LAG_INTERVAL_S
            await anyio.sleep(_LAG_INTERVAL_S)
            self._metrics.loop_lag_s.set(max(0.0, time.monotonic() - due))
