"""The log pump: one process that moves every container's log, and nothing else.

It takes commands as JSON lines on its standard input and answers on its standard output; it ends when its input ends.
Containers take turns of :data:`TURN_BYTES`, so that one that floods its log delays another by one turn at most, and the
commands by none. One pump works in a state directory at a time: the next one waits for the lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import heapq
import itertools
import json
import os
import select
import signal
import stat
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from asupervisor.logs.follower import FileFollower, LogFollower
from asupervisor.logs.position import boot_id
from asupervisor.logs.stream import StreamFollower
from asupervisor.logs.watch import DirectoryWatch

TURN_BYTES = 256 * 1024
"""How much of a source one turn moves: some milliseconds of work."""

_COALESCE_S = 0.01
_SAFETY_POLL_S = 2.0
_FAST_POLL_S = 0.1
_RETRY_S = 1.0
_FIGURES_S = 1.0
_LAST_DRAIN_S = 1.0
_STATE_FILES = ("position", "done")
_REPLY_BUFFER_BYTES = 1 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 << 20


class Entry:
    """One followed container, and when it is looked at next."""

    def __init__(self, container: str, follower: LogFollower, directory: str) -> None:
        self.container = container
        self.follower = follower
        self.directory = directory
        self.finishing: list[int] = []
        self.queued = False
        self.timed = False
        self.broken = False
        self.reported: tuple[int, ...] = ()


class Pump:
    """The process's loop.

    Args:
        state_directory: for the durable positions and the lock.
        commands: descriptor that commands come from.
        replies: descriptor that replies and events go to.
    """

    def __init__(self, state_directory: str, commands: int, replies: int) -> None:
        self._state_directory = state_directory
        self._commands = commands
        self._replies = replies
        self._input = b""
        self._output = bytearray()
        self._entries: dict[str, Entry] = {}
        self._fresh: deque[Entry] = deque()
        self._bulk: deque[Entry] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ended = False
        self._wanted: dict[str, dict[str, Any]] = {}
        self._links: set[str] = set()
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "follow": self._follow,
            "reopen": self._reopen,
            "finish": self._finish,
            "forget": self._forget,
            "retain": self._retain,
        }

    def run(self) -> None:
        """Serve until the commands end."""
        os.makedirs(self._state_directory, mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(self._state_directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self._boot = boot_id()
        os.set_blocking(self._commands, False)
        os.set_blocking(self._replies, False)
        self._epoll = select.epoll()
        self._epoll.register(self._commands, select.EPOLLIN)
        self._watch = self._make_watch()
        self._send({"event": "ready"})
        self._after(_FIGURES_S, self._figures)
        self._after(self._poll_interval(), self._poll)
        while not self._ended:
            self._wait()
            # All that may have a little, then one of those that have more than a turn: neither can starve the other.
            for _ in range(len(self._fresh)):
                self._turn(self._fresh.popleft())
            if self._bulk:
                self._turn(self._bulk.popleft())
        self._drain()

    def _drain(self) -> None:
        """Write what is there already, as far as a moment goes: whoever is next begins where this one stopped anyway."""
        end = time.monotonic() + _LAST_DRAIN_S
        busy = [entry for entry in self._entries.values() if not entry.broken]
        while busy and time.monotonic() < end:
            for entry in busy:
                with contextlib.suppress(OSError):
                    entry.follower.turn(TURN_BYTES)
            busy = [entry for entry in busy if not entry.follower.drained]
        for entry in self._entries.values():
            entry.follower.close()

    def _make_watch(self) -> DirectoryWatch | None:
        try:
            watch = DirectoryWatch()
        except OSError as error:
            self._send({"event": "warning", "container": "", "message": f"no inotify ({error}); polling instead"})
            return None
        self._epoll.register(watch.fd, select.EPOLLIN)
        return watch

    def _poll_interval(self) -> float:
        return _FAST_POLL_S if self._watch is None else _SAFETY_POLL_S

    def _wait(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        timeout = 0.0 if self._fresh or self._bulk else max(0.0, self._timers[0][0] - now) if self._timers else -1
        for fd, _events in self._epoll.poll(timeout):
            if fd == self._commands:
                self._receive()
            elif fd == self._replies:
                self._flush()
            elif self._watch is not None and fd == self._watch.fd:
                changed = self._watch.changed()
                for entry in self._entries.values():
                    if entry.directory in changed:
                        self._wake(entry)
            else:
                for entry in self._entries.values():
                    if isinstance(entry.follower, StreamFollower) and entry.follower.fd == fd:
                        self._wake(entry)

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), call))

    def _wake(self, entry: Entry) -> None:
        """Look at a container soon, before those that are known to have much."""
        if not entry.queued and not entry.broken:
            entry.queued = True
            self._fresh.append(entry)

    def _turn(self, entry: Entry) -> None:
        entry.queued = False
        if self._entries.get(entry.container) is not entry or entry.broken:
            return
        try:
            moved = entry.follower.turn(TURN_BYTES)
        except OSError as error:
            self._break(entry, error)
            return
        if not entry.follower.drained:
            if moved < TURN_BYTES // 2:
                # Nearly at the end: let the writer gather some lines before the next look.
                self._look_again(entry)
            else:
                entry.queued = True
                self._bulk.append(entry)
            return
        if entry.finishing and entry.follower.complete:
            self._finished(entry)
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
            if self._entries.get(entry.container) is entry:
                self._wake(entry)

        self._after(0 if entry.finishing else delay_s, look)

    def _break(self, entry: Entry, error: OSError) -> None:
        """The target takes no more (a full disk): others go on, this one is tried again."""
        if not entry.broken:
            self._warn(entry.container, f"cannot write the log: {error}; trying again")
        entry.broken = True

        def mend() -> None:
            if self._entries.get(entry.container) is not entry:
                return
            try:
                entry.follower.recover()
            except OSError:
                self._after(_RETRY_S, mend)
                return
            entry.broken = False
            self._wake(entry)

        self._after(_RETRY_S, mend)

    def _poll(self) -> None:
        for entry in self._entries.values():
            if not entry.queued and not entry.timed and not entry.broken and entry.follower.ready():
                self._wake(entry)
        self._after(self._poll_interval(), self._poll)

    def _tend_stream(self, entry: Entry, follower: StreamFollower) -> None:
        if follower.complete:
            return
        if follower.fd < 0:
            self._look_again(entry, _RETRY_S)
        else:
            # Edge-triggered: a turn reads until nothing is left, and the descriptor stays registered meanwhile.
            with contextlib.suppress(FileExistsError):
                self._epoll.register(follower.fd, select.EPOLLIN | select.EPOLLET)

    # Commands.

    def _receive(self) -> None:
        try:
            data = os.read(self._commands, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._ended = True
            return
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            self._handlers[command["op"]](command)

    def _path(self, container: str, kind: str) -> str:
        return os.path.join(self._state_directory, f"{container}.{kind}")

    def _follow(self, command: dict[str, Any]) -> None:
        container = command["container"]
        if not command["running"] and os.path.exists(self._path(container, "done")):
            return
        if command["running"]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(container, "done"))
        if container in self._entries or container in self._links:
            return
        self._wanted[container] = command
        try:
            if self._is_link(command):
                self._links.add(container)
                return
            entry = self._entries[container] = self._entry(command)
        except OSError as error:
            self._warn(container, f"cannot write the log: {error}; trying again")
            self._after(_RETRY_S, partial(self._follow_again, command))
            return
        self._wake(entry)

    def _follow_again(self, command: dict[str, Any]) -> None:
        if self._wanted.get(command["container"]) is command:
            self._follow(command)

    def _is_link(self, command: dict[str, Any]) -> bool:
        """Whether the log is the old symbolic link: one that is there stays, whoever made it; the ``docker`` format makes one.

        Raises:
            OSError: it cannot be looked at or made.
        """
        target, source = command["target"], command["source"]
        try:
            return stat.S_ISLNK(os.lstat(target).st_mode)
        except FileNotFoundError:
            # A container whose log was written here stays so under the other format.
            if command["format"] != "docker" or not source or os.path.exists(self._path(command["container"], "position")):
                return False
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        os.symlink(source, target)
        return True

    def _entry(self, command: dict[str, Any]) -> Entry:
        container, target, source = command["container"], command["target"], command["source"]

        def warn(message: str) -> None:
            self._warn(container, message)

        def unreadable(message: str) -> None:
            self._send({"event": "unreadable", "container": container, "message": message})

        # The engine may keep its files where this process cannot see them (another host, another mount namespace).
        if source and (os.path.isdir(os.path.dirname(source)) or not command["endpoint"]):
            follower = FileFollower(source, target, self._path(container, "position"), self._boot, warn)
            return Entry(container, follower, os.path.dirname(source))
        return Entry(container, StreamFollower(command["endpoint"], container, target, warn, unreadable, tty=command["tty"]), "")

    def _reopen(self, command: dict[str, Any]) -> None:
        request, container = command["id"], command["container"]
        entry = self._entries.get(container)
        if entry is None:
            why = (
                "its log is the engine's own file, which the engine rotates" if container in self._links else "its log is not being written"
            )
            self._send({"id": request, "error": why})
            return
        try:
            # What the container wrote before the rotation belongs to the old file, as far as one turn goes.
            if not entry.broken:
                entry.follower.turn(4 * TURN_BYTES)
        except OSError as error:
            self._break(entry, error)
        try:
            entry.follower.reopen()
        except OSError as error:
            self._send({"id": request, "error": f"the new log file cannot be opened: {error}"})
            return
        self._wake(entry)
        self._send({"id": request})

    def _finish(self, command: dict[str, Any]) -> None:
        entry = self._entries.get(command["container"])
        if entry is None:
            self._send({"id": command["id"]})
            return
        entry.finishing.append(command["id"])
        self._wake(entry)

    def _finished(self, entry: Entry) -> None:
        """All that the container has written is in its log: nothing is to be opened for it again, not after a restart either."""
        os.close(os.open(self._path(entry.container, "done"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._close(entry)

    def _forget(self, command: dict[str, Any]) -> None:
        container = command["container"]
        self._wanted.pop(container, None)
        self._links.discard(container)
        if (entry := self._entries.get(container)) is not None:
            self._close(entry)
        for kind in _STATE_FILES:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(container, kind))

    def _retain(self, command: dict[str, Any]) -> None:
        """Forget every container but those named: what was removed while nobody looked."""
        named = set(command["containers"])
        for name in os.listdir(self._state_directory):
            container, _, kind = name.rpartition(".")
            if kind in _STATE_FILES and container not in named:
                self._forget({"container": container})

    def _close(self, entry: Entry) -> None:
        del self._entries[entry.container]
        self._wanted.pop(entry.container, None)
        if entry.queued:
            (self._fresh if entry in self._fresh else self._bulk).remove(entry)
            entry.queued = False
        self._report([entry])
        entry.follower.close()
        for request in entry.finishing:
            self._send({"id": request})

    # Replies and events.

    def _warn(self, container: str, message: str) -> None:
        self._send({"event": "warning", "container": container, "message": message})

    def _figures(self) -> None:
        self._report(list(self._entries.values()))
        self._after(_FIGURES_S, self._figures)

    def _report(self, entries: list[Entry]) -> None:
        changed = {}
        for entry in entries:
            follower = entry.follower
            figures = (follower.read_bytes, follower.written_bytes, follower.lag(), follower.malformed)
            if figures != entry.reported:
                changed[entry.container] = entry.reported = figures
        if changed:
            self._send({"event": "figures", "containers": changed})

    def _send(self, message: dict[str, Any]) -> None:
        if "event" in message and len(self._output) > _REPLY_BUFFER_BYTES:
            # Nobody reads: news grows old, answers do not.
            return
        self._output += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        try:
            while self._output:
                del self._output[: os.write(self._replies, self._output)]
        except BlockingIOError:
            with contextlib.suppress(FileExistsError):
                self._epoll.register(self._replies, select.EPOLLOUT)
            return
        except BrokenPipeError:
            self._ended = True
        with contextlib.suppress(FileNotFoundError, ValueError):
            self._epoll.unregister(self._replies)


def _keep_memory() -> None:
    """Let the allocator keep what a turn frees for the next one: to fault it in again would take a third of the time."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(option, _KEPT_BYTES)


def main() -> None:
    """``python -m asupervisor.logs.pump <state directory>``."""
    # The service ends the pump by closing its input; a signal to the whole group must not cut it off before the service.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(5)
    _keep_memory()
    try:
        Pump(sys.argv[1], 0, 1).run()
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise


if __name__ == "__main__":
    main()
