"""The table of ``top``, from values: which rows, in which order, and the lines that show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from asupervisor.cli.output import size
from asupervisor.cli.top.screen import BOLD, INVERSE, PLAIN, RED, Line
from asupervisor.words import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A pod or a container.

    Args:
        id: of the sandbox or the container.
        name: ``NAMESPACE/NAME`` of a pod, the name of a container.
        state: in one word.
        is_well: whether it runs.
        is_pod: otherwise it is a container.
        restarts: how often it was made anew.
        cpu_cores: cores in use.
        memory_bytes, disk_bytes: the working set, and the size of writable layers.
        received_per_s, sent_per_s: bytes over the pod's network; None where it is not known.
        pressure: share of the last ten seconds, in percent, in which something waited for CPU,
            memory and I/O; None where it is not known.
        parts: a pod's containers.
    """

    id: str
    name: str
    state: str
    is_well: bool
    is_pod: bool = False
    restarts: int = 0
    cpu_cores: float = 0.0
    memory_bytes: int = 0
    disk_bytes: int = 0
    received_per_s: float | None = None
    sent_per_s: float | None = None
    pressure: tuple[float, float, float] | None = None
    parts: tuple[Row, ...] = ()


ORDERS: Mapping[str, Callable[[Row], float]] = {
    "cpu": lambda row: -row.cpu_cores,
    "memory": lambda row: -row.memory_bytes,
    "network": lambda row: -(row.received_per_s or 0) - (row.sent_per_s or 0),
    "disk": lambda row: -row.disk_bytes,
    "pressure": lambda row: -max(max(each.pressure or (0,)) for each in (row, *row.parts)),
    "restarts": lambda row: -max(each.restarts for each in (row, *row.parts)),
    "name": lambda row: 0,
}
"""The most first; equal ones by name."""
KEYS = {"a": "name", **{name[0]: name for name in ORDERS if name != "name"}}
"""Which key gives which order."""
HELP = (
    "q quit  l log  s shell  / filter  sort: c cpu m memory n network d disk p pressure r restarts"
    " a name"
)
_COLUMNS = (
    ("STATE", 8, ""),
    ("CPU %", 6, "cpu"),
    ("MEMORY", 7, "memory"),
    ("RX/s", 7, "network"),
    ("TX/s", 7, "network"),
    ("DISK", 7, "disk"),
    ("RESTARTS", 8, "restarts"),
)
"""Beside the name: title, width and order. The first is flush left, the others right."""
_PRESSURE = ("CPU/MEM/IO WAIT %", 17, "pressure")
_NARROWEST_NAME = 20
_MARK = "*"
"""It is before the title of the column by which the table is sorted."""


def arrange(pods: Sequence[Row], order: str, wanted: str = "") -> list[Row]:
    """The rows in their order: each pod, then its containers.

    Args:
        pods: in any order.
        order: one of :data:`ORDERS`.
        wanted: only pods and containers with this in their name or state, or at the start of their
            id. A pod is shown with each container that matches; if the pod matches itself, all its
            containers are shown.
    """
    key = ORDERS[order]
    wanted = wanted.casefold()
    found: list[Row] = []
    for pod in sorted(pods, key=lambda row: (key(row), row.name)):
        parts = sorted(pod.parts, key=lambda row: (key(row), row.name))
        if not _has(pod, wanted):
            parts = [part for part in parts if _has(part, wanted)]
            if not parts:
                continue
        found += [pod, *parts]
    return found


def _has(row: Row, wanted: str) -> bool:
    return wanted in f"{row.name} {row.state}".casefold() or row.id.startswith(wanted)


