"""``top``: show what pods and containers use, live."""

from __future__ import annotations

import argparse
import sys
from contextlib import aclosing

import anyio

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.cli.output import is_document, print_document, print_table, short_id, size
from asupervisor.cli.top.look import Look, Looks
from asupervisor.cli.top.screen import RED, Screen, full_screen
from asupervisor.cli.top.table import HELP, ORDERS, Table, totals
from asupervisor.client import Client, Container
from asupervisor.durations import parse_duration
from asupervisor.errors import ConfigError, ServiceError, Unimplemented

_REST_S = 0.5
"""Between an event and the next look: several events often come together."""
_DEADLINE_S = 5.0
"""Deadline of each call, if none was given, so that the user soon sees that a server hangs."""
_SHELL = ("sh",)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The order, and how often to look."""
    parser.add_argument(
        "--sort",
        choices=tuple(ORDERS),
        default="cpu",
        help="order of the rows, the most first (default: cpu)",
    )
    parser.add_argument(
        "--interval",
        default="2s",
        metavar="DURATION",
        help="time from one look to the next; an event brings it forward (default: 2s)",
    )
    parser.add_argument(
        "--once", action="store_true", help="print one table and end, as without a terminal"
    )
    parser.epilog = f"Keys: {HELP}."


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print one table, or on a terminal show the view until q or Ctrl-C."""
    interval_s = parse_duration(options.interval, "--interval")
    if interval_s <= 0:
        raise ConfigError("--interval must be longer than 0")
    looks = Looks(
        client if options.timeout_s is not None else client.within(_DEADLINE_S),
        options.settings.endpoint,
    )
    is_live = sys.stdin.isatty() and sys.stdout.isatty() and not is_document(options.output)
    if options.once or not is_live:
        _print(await looks.look(), options)
        return 0
    return await _Top(client, looks, options.sort, interval_s).run()


def _print(look: Look, options: argparse.Namespace) -> None:
    if print_document(options.output, [each.raw for each in look.usages]):
        return
    running = [(part, pod.name) for pod in look.pods for part in pod.parts if part.is_well]
    running.sort(key=lambda each: (ORDERS[options.sort](each[0]), each[0].name))
    print(f"{totals(look.pods)}\n")
    rows = [
        (
            pod,
            row.name,
            f"{row.cpu_cores * 100:.1f}",
            size(row.memory_bytes),
            size(row.disk_bytes),
            short_id(row.id),
        )
        for row, pod in running
    ]
    print_table(("POD", "CONTAINER", "CPU %", "MEMORY", "DISK", "ID"), rows)


class _Top:
    """The view. It is left for a log or a shell, and entered again afterwards."""

    def __init__(self, client: Client, looks: Looks, order: str, interval_s: float) -> None:
        self._client = client
        self._looks = looks
        self._interval_s = interval_s
        self._table = Table(order)
        self._last: Look | None = None
        self._changed = anyio.Event()

    async def run(self) -> int:
        """Show it, and return the exit code."""
        while True:
            key = ""
            async with full_screen(self._table.lines) as screen, BackgroundTasks() as tasks:
                tasks.start_soon(self._follow)
                tasks.start_soon(self._keep_looking, screen)
                key = await self._pressed(screen)
            if screen.ended_by:
                return 128 + screen.ended_by
            if key == "q":
                return 0
            if number := await self._open(key):
                return 128 + number

    async def _pressed(self, screen: Screen) -> str:
        """The key that leaves the view: q, or l or s when a container is chosen."""
        while True:
            key = await screen.key()
            leaves = key == "q" or (key in ("l", "s") and self._container() is not None)
            if leaves and not self._table.is_typed:
                return key
            self._table.press(key)
            screen.redraw()

    def _container(self) -> tuple[Container, str] | None:
        """The container of the chosen row, and its name."""
        found = self._last.meant(self._table.chosen) if self._last else None
        return None if found is None else (self._client.container(found[0]), found[1])

    async def _open(self, key: str) -> int:
        """Show a log or a shell, and return the signal that ended it; 0 for none."""
        found = self._container()
        if found is None:
            return 0
        if key == "l":
            from asupervisor.cli.top.log import show_log

            return await show_log(*found)
        from asupervisor.cli.terminal import run_session

        container, name = found
        ended_by: list[int] = []
        try:
            print(f"a shell in {name}; exit returns to top", flush=True)
            async with container.open(_SHELL, stdin=True, terminal=True) as running:
                code = await run_session(running, has_terminal=True, ended_by=ended_by)
            self._table.notice = f"the shell ended with {code}" if code else ""
        except ServiceError as error:
            self._table.notice = str(error)
        return ended_by[0] if ended_by else 0

    async def _keep_looking(self, screen: Screen) -> None:
        while True:
            self._changed = anyio.Event()
            try:
                look = self._last = await self._looks.look()
                self._table.head = look.head
                self._table.show(look.pods)
            except ServiceError as error:  # the last rows stay, marked as old
                self._table.head = [(RED, f"not up to date: {error}")]
            screen.redraw()
            with anyio.move_on_after(self._interval_s):
                await self._changed.wait()
                await anyio.sleep(_REST_S)

    async def _follow(self) -> None:
        """Look after every event; some servers have none."""
        while True:
            try:
                async with aclosing(self._client.events()) as events:
                    async for _ in events:
                        self._changed.set()
            except Unimplemented:
                return
            except ServiceError:
                pass
            await anyio.sleep(self._interval_s)
