"""The progress of a pull on a terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.cli.output import size
from asupervisor.client import Layer
from asupervisor.words import one_line

_EVERY_S = 0.2
_SPINNER = "|/-\\"
_BAR = 20


@asynccontextmanager
async def shown_progress(image: str) -> AsyncIterator[Callable[[Sequence[Layer]], None]]:
    """Show on standard error, while the block runs, how long a pull takes, and its layers where the
    server tells them; afterwards all of it is cleared.

    Args:
        image: what is pulled.

    Yields:
        A function that is given the layers.
    """
    layers: Sequence[Layer] = ()
    started, shown = time.monotonic(), 0

    def take(told: Sequence[Layer]) -> None:
        nonlocal layers
        layers = told

    def draw(lines: Sequence[str]) -> None:
        """In place of what was drawn before."""
        nonlocal shown
        above = f"\x1b[{shown}A" if shown else ""
        sys.stderr.write(f"{above}\r\x1b[J" + "".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
        shown = len(lines)

    async def keep_drawing() -> None:
        turn = 0
        while True:
            columns, rows = shutil.get_terminal_size()
            passed_s = time.monotonic() - started
            head = f"{_SPINNER[turn % len(_SPINNER)]} {one_line(image)}  {passed_s:.0f} s"
            lines = [head, *map(_line, layers)][: max(1, rows - 1)]
            draw([line[: columns - 1] for line in lines])
            turn += 1
            await anyio.sleep(_EVERY_S)

    async with BackgroundTasks() as tasks:
        tasks.start_soon(keep_drawing)
        try:
            yield take
        finally:
            draw(())


def _line(layer: Layer) -> str:
    text = f"  {one_line(layer.id)}  {one_line(layer.status):18}"
    if not layer.done_bytes:
        return text.rstrip()
    if not layer.total_bytes:
        return f"{text}  {size(layer.done_bytes)}"
    filled = min(_BAR, _BAR * layer.done_bytes // layer.total_bytes)
    bar = f"[{'=' * filled}{' ' * (_BAR - filled)}]"
    return f"{text}  {bar} {size(layer.done_bytes)} of {size(layer.total_bytes)}"