class Table:
    """The table as the user has set it: its order, its filter, the chosen row.

    Attributes:
        head: lines above it.
        notice: a line below it; empty for none.
        is_typed: whether keys are typed into the filter.
    """

    def __init__(self, order: str) -> None:
        self.head: Sequence[Line] = ()
        self.notice = ""
        self.is_typed = False
        self._order = order
        self._wanted = ""
        self._pods: Sequence[Row] = ()
        self._rows: list[Row] = []
        self._chosen = self._top = 0
        self._room = 1

    @property
    def chosen(self) -> Row | None:
        """The row that is chosen."""
        return self._rows[self._chosen] if self._rows else None

    def show(self, pods: Sequence[Row]) -> None:
        """Show the pods as they are now; the chosen row stays chosen while it is there."""
        self._pods = pods
        before = self.chosen
        self._rows = arrange(pods, self._order, self._wanted)
        ids = [row.id for row in self._rows]
        if before is not None and before.id in ids:
            self._chosen = ids.index(before.id)
        elif self.is_typed:
            self._chosen = 0
        self._move(0)

    def press(self, key: str) -> None:
        """A key that moves, sorts or filters; others do nothing."""
        self.notice = ""
        steps = {"up": -1, "down": 1, "page up": -self._room, "page down": self._room}
        ends = {"home": -len(self._rows), "end": len(self._rows)}
        if key in steps or key in ends:
            self._move({**steps, **ends}[key])
            return
        if self.is_typed:
            self._type(key)
        elif key == "/":
            self.is_typed = True
        elif key == "escape":
            self._wanted = ""
        elif key in KEYS:
            self._order = KEYS[key]
        self.show(self._pods)

    def _type(self, key: str) -> None:
        if key == "escape":
            self._wanted = ""
        elif key == "backspace":
            self._wanted = self._wanted[:-1]
        elif len(key) == 1:
            self._wanted += key
        self.is_typed = key not in ("enter", "escape")

    def _move(self, by: int) -> None:
        self._chosen = max(0, min(self._chosen + by, len(self._rows) - 1))

    def lines(self, columns: int, rows: int) -> list[Line]:
        """The lines of the whole terminal: the head, as many rows as fit, one line below."""
        head = [*self.head, (PLAIN, "")]
        self._room = max(1, rows - len(head) - 2)
        self._top = max(0, min(self._top, self._chosen, len(self._rows) - self._room))
        self._top = max(self._top, self._chosen - self._room + 1)
        shown = self._rows[self._top : self._top + self._room]
        has_pressure = any(row.pressure for row in self._rows)
        titles = [*_COLUMNS, *((_PRESSURE,) if has_pressure else ())]
        width = max(_NARROWEST_NAME, columns - sum(each[1] + 1 for each in titles))
        lines = [*head, (BOLD, self._titles(titles, width))]
        for number, row in enumerate(shown, self._top):
            style = INVERSE if number == self._chosen else PLAIN if row.is_well else RED
            lines.append((style, _line(row, titles, width).ljust(columns)))
        lines += [(PLAIN, "")] * (self._room - len(shown))
        return [*lines, self._below()]

    def _titles(self, titles: Sequence[tuple[str, int, str]], width: int) -> str:
        marked = [
            (f"{_MARK if order == self._order else ''}{title}", size, order)
            for title, size, order in titles
        ]
        name = f"{_MARK if self._order == 'name' else ''}POD, CONTAINER"
        return _joined(name, [title for title, _, _ in marked], titles, width)

    def _below(self) -> Line:
        if self.notice:
            return RED, self.notice
        place = f"{self._chosen + 1} of {len(self._rows)}" if self._rows else "none"
        if self.is_typed:
            return BOLD, f"filter: {self._wanted}_  ({place})"
        shown = f"filter {self._wanted}: " if self._wanted else ""
        return PLAIN, f"{shown}{place}  {HELP}"


def _line(row: Row, titles: Sequence[tuple[str, int, str]], width: int) -> str:
    name = f"{'' if row.is_pod else '  '}{one_line(row.name)}"
    if len(name) > width:
        name = f"{name[: width - 1]}~"
    pressure = "" if row.pressure is None else " ".join(f"{each:.1f}" for each in row.pressure)
    cells = (
        one_line(row.state),
        f"{row.cpu_cores * 100:.1f}",
        size(row.memory_bytes),
        "" if row.received_per_s is None else size(round(row.received_per_s)),
        "" if row.sent_per_s is None else size(round(row.sent_per_s)),
        size(row.disk_bytes),
        str(row.restarts),
        pressure,
    )
    return _joined(name, cells[: len(titles)], titles, width)


def _joined(
    name: str, cells: Sequence[str], titles: Sequence[tuple[str, int, str]], width: int
) -> str:
    state, *numbers = cells
    fields = [name.ljust(width), state.ljust(titles[0][1])]
    fields += [cell.rjust(size) for cell, (_, size, _) in zip(numbers, titles[1:], strict=True)]
    return " ".join(fields)


def totals(pods: Sequence[Row]) -> str:
    """What all of them use, in a sentence."""
    containers = [part for pod in pods for part in pod.parts if part.is_well]
    ready = sum(pod.is_well for pod in pods)
    cores = sum(each.cpu_cores for each in containers)
    memory = size(sum(each.memory_bytes for each in containers))
    return f"{ready} pods ready, {len(containers)} containers: {cores:.2f} cores, {memory} memory"
