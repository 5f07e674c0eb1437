"""Threads for what may hang: a path on a dead file server, a device, a volume of a tenant.

Each kind of work has a lane of its own, with a number of threads and a deadline, so that it takes
no thread from another kind. A thread that hangs in the kernel cannot be ended: it keeps its place
in the lane until it returns. Its caller gets an error after the deadline; meanwhile a further call
for the same path fails at once. The threads are daemons, so that a hung one does not keep the
process from ending."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

import anyio

from asupervisor.errors import DeadlineExceeded, ResourceExhausted, Unavailable

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Lane:
    """One kind of work that may hang.

    Args:
        name: what is done there, for errors and the threads' names: ``look at host paths``.
        width: how many may be at work at once, each in a thread.
        deadline_s: seconds after which a caller no longer waits.
    """

    def __init__(self, name: str, *, width: int, deadline_s: float) -> None:
        self._name = name
        self._width = width
        self._deadline_s = deadline_s
        self._limiter: anyio.CapacityLimiter | None = None
        self._late: Counter[str] = Counter()

    @property
    def hanging(self) -> list[str]:
        """Paths whose callers gave up while their threads still hang."""
        return sorted(self._late)

    async def run(self, path: str, work: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        """Do something that may hang, in a thread of this lane.

        Args:
            path: what it is done to, for errors.
            work: called in the thread; its result is returned, its error is raised.
            arguments: of it.

        Raises:
            DeadlineExceeded: it hangs, or an earlier call for the same path still does.
            Unavailable: all threads of the lane hang.
            ResourceExhausted: the system gives no further thread.
        """
        if path in self._late:
            raise self._hangs(path)
        limiter = self._limiter = self._limiter or anyio.CapacityLimiter(self._width)
        place = object()
        deadline = anyio.current_time() + self._deadline_s
        with anyio.move_on_at(deadline) as scope:
            await limiter.acquire_on_behalf_of(place)
        if scope.cancelled_caught:
            raise Unavailable(
                f"{path}: cannot {self._name} now: {self._width} others are at it and hang"
                f" ({', '.join(self.hanging[:3])}); is a file server down?",
                subject=path,
            )
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        ended = given_up = False

        def finish(result: T | None, error: BaseException | None) -> None:
            nonlocal ended
            ended = True
            limiter.release_on_behalf_of(place)
            if given_up:
                self._late -= Counter((path,))
            elif error is not None and not outcome.cancelled():
                outcome.set_exception(error)
            elif not outcome.cancelled():
                outcome.set_result(result)  # type: ignore[arg-type]

        def thread() -> None:
            result = error = None
            try:
                result = work(*arguments)
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the loop may be gone when a hung one comes back
                loop.call_soon_threadsafe(finish, result, error)

        self._begin(path, thread, place)
        try:
            with anyio.move_on_at(deadline):
                return await outcome
            raise self._hangs(path)
        finally:
            if not ended:
                given_up = True
                self._late[path] += 1

    def _begin(self, path: str, thread: Callable[[], None], place: object) -> None:
        try:
            threading.Thread(target=thread, name=f"asupervisor {self._name}", daemon=True).start()
        except RuntimeError as error:  # the process, or the machine, may have no more threads
            assert self._limiter is not None
            self._limiter.release_on_behalf_of(place)
            words = f"{path}: cannot {self._name}: {error}"
            raise ResourceExhausted(words, subject=path) from error

    def _hangs(self, path: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{path}: cannot {self._name}: it did not answer within {self._deadline_s:g} s; is the"
            " file system that it is on hung?",
            subject=path,
        )
