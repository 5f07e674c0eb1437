"""Decides which log is written next: one after the other, so that none waits for a long one."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import select
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from asupervisor.logs.disk import Disk
from asupervisor.logs.follower import FileFollower
from asupervisor.logs.stream import StreamFollower
from asupervisor.logs.watch import DirectoryWatch

TURN_BYTES = 256 * 1024
"""How much of a source one turn moves: some milliseconds of work."""

_COALESCE_S = 0.01
_SAFETY_POLL_S = 2.0
_FAST_POLL_S = 0.1
_RETRY_S = 1.0


class Entry:
    """One followed container, and when it is looked at next.

    Args:
        container: its id.
        follower: of its log.
        directory: of the engine's file; empty for a log that comes as a stream.
        mount: mount point of the log file, where that may hang; else empty.
    """

    def __init__(
        self,
        container: str,
        follower: FileFollower | StreamFollower,
        directory: str,
        mount: str = "",
    ) -> None:
        self.container = container
        self.follower = follower
        self.directory = directory
        self.mount = mount
        self.finishing: list[int] = []
        self.forgotten = False
        """Whether its container was removed; what is in open files is still written."""
        self.queued = False
        self.timed = False
        self.broken = False
        self.reported: tuple[int, ...] = ()

    @property
    def stream_fd(self) -> int:
        """The descriptor of a log that comes as a stream; -1 for one that is a file."""
        return self.follower.fd if isinstance(self.follower, StreamFollower) else -1


class Schedule:
    """The pump's containers and when each is looked at.

    Args:
        warn: told a container and a sentence.
        finished: called when the log of a container to finish or to forget is complete.

    Attributes:
        entries: by container id.
        disk: does all that touches a log file.
    """

    def __init__(self, warn: Callable[[str, str], None], finished: Callable[[Entry], None]) -> None:
        self.entries: dict[str, Entry] = {}
        self._warn = warn
        self._finished = finished
        self._fresh: deque[Entry] = deque()
        self._bulk: deque[Entry] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._epoll = select.epoll()
        self._watch: DirectoryWatch | None = None
        self.disk = Disk(self._hung)
        self.register(self.disk.fd)

    def start(self) -> None:
        """Begin to watch files."""
        self._watch = self._make_watch()
        self.after(self._poll_interval(), self._poll)

    def close(self) -> None:
        """Let go of every log, and of the descriptors."""
        for entry in self.entries.values():
            if not self.disk.hangs(entry.mount):
                self.disk.run(entry.mount, entry.follower.close, lambda _, error: None)
        self.disk.close()
        if self._watch is not None:
            self._watch.close()
        self._epoll.close()

    def register(self, fd: int, events: int = select.EPOLLIN) -> None:
        """Have :meth:`wait` give this descriptor when it is ready."""
        with contextlib.suppress(FileExistsError):
            self._epoll.register(fd, events)

    def unregister(self, fd: int) -> None:
        """Do so no longer."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            self._epoll.unregister(fd)

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call something later."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), call))

    def wait(self) -> list[int]:
        """Wait until there is something to do; the registered descriptors that are ready."""
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        ready: list[int] = []
        idle_s = max(0.0, self._timers[0][0] - now) if self._timers else -1.0
        for fd, _events in self._epoll.poll(0.0 if self._fresh or self._bulk else idle_s):
            if self._watch is not None and fd == self._watch.fd:
                changed = self._watch.changed()
                for entry in self.entries.values():
                    if entry.directory in changed:
                        self.wake(entry)
            elif fd == self.disk.fd:
                self.disk.take_back()
            elif streams := [entry for entry in self.entries.values() if entry.stream_fd == fd]:
                self.wake(streams[0])
            else:
                ready.append(fd)
        return ready

    def run(self) -> None:
        """Give a turn to each log that may have a little, then to one of those that have more than
        a turn: so neither kind has to wait for all of the other.
        """
        for _ in range(len(self._fresh)):
            self._turn(self._fresh.popleft())
        if self._bulk:
            self._turn(self._bulk.popleft())

    def add(self, entry: Entry) -> None:
        """Follow a container from now on."""
        self.entries[entry.container] = entry
        self.wake(entry)

    def wake(self, entry: Entry) -> None:
        """Give a container a turn soon, before those that are known to have much."""
        if not entry.queued and not entry.broken:
            entry.queued = True
            self._fresh.append(entry)

    def remove(self, entry: Entry) -> None:
        """Follow a container no more."""
        del self.entries[entry.container]
        if entry.queued:
            (self._fresh if entry in self._fresh else self._bulk).remove(entry)
            entry.queued = False

    def break_off(self, entry: Entry, error: Exception) -> None:
        """Its target takes no more (a full disk): others go on, this one is tried again, unless its
        container is gone.
        """
        if entry.forgotten:
            self._finished(entry)
            return
        self._warn(
            entry.container, f"cannot write the log: {error or type(error).__name__}; trying again"
        )
        entry.broken = True
        self.after(_RETRY_S, lambda: self._mend(entry))

    def _mend(self, entry: Entry) -> None:
        if self.entries.get(entry.container) is not entry:
            return
        if self.disk.hangs(entry.mount):
            self.disk.when_back(entry.mount, entry, partial(self._mend, entry))
            return

        def mended(_: None, error: Exception | None) -> None:
            if error is not None:
                self.break_off(entry, error)
                return
            entry.broken = False
            self.wake(entry)

        self.disk.run(entry.mount, entry.follower.recover, mended)

    def drain(self, seconds: float) -> None:
        """Write what is there already, for at most so many seconds."""
        end = time.monotonic() + seconds
        busy = [entry for entry in self.entries.values() if not entry.broken]
        while busy and time.monotonic() < end:
            for entry in busy:
                if not self.disk.hangs(entry.mount):
                    turn = partial(entry.follower.turn, TURN_BYTES)
                    self.disk.run(entry.mount, turn, lambda _, error: None)
            busy = [
                entry
                for entry in busy
                if not self.disk.hangs(entry.mount) and not entry.follower.drained
            ]

    def _hung(self, mount: str) -> None:
        for entry in self.entries.values():
            if entry.mount == mount:
                self._warn(entry.container, f"cannot write the log: {not_answering(mount)}")

    def _turn(self, entry: Entry) -> None:
        entry.queued = False
        if self.entries.get(entry.container) is not entry or entry.broken:
            return
        if self.disk.hangs(entry.mount):
            self.disk.when_back(entry.mount, entry, partial(self.wake, entry))
            return
        finish = bool(entry.finishing or entry.forgotten)

        def turn() -> int:
            moved = entry.follower.turn(TURN_BYTES)
            if finish and entry.follower.drained and entry.follower.complete:
                entry.follower.end()
            return moved

        self.disk.run(entry.mount, turn, partial(self._turned, entry, finish))

    def _turned(self, entry: Entry, finish: bool, moved: int, error: Exception | None) -> None:
        if error is not None:
            # An error of one log must not stop the others.
            self.break_off(entry, error)
            return
        if not entry.follower.drained:
            if moved < TURN_BYTES // 2:
                # Nearly at the end: let the writer gather some lines before the next look.
                self._look_again(entry)
            else:
                entry.queued = True
                self._bulk.append(entry)
            return
        if finish and entry.follower.complete:
            self._finished(entry)
            return
        if entry.finishing or entry.forgotten:
            # The command came while a turn hung.
            self.wake(entry)
            return
        if isinstance(entry.follower, StreamFollower):
            self._tend_stream(entry, entry.follower)
        elif self._watch is not None:
            if not self._watch.arm(entry.directory):
                self._look_again(entry, _FAST_POLL_S)
            elif entry.follower.ready():
                self._look_again(entry)

    def _look_again(self, entry: Entry, delay_s: float = _COALESCE_S) -> None:
        if entry.timed:
            return
        entry.timed = True

        def look() -> None:
            entry.timed = False
            if self.entries.get(entry.container) is entry:
                self.wake(entry)

        self.after(0 if entry.finishing else delay_s, look)

    def _tend_stream(self, entry: Entry, follower: StreamFollower) -> None:
        if follower.complete:
            return
        if follower.fd < 0:
            self._look_again(entry, _RETRY_S)
        else:
            # Edge-triggered: a turn reads until nothing is left, and the descriptor stays
            # registered meanwhile.
            self.register(follower.fd, select.EPOLLIN | select.EPOLLET)

    def _make_watch(self) -> DirectoryWatch | None:
        try:
            watch = DirectoryWatch()
        except OSError as error:
            self._warn("", f"no inotify ({error}); polling instead")
            return None
        self.register(watch.fd)
        return watch

    def _poll_interval(self) -> float:
        return _FAST_POLL_S if self._watch is None else _SAFETY_POLL_S

    def _poll(self) -> None:
        for entry in self.entries.values():
            # On a mount that hangs, the thread still has it.
            idle = not (entry.queued or entry.timed or entry.broken)
            if idle and not self.disk.hangs(entry.mount) and entry.follower.ready():
                self.wake(entry)
        self.after(self._poll_interval(), self._poll)


def not_answering(mount: str) -> str:
    """For the operator: why a log on that mount is not written."""
    return f"the file system at {mount} does not answer; it goes on when that does"
