"""Shows a container's log on the whole terminal, and follows it until the view is left."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing
from itertools import islice

import anyio.lowlevel

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.cli.top.screen import BOLD, PLAIN, RED, Line, Screen, full_screen
from asupervisor.client import Container
from asupervisor.errors import ServiceError
from asupervisor.words import one_line

_MOST_LINES = 10_000
"""Lines that are kept for scrolling back."""
_HELP = "arrows scroll  end follows  q back"


class LogView:
    """The kept lines of a log, and which of them are shown.

    Args:
        title: the first line.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._lines: deque[Line] = deque(maxlen=_MOST_LINES)
        self._below = 0
        self._width = self._room = 80
        self.notice = ""

    def add(self, text: str, style: str = PLAIN) -> None:
        """A line, or several where it is longer than the terminal is wide."""
        text = one_line(text.expandtabs())
        # Some letters are two columns wide.
        width = self._width if text.isascii() else max(1, self._width // 2)
        for at in range(0, max(1, len(text)), width):
            self._lines.append((style, text[at : at + width]))
            self._below += bool(self._below)  # the shown lines stay
        self._move(0)

    def press(self, key: str) -> None:
        """A key that scrolls; others do nothing."""
        steps = {"up": 1, "down": -1, "page up": self._room, "page down": -self._room}
        self._move({**steps, "home": _MOST_LINES, "end": -_MOST_LINES}.get(key, 0))

    def _move(self, by: int) -> None:
        self._below = max(0, min(self._below + by, len(self._lines) - self._room))

    def lines(self, columns: int, rows: int) -> list[Line]:
        """The lines of the whole terminal."""
        self._width, self._room = columns, max(1, rows - 2)
        end = len(self._lines) - self._below
        shown = list(islice(self._lines, max(0, end - self._room), end))
        shown += [(PLAIN, "")] * (self._room - len(shown))
        place = f"{self._below} lines below  " if self._below else ""
        return [(BOLD, self._title), *shown, (PLAIN, f"{self.notice}{place}{_HELP}")]


async def show_log(container: Container, title: str) -> int:
    """Show its log until q.

    Returns:
        The signal that ended it; 0 for none.
    """
    view = LogView(f"log of {title}")
    async with full_screen(view.lines) as screen, BackgroundTasks() as tasks:
        tasks.start_soon(_follow, container, view, screen)
        while (key := await screen.key()) not in ("q", "escape"):
            view.press(key)
            screen.redraw()
    return screen.ended_by


async def _follow(container: Container, view: LogView, screen: Screen) -> None:
    try:
        async with aclosing(container.logs(follow=True, tail=_MOST_LINES)) as lines:
            async for line in lines:
                view.add(line.text, RED if line.stream == "stderr" else PLAIN)
                screen.redraw()
                await anyio.lowlevel.checkpoint()  # so that keys work however much is written
        view.notice = "the container has ended  "
    except ServiceError as error:
        view.notice = f"{error}  "
    screen.redraw()
