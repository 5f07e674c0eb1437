"""One container's log: read what the engine wrote, append it in the CRI format, remember how far.

The rule of this file: what a target file holds is, from any recorded position on, a prefix of what
the source encodes to. So recovery never guesses. It goes back to the recorded position, encodes
again, and appends only what the target does not hold yet. Where the rule does not hold (the machine
crashed, a file was truncated), the target is cut after its last whole line that agrees, and the
times of lines decide where in the source to go on."""

from __future__ import annotations

from collections.abc import Callable

from asupervisor.logs.lines import LineEncoder
from asupervisor.logs.position import TAIL_BYTES, Position, PositionFile
from asupervisor.logs.source import Generation, Source, generations_after, last_time, time_key
from asupervisor.logs.target import Target, find_renamed, newest_renamed

Warn = Callable[[str], None]


class FileFollower:
    """Follows a json-file log. Opens its files when made, and finds where an earlier process
    stopped.

    Args:
        source: the engine's file; need not exist yet.
        target: the CRI log file.
        position: path of the durable position.
        boot: :func:`asupervisor.logs.position.boot_id` of this boot.
        warn: called with a sentence that says what was lost.

    Attributes:
        written_bytes: to the target, so far.
        drained: whether the last turn found nothing.

    Raises:
        OSError: the target or the position cannot be opened.
    """

    def __init__(self, source: str, target: str, position: str, boot: bytes, warn: Warn) -> None:
        self.written_bytes = 0
        self.drained = False
        self._warn = warn
        self._encoder = LineEncoder()
        self._source = Source(source)
        self._position = PositionFile(position, boot)
        self._done: tuple[int, int, bytes] = (0, 0, b"")
        """Inode, offset and tail of the source of the target's first ``_base`` bytes."""
        self._base = 0
        self._held = 0
        """Bytes of the target beyond ``_base``: from an append after the last recorded position."""
        self._trusted = True
        """Whether what is held must agree with the source: not after a crash of the machine."""
        self._switch = False
        """Whether the target is the file from before a rotation, used until nothing is held."""
        self._made_inode = 0
        self._seen_size = -1
        try:
            self._target = self._open(target)
            try:
                self._resume(self._position.load())
            except BaseException:
                self._target.close()
                raise
        except BaseException:
            self._source.close()
            self._position.close()
            raise

    @property
    def complete(self) -> bool:
        """Whether all is written that the source has so far."""
        return self.drained

    def turn(self, limit: int) -> int:
        """Move at most about ``limit`` bytes of the source; returns how many. Never waits.

        Raises:
            OSError: the target takes nothing more now; :meth:`recover` before the next turn.
        """
        self.drained = False
        while True:
            if not self._source.discover():
                self._warn(
                    "the engine has dropped files of this log that were not read yet; lines are"
                    " missing here"
                )
            generation = self._source.current
            if generation is None:
                return self._nothing(0)
            size = generation.size()
            if generation.offset > size:
                self._warn("the engine's log was truncated; reading it from its beginning")
                generation.offset = 0
            if chunk := generation.read(limit):
                return self._move(generation, chunk)
            if len(self._source.chain) == 1:
                return self._nothing(size)
            # Its successor was there before this read: the engine had closed it, so its last line
            # stays without an end.
            if torn := generation.rest():
                return self._move(generation, torn)
            self._source.next()

    def ready(self) -> bool:
        """Whether a turn would move something."""
        generation = self._source.current
        return self._source.rotated() or (
            generation is not None and generation.size() != self._seen_size
        )

    def reopen(self) -> None:
        """From now on write to a new file at the path. Everything that was read is in the old file
        already.

        Raises:
            OSError: the new file cannot be opened; the old one stays in use.
        """
        if self._target.unlinked() and (former := newest_renamed(self._target.path)) is not None:
            # Replaced by that one, which was renamed again before this was noticed.
            self._use_former(former)
            self._read_again()
        if self._held:
            # What an earlier process left in the old file is not compared yet: switch when it is.
            self._switch = True
        else:
            self._change_target()

    def end(self) -> None:
        """The container has ended and all is written: end its open lines. Repeatable.

        Raises:
            OSError: the target takes nothing more now.
        """
        self._target.end_lines()
        self._base = self._target.size()
        self._store()

    def recover(self) -> None:
        """After a failed turn: find what of it reached the target.

        Raises:
            OSError: it cannot be read.
        """
        self._held = max(0, self._target.size() - self._base)

    def lag(self) -> int:
        """Bytes of the source that are not in the target yet."""
        return self._source.pending()

    def close(self) -> None:
        """Close every file."""
        self._source.close()
        self._target.close()
        self._position.close()

    def _nothing(self, size: int) -> int:
        self._seen_size = size
        if self._held:
            # The source ends before what the target holds: of that only whole lines are kept.
            self._target.truncate(max(self._base, self._target.whole_lines()))
            self._base, self._held = self._target.size(), 0
            self._store()
        if self._switch:
            self._change_target()
        elif self._target.replaced() and self._follow_replacement():
            self._seen_size = -1
            return 0
        self.drained = True
        return 0

    def _move(self, generation: Generation, chunk: bytes) -> int:
        encoded = self._encoder.encode(chunk)
        fresh = self._not_held(encoded) if self._held else encoded
        if fresh:
            self._target.append(fresh)
        self._base = self._base + len(encoded) if self._held else self._target.size()
        generation.offset += len(chunk)
        self.written_bytes += len(fresh)
        self._done = (generation.inode, generation.offset, chunk[-TAIL_BYTES:])
        self._store()
        if self._switch and not self._held:
            self._change_target()
        return len(chunk)

    def _store(self) -> None:
        inode, offset, tail = self._done
        # The inode says which file is ours; a file that held something of others is not recorded.
        target_inode = 0 if self._target.kept else self._target.inode
        self._position.store(Position(inode, offset, target_inode, self._base, tail))

    def _not_held(self, encoded: bytes) -> bytes:
        """The part of what was encoded after the recorded position that the target does not
        hold.
        """
        held = self._target.read(min(self._held, len(encoded)), self._base)
        if encoded.startswith(held):
            self._held -= len(held)
            return encoded[len(held) :]
        agreed = 0
        while (end := encoded.find(b"\n", agreed) + 1) and encoded[agreed:end] == held[agreed:end]:
            agreed = end
        if self._trusted:
            self._warn(
                "the log file holds lines that the engine has dropped since; going on after them"
            )
            self._target.truncate(max(self._base + agreed, self._target.whole_lines()))
        else:
            self._target.truncate(self._base + agreed)
        self._held = 0
        return encoded[agreed:]

    def _change_target(self) -> None:
        """Go on in a new file at the path; that is recorded before its first line is written."""
        target = self._open(self._target.path)
        if target.inode == self._target.inode:
            target.kept = self._target.kept  # reopened twice: as much of it is ours as before
        self._target.close()
        self._target, self._switch = target, False
        self._base = target.size()
        self._store()

    def _open(self, path: str) -> Target:
        target = Target(path)
        # An empty one was made for us when the container was started: all that it will hold is ours
        # too.
        if target.created or not target.size():
            self._made_inode = target.inode
        return target

    def _follow_replacement(self) -> bool:
        """Another file was renamed over ours, as kubelet does when a rotation failed while this
        service was away: go on after what that file holds, which is older than ours.

        Returns:
            Whether the source is read again from there.
        """
        former, made = self._target, self._target.inode == self._made_inode
        self._target = self._open(former.path)
        try:
            if self._read_again():
                return True
            # It is not a file of this log, or the engine no longer has what is in it.
            if made and not self._target.take_over(former):
                self._warn("the log file was replaced; what it held is too long to be copied")
        finally:
            former.close()
        self._base = self._target.size()
        self._store()
        return False

    def _read_again(self) -> bool:
        """Go back in the source to the target's last lines, if the source still has them."""
        before, self._source = self._source, Source(self._source.path)
        generations, _ = generations_after(before.path, None)
        if self._aligned(generations):
            before.close()
            # At once: a file that is made from now on may get the inode of the lost one.
            self._store()
            return True
        for generation in generations:
            generation.close()
        self._source = before
        return False

    def _resume(self, position: Position | None) -> None:
        generations, _ = generations_after(self._source.path, None)
        self._trusted = position is not None and position.this_boot
        if position is not None and position.target_inode == self._target.inode:
            self._target.own()
        if position is not None and position.this_boot:
            self._resume_recorded(position, generations)
        else:
            if (
                not self._target.size()
                and (renamed := newest_renamed(self._target.path)) is not None
            ):
                self._use_former(renamed)
                if position is not None and position.target_inode == self._target.inode:
                    self._target.own()
            self._resume_aligned(generations)
        if self._switch and not self._held:
            self._change_target()
        elif position is None and not self._target.size():
            # Before its first line is written: a file with that inode is ours from now on.
            self._store()

    def _use_former(self, name: str) -> None:
        """Begin in the file from before a rotation, which has the last lines that were written."""
        former = Target(name)
        former.path = self._target.path
        self._target.close()
        self._target, self._switch = former, True

    def _resume_recorded(self, position: Position, generations: list[Generation]) -> None:
        self._done = (position.source_inode, position.source_offset, position.tail)
        former = None
        # A file that was made since, now or right before a kill, may have the same inode.
        other = (
            self._target.created
            or self._target.inode != position.target_inode
            or self._target.size() < max(1, position.target_offset)
        )
        if other and position.target_inode:
            former = find_renamed(self._target.path, position.target_inode)
            if former == self._target.path:
                former = None
            # If that file is gone, kubelet may have renamed the file before it over it, and that
            # one again since.
            if former is None:
                newest = newest_renamed(self._target.path) if not self._target.size() else None
                if newest is not None:
                    self._use_former(newest)
                if self._aligned(generations):
                    return
                if newest is not None:
                    self._change_target()
        index = _holder(generations, position)
        if index is not None:
            generations[index].offset = position.source_offset
            self._adopt(generations, index)
        elif position.tail:
            self._warn("the engine dropped the file that was being read; lines may be missing here")
            self._adopt_after(generations, last_time(position.tail))
        else:
            self._adopt(generations, 0)
        if other:
            if former is None:
                self._base = self._target.size()
                return
            self._use_former(former)
            self._target.own()
        size = self._target.size()
        self._base = min(position.target_offset, size)
        self._held = size - self._base

    def _aligned(self, generations: list[Generation]) -> bool:
        """Go on after the target's last lines, if the source still has them."""
        time, offset = self._target.last_lines()
        if not time:
            return False
        needle = b'"time":"' + time + b'"}\n'
        for index, generation in enumerate(generations):
            found = generation.find(needle)
            if found >= 0:
                generation.offset = generation.line_start(found)
                self._done = (generation.inode, generation.offset, generation.tail())
                self._adopt(generations, index)
                self._target.own()
                self._base, self._held = offset, self._target.size() - offset
                return True
        return False

    def _resume_aligned(self, generations: list[Generation]) -> None:
        if self._aligned(generations):
            return
        time, _ = self._target.last_lines()
        self._target.truncate(self._target.whole_lines())
        self._base = self._target.size()
        if time:
            self._adopt_after(generations, time_key(time))
        else:
            self._adopt(generations, 0)

    def _adopt(self, generations: list[Generation], first: int) -> None:
        for generation in generations[:first]:
            generation.close()
        self._source.chain.extend(generations[first:])

    def _adopt_after(self, generations: list[Generation], time: bytes) -> None:
        """Go on at the first line that is later than ``time``."""
        for index, generation in enumerate(generations):
            generation.offset = generation.first_after(time)
            if generation.offset < generation.size() or index == len(generations) - 1:
                self._adopt(generations, index)
                return


def _holder(generations: list[Generation], position: Position) -> int | None:
    """Which generation the position was taken in."""
    for index, generation in enumerate(generations):
        if generation.inode == position.source_inode and generation.holds(position):
            return index
    for index, generation in enumerate(generations):
        if generation.holds(position):
            return index
    return None
