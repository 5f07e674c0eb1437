"""``top``: what containers use, live."""

from __future__ import annotations

import argparse
import shutil
import sys

import anyio

from asupervisor.cli.listing import CLEAR
from asupervisor.cli.output import print_table, short_id, size
from asupervisor.client import Client, Usage
from asupervisor.durations import parse_duration
from asupervisor.errors import ConfigError

_ORDERS = {
    "cpu": lambda usage: -usage.cpu_cores,
    "memory": lambda usage: -usage.memory_bytes,
    "disk": lambda usage: -usage.disk_bytes,
    "name": lambda usage: usage.name,
}
_LINES_ABOVE = 4


def arguments(parser: argparse.ArgumentParser) -> None:
    """In which order, and how often."""
    parser.add_argument(
        "--sort", choices=tuple(_ORDERS), default="cpu", help="the most first (default: cpu)"
    )
    parser.add_argument(
        "--interval", default="2s", metavar="DURATION", help="between two looks (default: 2s)"
    )
    parser.add_argument("--once", action="store_true", help="one look; so it is without a terminal")


async def run(client: Client, options: argparse.Namespace) -> int:
    """As many containers as the terminal has lines, until Ctrl-C."""
    interval_s = parse_duration(options.interval, "--interval")
    if interval_s <= 0:
        raise ConfigError("--interval must be longer than 0")
    if options.once or not sys.stdout.isatty():
        await _show(client, options.sort, None)
        return 0
    while True:
        room = shutil.get_terminal_size().lines - _LINES_ABOVE
        await _show(client, options.sort, max(1, room))
        await anyio.sleep(interval_s)


async def _show(client: Client, order: str, room: int | None) -> None:
    pods = {pod.id: pod for pod in await client.pods()}
    containers = {each.id: each for each in await client.containers()}
    usages = sorted(await client.stats(), key=_ORDERS[order])

    def pod(usage: Usage) -> str:
        container = containers.get(usage.container_id)
        found = pods.get(container.pod_id) if container else None
        return f"{found.namespace}/{found.name}" if found else ""

    rows = [
        (
            pod(usage),
            usage.name,
            f"{usage.cpu_cores * 100:.1f}",
            size(usage.memory_bytes),
            size(usage.disk_bytes),
            short_id(usage.container_id),
        )
        for usage in usages[:room]
    ]
    ready = sum(each.ready for each in pods.values())
    cores, memory = (
        sum(each.cpu_cores for each in usages),
        sum(each.memory_bytes for each in usages),
    )
    if room is not None:
        print(CLEAR, end="")
    print(
        f"{ready} pods ready, {len(usages)} containers: {cores:.2f} cores, {size(memory)} memory\n"
    )
    print_table(("POD", "CONTAINER", "CPU %", "MEMORY", "DISK", "ID"), rows)
    sys.stdout.flush()
