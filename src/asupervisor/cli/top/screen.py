"""The whole terminal for one view: it reads keys and shows lines. However the view ends, the
terminal is restored.

Every line passes through :func:`one_line`, so that no name, state or log can control the
terminal."""

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
"""Reset what another program left; use the alternate screen, hide the cursor, cut lines at the
edge.
"""
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_PAUSE_S = 0.03
"""Least time from one drawing to the next, so that many changes are drawn at once."""
_ESCAPE_S = 0.05
"""Time for the rest of a key's sequence; if none comes, it was the escape key."""
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
    """The terminal while a view uses it; made by :func:`full_screen`.

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
        """Draw soon, as the lines have changed."""
        self._wanted.set()

    def end(self, number: int) -> None:
        """Leave the view as this signal does."""
        self.ended_by = number
        self._scope.cancel()

    async def key(self) -> str:
        """The next key: a character, or a name such as ``up``; empty for an unknown one."""
        first, self._ahead = self._ahead or await self._character(), ""
        if first == "\x03":
            self.end(signal.SIGINT)
            await anyio.sleep_forever()
        if first == "\x0c":  # Ctrl-L: something else wrote on the terminal, so draw everything
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
        """Whether the rest of a sequence is there. It looks once more at the end: on a busy machine
        the time may be over before the wait began."""
        with anyio.move_on_after(_ESCAPE_S):
            await anyio.wait_readable(_STDIN)
        return bool(select.select([_STDIN], [], [], 0)[0])

    async def _character(self) -> str:
        """Read a single character: what was typed ahead may be for a shell."""
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
        """Write the lines that have changed, all at once."""
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
    """Use the terminal for the length of a block.

    A signal, Ctrl-C and the loss of the terminal cancel the block; ``ended_by`` says which.

    Args:
        draw: gives the lines; called at first, after :meth:`Screen.redraw`, and when the
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
