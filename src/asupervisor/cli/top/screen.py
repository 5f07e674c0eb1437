"""A whole terminal for one view: keys come in, lines go out, and it is given back as it was,
however the view ends.

Every line passes here through :func:`one_line`, so no name, state or log steers the terminal."""

from __future__ import annotations

import codecs
import os
import select
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import anyio

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.cli.terminal import raw_terminal
from asupervisor.host.atomic import write_all
from asupervisor.words import one_line

Line = tuple[str, str]
"""A style and a text."""
Draw = Callable[[int, int], Sequence[Line]]
"""The lines for so many columns and rows."""
PLAIN, BOLD, INVERSE, RED = "0", "1", "7", "31"

_STDIN, _STDOUT = 0, 1
_ENTER = "\x1b[!p\x1b[?1049h\x1b[?25l\x1b[?7l"
"""What a program left is taken back; another screen than the shell's, no cursor, and lines that are
cut at the edge."""
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_PAUSE_S = 0.03
"""Between two pictures: many changes make one."""
_ESCAPE_S = 0.05
"""How long the rest of a key's sequence may take; without one it was the escape key."""
_LONGEST_SEQUENCE = 8
_NAMES = {"\x1b": "escape", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace"}
_SEQUENCES = {
    **{
        f"{lead}{end}": name
        for lead in "[O"
        for end, name in zip("ABHF", ("up", "down", "home", "end"), strict=True)
    },
    **{"[1~": "home", "[7~": "home", "[4~": "end", "[8~": "end"},
    **{"[5~": "page up", "[6~": "page down"},
}


class Screen:
    """The terminal while a view has it; made by :func:`full_screen`.

    Attributes:
        ended_by: the number of the signal that ended the view; 0 for none.
    """

    def __init__(self, draw: Draw, scope: anyio.CancelScope) -> None:
        self._draw = draw
        self._scope = scope
        self._wanted = anyio.Event()
        self._shown: list[str] = []
        self._size = (0, 0)
        self._ahead = ""
        self.ended_by = 0

    def redraw(self) -> None:
        """Show what has changed, soon."""
        self._wanted.set()

    def end(self, number: int) -> None:
        """Leave the view, as by this signal."""
        self.ended_by = number
        self._scope.cancel()

    async def key(self) -> str:
        """The next key: a character, or a name as ``up``; empty for one that is not known."""
        first, self._ahead = self._ahead or await self._character(), ""
        if first == "\x03":
            self.end(signal.SIGINT)
            await anyio.sleep_forever()
        if first == "\x0c":  # something else has written on it: show all of it again
            self._size = (0, 0)
        if first != "\x1b":
            return _NAMES.get(first, first if first.isprintable() else "")
        sequence = ""
        while len(sequence) < _LONGEST_SEQUENCE and await self._has_more():
            sequence += await self._character()
            if sequence[0] not in "[O":  # another key, typed at once after the escape key
                self._ahead, sequence = sequence, ""
                break
            if len(sequence) > 1 and "@" <= sequence[-1] <= "~":
                break
        return _SEQUENCES.get(sequence, "") if sequence else "escape"

    async def _has_more(self) -> bool:
        """Whether the rest of a sequence is there; it is looked for once more at the end, since a
        machine that is busy may have come too late to wait."""
        with anyio.move_on_after(_ESCAPE_S):
            await anyio.wait_readable(_STDIN)
        return bool(select.select([_STDIN], [], [], 0)[0])

    async def _character(self) -> str:
        """Not more is read than that: what was typed ahead may be for a shell."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = ""
        while not text:
            data = b""
            with suppress(OSError):
                await anyio.wait_readable(_STDIN)
                data = os.read(_STDIN, 1)
            if not data:  # the terminal has gone
                self.end(signal.SIGHUP)
                await anyio.sleep_forever()
            text = decoder.decode(data)
        return text[0]

    async def keep_drawing(self) -> None:
        """Until cancelled."""
        while True:
            self._wanted = anyio.Event()
            try:
                self._show()
            except OSError:
                self.end(signal.SIGHUP)
            await anyio.sleep(_PAUSE_S)
            await self._wanted.wait()

    def _show(self) -> None:
        """Write the lines that are not there yet, all at once."""
        columns, rows = size = _size()
        lines = [
            f"\x1b[{style}m{one_line(text)[:columns]}\x1b[0m"
            for style, text in self._draw(columns, rows)
        ][:rows]
        lines += [""] * (rows - len(lines))
        if size != self._size:
            self._size, self._shown = size, ["\x1b"] * rows
        changed = [
            f"\x1b[{number + 1};1H\x1b[2K{line}"
            for number, line in enumerate(lines)
            if line != self._shown[number]
        ]
        self._shown = lines
        _write("".join(changed))


@asynccontextmanager
async def full_screen(draw: Draw) -> AsyncIterator[Screen]:
    """The terminal for the length of a block.

    A signal, Ctrl-C and a terminal that goes away cancel the block; ``ended_by`` tells it.

    Args:
        draw: what is to be seen; asked at first, after :meth:`Screen.redraw`, and when the
            terminal's size has changed.
    """
    ends = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    with (
        anyio.open_signal_receiver(*ends, signal.SIGWINCH) as signals,
        raw_terminal(),
        anyio.CancelScope() as scope,
    ):
        screen = Screen(draw, scope)

        async def take_signals() -> None:
            async for number in signals:
                if number == signal.SIGWINCH:
                    screen.redraw()
                else:
                    screen.end(number)

        try:
            with suppress(OSError):
                _write(_ENTER)
            async with BackgroundTasks() as tasks:
                tasks.start_soon(take_signals)
                tasks.start_soon(screen.keep_drawing)
                yield screen
        finally:
            with suppress(OSError):
                _write(_LEAVE)


def _size() -> tuple[int, int]:
    columns, rows = os.get_terminal_size(_STDOUT)
    return columns or 80, rows or 24


def _write(text: str) -> None:
    write_all(_STDOUT, text.encode(errors="replace"))
