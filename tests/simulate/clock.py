"""An event loop on a virtual clock: it never waits, time jumps to the next timer.

Everything that the service takes from outside of its loop (clocks, random bytes, threads, the
disk's syncs) is put in its place by :func:`substitutes`, so that a run hangs on its seed alone."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import os
import random
import selectors
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context, ContextVar
from types import SimpleNamespace
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel
import anyio.to_thread

EPOCH_S = 1_800_000_000.0
"""The wall clock at the start of a run."""


class Life:
    """One life of a process: whatever it does in the loop ends at once when it is killed, without a
    ``finally``.

    Args:
        name: of the process.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.context = Context()
        self.context.run(LIFE.set, self)
        self.kept: list[Any] = []
        """What a dead process would have run next: kept, since what is collected is closed."""

    @property
    def running(self) -> list[str]:
        """Names of its tasks that have not ended."""
        return [task.get_name() for task in self.tasks if not task.done()]


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


def _dead(context: Any) -> Life | None:
    life = context.get(LIFE)
    return life if life is not None and life.dead else None


class _Handle(asyncio.Handle):
    def _run(self) -> None:
        life = _dead(self._context)  # type: ignore[attr-defined]
        life.kept.append(self) if life else super()._run()


class _Timer(asyncio.TimerHandle):
    def _run(self) -> None:
        life = _dead(self._context)  # type: ignore[attr-defined]
        life.kept.append(self) if life else super()._run()


class _Task(asyncio.Task):  # type: ignore[type-arg]
    """Sets of tasks must have the same order in every run."""

    numbers = itertools.count()

    def __init__(self, *args: Any, **options: Any) -> None:
        self.number = next(_Task.numbers)
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self.number


class _NeverWaits(selectors.BaseSelector):
    def __init__(self) -> None:
        self.loop: Loop | None = None
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        descriptor = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, descriptor, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Any:
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[fileobj]

    def select(self, timeout: float | None = None) -> list[Any]:
        assert self.loop is not None
        if timeout is None:
            raise AssertionError("nothing will ever happen again")
        if timeout > 0:
            self.loop.jump()
        return []


class Loop(asyncio.SelectorEventLoop):
    """The event loop of one run."""

    def __init__(self) -> None:
        self.now = 1000.0
        selector = _NeverWaits()
        super().__init__(selector)
        selector.loop = self
        self.set_task_factory(self._task)

    def time(self) -> float:
        """Seconds of virtual time."""
        return self.now

    def jump(self) -> None:
        """Go on to the next timer."""
        self.now = max(self.now, self._scheduled[0]._when)  # type: ignore[attr-defined]

    def _write_to_self(self) -> None:
        return

    def _call_soon(self, callback: Any, args: Any, context: Any) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    @staticmethod
    def _task(loop: Any, coroutine: Any, context: Any = None) -> Any:
        task = _Task(coroutine, loop=loop, context=context)
        life = LIFE.get() if context is None else context.get(LIFE)
        if life is not None:
            life.tasks.append(task)
        return task


class Threads:
    """What runs in threads runs in the loop, after a delay that is drawn.

    Args:
        random: draws.
        slow: how often such a hop takes seconds.
        full: how often the disk refuses a write.
    """

    def __init__(self, random: random.Random, slow: float, full: float) -> None:
        self._random = random
        self.slow = slow
        self.full = full

    def delay(self) -> float:
        """Seconds that one hop takes."""
        if self._random.random() < self.slow:
            return self._random.uniform(0.5, 8.0)
        return self._random.uniform(0.0001, 0.003)

    async def run_sync(
        self,
        work: Callable[..., Any],
        *arguments: Any,
        abandon_on_cancel: bool = False,
        limiter: anyio.CapacityLimiter | None = None,
    ) -> Any:
        """In the place of ``anyio.to_thread.run_sync``."""
        await anyio.lowlevel.checkpoint()
        async with limiter or anyio.to_thread.current_default_thread_limiter():
            with anyio.CancelScope(shield=not abandon_on_cancel):
                await anyio.sleep(self.delay())
            return work(*arguments)

    def thread(self, target: Callable[[], None], **_: Any) -> Any:
        """In the place of ``threading.Thread``."""
        loop = asyncio.get_running_loop()
        return SimpleNamespace(start=lambda: loop.call_later(self.delay(), target))

    def fsync(self, descriptor: int) -> None:
        """In the place of ``os.fsync``: a full disk is told of here at the latest."""
        if self._random.random() < self.full:
            raise OSError(28, "No space left on device")


@contextmanager
def substitutes(loop: Loop, rng: random.Random, threads: Threads) -> Iterator[None]:
    """Put the loop's clock, the seed's randomness and no threads in the place of the real ones."""
    import aiohttp.connector
    from anyio._backends import _asyncio as backend

    _Task.numbers, numbers = itertools.count(), itertools.count()

    class Scope(backend.CancelScope):
        """By its address a set of scopes has another order in each run."""

        def __init__(self, deadline: float = math.inf, shield: bool = False) -> None:
            super().__init__(deadline, shield)
            self.number = next(numbers)

        def __hash__(self) -> int:
            return self.number

    with ExitStack() as stack:

        def put(target: Any, name: str, value: Any) -> None:
            stack.enter_context(mock.patch.object(target, name, value))

        put(time, "monotonic", loop.time)
        put(time, "perf_counter", loop.time)
        put(time, "time", lambda: EPOCH_S + loop.now)
        put(time, "time_ns", lambda: int((EPOCH_S + loop.now) * 1e9))
        put(aiohttp.connector, "monotonic", loop.time)
        put(os, "urandom", rng.randbytes)
        put(random, "_urandom", rng.randbytes)  # what secrets draws from
        put(os, "fsync", threads.fsync)
        put(anyio.to_thread, "run_sync", threads.run_sync)
        put(backend, "CancelScope", Scope)
        # Their values hold their keys, a task or a loop, as long as a task has not ended: those of
        # a killed service never end.
        put(backend, "_task_states", WeakKeyDictionary())
        put(anyio.lowlevel, "_run_vars", WeakKeyDictionary())
        import asupervisor.host.lanes as lanes

        put(lanes, "threading", SimpleNamespace(**{**vars(threading), "Thread": threads.thread}))
        yield
