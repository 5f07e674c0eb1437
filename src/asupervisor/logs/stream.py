"""Follows a log that the engine keeps in no json-file (``local``, ``journald``, or its cache of
``syslog``), through the engine's API.

The engine's logs API is read with times, from the last second that the CRI file holds, and lines of
that second that the file holds are left out. So an end of either side neither loses nor doubles a
line, as far as the engine's own log has it."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from asupervisor.logs.frames import HttpBody, Message, Messages
from asupervisor.logs.lines import encode_message
from asupervisor.logs.position import Position, PositionFile
from asupervisor.logs.source import time_key
from asupervisor.logs.target import Target, newest_renamed, read_end

_OVERLAP_S = 1
_TAIL_BYTES = 256 * 1024
_TIME = re.compile(rb"(?:19[7-9]\d|[2-9]\d{3})-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")


class StreamFollower:
    """One container's log through the engine's API, with the methods of
    :class:`asupervisor.logs.follower.FileFollower`. Opens its target when made, connects on its
    first turn.

    Args:
        endpoint: ``unix:///path`` or ``tcp://host:port`` of the engine.
        container: the engine's id of it.
        target: the CRI log file.
        position: records which file is ours; closed with this.
        unreadable: called with the engine's message when it says that this log cannot be read.
        tty: whether the container has one.

    Attributes:
        complete: whether the engine's answer has ended, and all of it is written.
        fd: the connection; -1 while there is none.

    Raises:
        OSError: the target cannot be opened.
    """

    def __init__(
        self,
        endpoint: str,
        container: str,
        target: str,
        position: PositionFile,
        unreadable: Callable[[str], None],
        *,
        tty: bool,
    ) -> None:
        self.written_bytes = 0
        self.drained = False
        self.complete = False
        self.fd = -1
        self._endpoint = endpoint
        self._container = container
        self._unreadable = unreadable
        self._tty = tty
        self._position = position
        try:
            self._target = self._open(target)
        except BaseException:
            position.close()
            raise
        self._socket: socket.socket | None = None
        self._body = HttpBody()
        self._messages = Messages(tty=tty)
        self._refusal = b""
        self._known: Counter[bytes] = Counter()
        self._known_until = b""

    def turn(self, limit: int) -> int:
        """Move at most ``limit`` bytes of the engine's answer; returns how many. Never waits.

        Raises:
            OSError: the target takes nothing more now.
        """
        self.drained = True
        if self.complete:
            return 0
        if urlsplit(self._endpoint).scheme not in ("unix", "tcp", "http"):
            self._unreadable(
                f"this log can only be read through the engine's API, and not over {self._endpoint}"
            )
            self.complete = True
            return 0
        try:
            if self._socket is None:
                self._connect()
            assert self._socket is not None
            data = self._socket.recv(limit)
        except BlockingIOError:
            return 0
        except OSError:
            # The engine does not answer: the pump tries again later.
            self._disconnect()
            return 0
        if not data:
            self._disconnect()
            return 0
        self.drained = False
        self._take(data)
        return len(data)

    def ready(self) -> bool:
        """Always False: the connection itself wakes the pump."""
        return False

    def reopen(self) -> None:
        """From now on write to a new file at the path.

        Raises:
            OSError: the new file cannot be opened; the old one stays in use.
        """
        target = self._open(self._target.path)
        self._target.close()
        self._target = target

    def end(self) -> None:
        """The container has ended and all is written: end its open lines. Repeatable.

        Raises:
            OSError: the target takes nothing more now.
        """
        self._target.end_lines()

    def recover(self) -> None:
        """After a failed turn: cut what it left unfinished and read from there again.

        Raises:
            OSError: it cannot be cut.
        """
        self._target.truncate(self._target.whole_lines())
        self._disconnect()

    def lag(self) -> int:
        """Unknown: the engine does not say."""
        return 0

    def close(self) -> None:
        """Let go of the connection and the file."""
        self._disconnect()
        self._target.close()
        self._position.close()

    def _open(self, path: str) -> Target:
        """The file at the path; if it is ours, without the part of a line that a kill left."""
        target, known = Target(path), self._position.load()
        if known is not None and known.target_inode == target.inode:
            target.own()
            target.truncate(target.whole_lines())
        self._position.store(Position(0, 0, 0 if target.kept else target.inode, 0, b""))
        return target

    def _connect(self) -> None:
        since = self._overlap()
        address = urlsplit(self._endpoint)
        if address.scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            self._socket.connect(address.path)
        else:
            self._socket = socket.create_connection(
                (address.hostname or "", address.port or 2375), timeout=1.0
            )
            self._socket.setblocking(False)
        query = f"follow=1&stdout=1&stderr=1&timestamps=1&since={since}"
        request = (
            f"GET /containers/{quote(self._container)}/logs?{query} HTTP/1.1\r\nHost:"
            " engine\r\n\r\n"
        )
        self._socket.sendall(request.encode())
        self.fd = self._socket.fileno()
        self._body = HttpBody()
        self._messages = Messages(tty=self._tty)
        self._refusal = b""

    def _disconnect(self) -> None:
        self.drained = True
        self.fd = -1
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _take(self, data: bytes) -> None:
        try:
            body = self._body.feed(data)
        except ValueError:
            self._disconnect()
            return
        if self._body.status >= 300:
            self._refusal += body
            if self._body.ended:
                self._unreadable(self._refusal.decode(errors="replace").strip())
                self.complete = True
                self._disconnect()
            return
        messages = self._messages.feed(body)
        if self._body.ended:
            messages += self._messages.rest()
        self._write(messages)
        if self._body.ended:
            self.complete = True
            self._disconnect()

    def _write(self, messages: list[Message]) -> None:
        pieces: list[bytes] = []
        for message in messages:
            encoded = encode_message(b"%s %s " % (message.time, message.stream), message.content)
            if self._known_until:
                if time_key(message.time) > self._known_until:
                    self._known_until = b""
                    self._known.clear()
                elif self._known[encoded] > 0:
                    self._known[encoded] -= 1
                    continue
            pieces.append(encoded)
        if pieces:
            data = b"".join(pieces)
            self._target.append(data)
            self.written_bytes += len(data)

    def _overlap(self) -> str:
        """The time to read from, for the query, and what the file holds from there on."""
        tail = self._tail()
        self._known.clear()
        self._known_until = b""
        if not tail:
            return "0"
        last = tail[-1][0]
        seconds = _unix_seconds(last) - _OVERLAP_S
        if _unix_seconds(tail[0][0]) >= seconds:
            # The tail covers less than that second. Its first time may have more lines before the
            # tail, so begin after it.
            first = next((time for time, _line in tail if time > tail[0][0]), last)
            tail = [(time, line) for time, line in tail if time >= first]
            since = f"{_unix_seconds(first)}.{first.rpartition(b'.')[2].decode()}"
        else:
            tail = [(time, line) for time, line in tail if _unix_seconds(time) >= seconds]
            since = str(seconds)
        # A message that was split is in the file as several lines with one time.
        self._known.update(line for _time, line in tail)
        self._known_until = last
        return since

    def _tail(self) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        if (former := newest_renamed(self._target.path)) is not None:
            with suppress(FileNotFoundError):
                found += _timed_lines(read_end(former, _TAIL_BYTES))
        size = self._target.size()
        found += _timed_lines(self._target.read(_TAIL_BYTES, max(0, size - _TAIL_BYTES)))
        return found


def _timed_lines(data: bytes) -> list[tuple[bytes, bytes]]:
    # Not splitlines(), which ends a line at a bare CR too. What follows the last newline was cut.
    *lines, _ = data.split(b"\n")
    return [
        (time_key(time), line + b"\n")
        for time, line in ((line.partition(b" ")[0], line) for line in lines)
        if _is_time(time)
    ]


def _is_time(word: bytes) -> bool:
    """Whether a line of the target begins as one of ours: a container may write there too, where
    its log is in a volume that it has.
    """
    if _TIME.fullmatch(word) is None:
        return False
    try:
        _unix_seconds(word)
    except ValueError:
        return False
    return True


def _unix_seconds(time: bytes) -> int:
    return int(
        datetime.strptime(time[:19].decode(), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    )
