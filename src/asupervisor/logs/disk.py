"""How the pump works on log files: in a thread that does one thing at a time. If it hangs, the pump
goes on with another one.

The rule: the pump waits for what its thread does, so that two threads never work on one log. Work
that takes longer than half a second is left to its thread; the pump goes on with a new thread, and
starts nothing more on that mount until the first one returns. So a dead file server costs half a
second and one thread for each mount, and does not delay logs on other mounts. On a local file
system, which needs no other machine, work is done at once, without the thread."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
_MOMENT_S = 0.5
"""Seconds. The longest turn takes some ten milliseconds, on a disk that answers."""


class _Job:
    """Work for the thread, and what is called afterwards."""

    def __init__(
        self, mount: str, work: Callable[[], Any], then: Callable[[Any, Exception | None], None]
    ) -> None:
        self.mount = mount
        self.work = work
        self.then = then
        self.result: Any = None
        self.error: Exception | None = None
        self.lock = threading.Lock()
        self.done = self.late = False

    def work_off(self) -> None:
        """Do it. Any error is caught: what is wrong with one log must not stop the others."""
        try:
            self.result = self.work()
        except Exception as error:
            self.error = error


class Disk:
    """Runs what may hang.

    Args:
        hung: called in the pump's loop with the mount, when work on it hangs.

    Attributes:
        fd: readable when :meth:`take_back` has something to do.
    """

    def __init__(self, hung: Callable[[str], None]) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._hung = hung
        self._late: set[str] = set()
        self._waiting: dict[str, dict[Hashable, Callable[[], None]]] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._begin()

    def hangs(self, mount: str) -> bool:
        """Whether work on that mount hangs and has not returned."""
        return mount in self._late

    def when_back(self, mount: str, key: Hashable, call: Callable[[], None]) -> None:
        """Call something once that mount no longer hangs; for each key only the last call
        counts.
        """
        self._waiting.setdefault(mount, {})[key] = call

    def run(
        self, mount: str, work: Callable[[], T], then: Callable[[T, Exception | None], None]
    ) -> None:
        """Do something on a mount that does not hang.

        Args:
            mount: what it touches; empty where that is local.
            work: called in the thread.
            then: called in the pump's loop with the result, or with None and the error; before this
                returns, or, where the work hangs, by :meth:`take_back`.
        """
        job = _Job(mount, work, then)
        if not mount:
            job.work_off()
            self._call()
            then(job.result, job.error)
            return
        self._jobs.put(job)
        try:
            self._done.get(timeout=_MOMENT_S)
        except queue.Empty:
            with job.lock:
                job.late = not job.done
            if job.late:
                self._late.add(mount)
                self._begin()
                self._hung(mount)
                return
            self._done.get()
        self._call()
        then(job.result, job.error)

    def tell(self, call: Callable[[], None]) -> None:
        """From the thread: have something called in the pump's loop."""
        self._calls.append(call)
        os.eventfd_write(self.fd, 1)

    def take_back(self) -> None:
        """In the pump's loop: go on with what has returned."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return
        self._call()

    def close(self) -> None:
        """End the thread; one that hangs is left."""
        self._jobs.put(None)
        self._thread.join()
        if not self._late:
            os.close(self.fd)

    def _begin(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._serve, args=(self._jobs, self._done), name="log files", daemon=True
        )
        self._thread.start()

    def _serve(self, jobs: queue.SimpleQueue[_Job | None], done: queue.SimpleQueue[None]) -> None:
        while (job := jobs.get()) is not None:
            job.work_off()
            with job.lock:
                job.done = True
            if job.late:
                self.tell(lambda job=job: self._returned(job))  # type: ignore[misc]
                return
            done.put(None)

    def _returned(self, job: _Job) -> None:
        self._late.discard(job.mount)
        job.then(job.result, job.error)
        for key, call in list(self._waiting.pop(job.mount, {}).items()):
            if self.hangs(job.mount):
                self.when_back(job.mount, key, call)
            else:
                call()

    def _call(self) -> None:
        while self._calls:
            self._calls.popleft()()
