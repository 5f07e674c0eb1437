"""The tree of tasks, and where each of them waits: for an operator, when something hangs."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
from anyio import TaskInfo

_PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep
_DEEPEST = 40


def dump_tasks(figures: Mapping[str, object]) -> str:
    """A text of every task of the running event loop, below the task that started it.

    It names only files, lines and functions, and no variable, so nothing secret can be in it.

    Args:
        figures: printed first, one line each.
    """
    tasks = anyio.get_running_tasks()
    known = {task.id for task in tasks}
    children: dict[int | None, list[TaskInfo]] = {}
    for task in tasks:
        children.setdefault(task.parent_id if task.parent_id in known else None, []).append(task)
    lines = [f"{name}: {value}" for name, value in {**_process(len(tasks)), **figures}.items()]
    lines.append("")
    pending = [(task, 0) for task in reversed(children.get(None, []))]
    while pending:
        task, depth = pending.pop()
        lines.append(
            f"{'  ' * depth}-"
            f" {task.name or 'unnamed'}"
            f"{' (being cancelled)' if task.has_pending_cancellation() else ''}"
        )
        lines.extend(f"{'  ' * depth}    {place}" for place in waiting_at(task.coro))
        pending.extend((child, depth + 1) for child in reversed(children.get(task.id, [])))
    return "\n".join(lines) + "\n"


def waiting_at(awaitable: Any) -> list[str]:
    """The chain of awaits of a coroutine, outermost first, as ``file:line function``."""
    places: list[str] = []
    while awaitable is not None and len(places) < _DEEPEST:
        frame = (
            getattr(awaitable, "cr_frame", None)
            or getattr(awaitable, "ag_frame", None)
            or getattr(awaitable, "gi_frame", None)
        )
        if frame is None:
            places.append(f"at {type(awaitable).__module__}.{type(awaitable).__qualname__}")
            break
        file = frame.f_code.co_filename.removeprefix(_PACKAGE)
        places.append(f"{file}:{frame.f_lineno} {frame.f_code.co_qualname}")
        awaitable = next(
            (
                found
                for name in ("cr_await", "ag_await", "gi_yieldfrom")
                if (found := getattr(awaitable, name, None)) is not None
            ),
            None,
        )
    return places


def _process(tasks: int) -> dict[str, object]:
    figures: dict[str, object] = {
        "tasks": tasks,
        "objects by generation": gc.get_count(),
        "frozen objects": gc.get_freeze_count(),
    }
    for line in _lines("/proc/self/status"):
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM", "Threads"):
            figures[name] = value.strip()
    return {**figures, "file descriptors": len(os.listdir("/proc/self/fd"))}


def _lines(path: str) -> Iterable[str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()
