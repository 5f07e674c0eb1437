"""The log pump: one process that only writes the logs of all containers.

It takes commands as JSON lines on its standard input and answers on its standard output; it ends
when its input ends. Containers take turns (``schedule.py``), so that a container that writes a lot
delays another by one turn at most, and delays no command. One pump works in a state directory at a
time: the next one waits for the lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from asupervisor.host.beneath import UnsafePath
from asupervisor.host.mounts import Mounts
from asupervisor.logs.follower import FileFollower
from asupervisor.logs.limits import allow_descriptors, keep_memory
from asupervisor.logs.position import PositionFile, boot_id
from asupervisor.logs.schedule import TURN_BYTES, Entry, Schedule, not_answering
from asupervisor.logs.stream import StreamFollower
from asupervisor.logs.target import hold_log_directory

_RETRY_S = 1.0
_FIGURES_S = 1.0
_LAST_DRAIN_S = 1.0
_SAME_WARNING_S = 60.0
_STATE_FILES = ("position", "done")
_REPLY_BUFFER_BYTES = 1 << 20


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
        self._warned: dict[tuple[str, str], float] = {}
        self._ended = False
        self._wanted: dict[str, dict[str, Any]] = {}
        self._links: set[str] = set()
        self._opening: set[str] = set()
        self._mounts = Mounts()
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
        path = os.path.join(self._state_directory, "lock")
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self._boot = boot_id()
        os.set_blocking(self._commands, False)
        os.set_blocking(self._replies, False)
        self._schedule = Schedule(self._warn, self._finished)
        self._schedule.register(self._commands)
        self._send({"event": "ready"})
        self._schedule.start()
        self._schedule.after(_FIGURES_S, self._figures)
        while not self._ended:
            for fd in self._schedule.wait():
                if fd == self._commands:
                    self._receive()
                elif fd == self._replies:
                    self._flush()
            self._schedule.run()
        # The next pump begins where this one stops.
        self._schedule.drain(_LAST_DRAIN_S)
        self._schedule.close()

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
            self._go_on(container)
        if container in self._links | self._opening | self._schedule.entries.keys():
            return
        self._wanted[container] = command
        mount, disk = self._mounts.that_may_hang(command["target"]), self._schedule.disk
        if not disk.hangs(mount):
            self._opening.add(container)
            disk.run(mount, partial(self._open, command, mount), partial(self._opened, command))
        if disk.hangs(mount):
            self._warn(container, f"cannot write the log: {not_answering(mount)}")
            if container not in self._opening:
                again = partial(self._follow_again, command)
                disk.when_back(mount, ("follow", container), again)

    def _go_on(self, container: str) -> None:
        """It was started again before its log was finished: answer those that wait for its end."""
        self._answer(self._wanted.get(container, {}).pop("finishing", []))
        if (entry := self._schedule.entries.get(container)) is not None:
            self._answer(entry.finishing)
            entry.finishing = []

    def _open(self, command: dict[str, Any], mount: str) -> Entry | None:
        return None if self._is_link(command) else self._entry(command, mount)

    def _opened(
        self, command: dict[str, Any], entry: Entry | None, error: Exception | None
    ) -> None:
        container = command["container"]
        self._opening.discard(container)
        if self._wanted.get(container) is not command:
            # It was forgotten while its directory hung.
            if entry is not None:
                self._schedule.disk.run(entry.mount, entry.follower.close, lambda _, error: None)
            self._drop_state(container)
        elif error is not None:
            # An error of one log must not stop the others.
            self._warn(
                container, f"cannot write the log: {error or type(error).__name__}; trying again"
            )
            self._schedule.after(_RETRY_S, partial(self._follow_again, command))
        elif entry is None:
            self._links.add(container)
            self._answer(command.pop("finishing", []))
        else:
            entry.finishing = command.pop("finishing", [])
            self._schedule.add(entry)

    def _follow_again(self, command: dict[str, Any]) -> None:
        if self._wanted.get(command["container"]) is command:
            self._follow(command)

    def _is_link(self, command: dict[str, Any]) -> bool:
        """Whether the log is a link to the engine's file, as dockershim made it. A link that is
        there stays; the ``docker`` format makes one.

        Raises:
            OSError: it cannot be looked at or made, or leads somewhere else.
        """
        target, source = command["target"], command["source"]
        try:
            directory, name = hold_log_directory(target)
        except FileNotFoundError:
            directory, name = hold_log_directory(target, make=True)
        with directory:
            status = directory.status(name)
            if status is not None:
                if not stat.S_ISLNK(status.st_mode):
                    return False
                if source and directory.link_target(name) == source:
                    return True
                raise UnsafePath(target, "a symbolic link that does not lead to the engine's log")
            # A log that was written here is still written here under the other format.
            if (
                command["format"] != "docker"
                or not source
                or os.path.exists(self._path(command["container"], "position"))
            ):
                return False
            directory.make_link(name, source)
            return True

    def _entry(self, command: dict[str, Any], mount: str) -> Entry:
        container, target, source = command["container"], command["target"], command["source"]
        tell = self._schedule.disk.tell  # these are called in its thread

        def warn(message: str) -> None:
            tell(partial(self._warn, container, message))

        def unreadable(message: str) -> None:
            news = {"event": "unreadable", "container": container, "message": message}
            tell(partial(self._send, news))

        # The engine may keep its files where this process cannot see them (another host, another
        # mount namespace).
        if source and (os.path.isdir(os.path.dirname(source)) or not command["endpoint"]):
            follower = FileFollower(
                source, target, self._path(container, "position"), self._boot, warn
            )
            return Entry(container, follower, os.path.dirname(source), mount)
        return Entry(
            container,
            StreamFollower(
                command["endpoint"],
                container,
                target,
                PositionFile(self._path(container, "position"), self._boot),
                unreadable,
                tty=command["tty"],
            ),
            "",
            mount,
        )

    def _reopen(self, command: dict[str, Any]) -> None:
        request, container = command["id"], command["container"]
        entry = self._schedule.entries.get(container)
        if entry is None:
            why = (
                "its log is the engine's own file, which the engine rotates"
                if container in self._links
                else "its log is not being written"
            )
            self._send({"id": request, "error": why})
            return
        if self._schedule.disk.hangs(entry.mount):
            again = partial(self._reopen, command)
            self._schedule.disk.when_back(entry.mount, ("reopen", container), again)
            return

        def reopen() -> tuple[OSError | None, OSError | None]:
            failure = None
            try:
                # What the container wrote before the rotation belongs to the old file, as far as
                # one turn goes.
                if not entry.broken:
                    entry.follower.turn(4 * TURN_BYTES)
            except OSError as error:
                failure = error
            try:
                entry.follower.reopen()
            except OSError as error:
                return failure, error
            return failure, None

        def reopened(failures: tuple[OSError | None, OSError | None] | None, error: Any) -> None:
            failure, refusal = failures or (None, error)
            if failure is not None:
                self._schedule.break_off(entry, failure)
            if refusal is not None:
                why = f"the new log file cannot be opened: {refusal}"
                self._send({"id": request, "error": why})
                return
            self._schedule.wake(entry)
            self._send({"id": request})

        self._schedule.disk.run(entry.mount, reopen, reopened)

    def _finish(self, command: dict[str, Any]) -> None:
        entry = self._schedule.entries.get(command["container"])
        if entry is None:
            wanted = self._wanted.get(command["container"])
            if wanted is not None and command["container"] not in self._links:
                # Its log is not open yet, so it is not known whether it is complete.
                wanted.setdefault("finishing", []).append(command["id"])
            else:
                self._send({"id": command["id"]})
            return
        entry.finishing.append(command["id"])
        self._schedule.wake(entry)

    def _finished(self, entry: Entry) -> None:
        """All that the container has written is in its log: nothing is opened for it again."""
        if not entry.forgotten:
            Path(self._path(entry.container, "done")).touch(mode=0o600)
        self._close(entry)

    def _forget(self, command: dict[str, Any]) -> None:
        container = command["container"]
        self._answer(self._wanted.pop(container, {}).pop("finishing", []))
        self._links.discard(container)
        if (entry := self._schedule.entries.get(container)) is not None:
            entry.forgotten = True
            if self._schedule.disk.hangs(entry.mount):
                self._schedule.wake(entry)
            elif entry.broken or not entry.follower.lag():
                self._close(entry)
            else:
                # The files that are still open here have lines that were not written yet.
                self._schedule.wake(entry)
        self._drop_state(container)

    def _drop_state(self, container: str) -> None:
        for kind in _STATE_FILES:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(container, kind))

    def _retain(self, command: dict[str, Any]) -> None:
        """Forget every container but those named: what was removed while no pump ran."""
        named = set(command["containers"])
        for name in os.listdir(self._state_directory):
            container, _, kind = name.rpartition(".")
            if kind in _STATE_FILES and container not in named:
                self._forget({"container": container})

    def _close(self, entry: Entry) -> None:
        self._schedule.remove(entry)
        self._wanted.pop(entry.container, None)
        self._report([entry])
        self._answer(entry.finishing)
        self._schedule.disk.run(entry.mount, entry.follower.close, lambda _, error: None)

    # Replies and events.

    def _warn(self, container: str, message: str) -> None:
        """Warn the operator, but not of the same thing again and again."""
        now = time.monotonic()
        self._warned = {key: at for key, at in self._warned.items() if now - at < _SAME_WARNING_S}
        if self._warned.setdefault((container, message), now) != now:
            return
        self._send({"event": "warning", "container": container, "message": message})

    def _figures(self) -> None:
        self._report(list(self._schedule.entries.values()))
        self._schedule.after(_FIGURES_S, self._figures)

    def _answer(self, requests: list[int]) -> None:
        for request in requests:
            self._send({"id": request})

    def _report(self, entries: list[Entry]) -> None:
        changed = {}
        for entry in entries:
            if self._schedule.disk.hangs(entry.mount):
                continue
            log = entry.follower
            figures = (log.written_bytes, log.lag())
            if figures != entry.reported:
                changed[entry.container] = entry.reported = figures
        if changed:
            self._send({"event": "figures", "containers": changed})

    def _send(self, message: dict[str, Any]) -> None:
        if "event" in message and len(self._output) > _REPLY_BUFFER_BYTES:
            # The service does not read. Events lose their value, answers do not.
            return
        self._output += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        try:
            while self._output:
                del self._output[: os.write(self._replies, self._output)]
        except BlockingIOError:
            self._schedule.register(self._replies, select.EPOLLOUT)
            return
        except BrokenPipeError:
            self._ended = True
        self._schedule.unregister(self._replies)


def main() -> None:
    """``python -m asupervisor.logs.pump <state directory>``."""
    # The service ends the pump by closing its input; a signal to the whole group must not cut it
    # off before the service.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(5)
    allow_descriptors()
    keep_memory()
    try:
        Pump(sys.argv[1], 0, 1).run()
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise


if __name__ == "__main__":
    main()
