"""What ``top`` asks of a server, again and again, and the rows that it makes of the answers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from asupervisor.addresses import parse_bind_address
from asupervisor.cli.output import readiness, verbose_information
from asupervisor.cli.running import settings
from asupervisor.cli.top.screen import PLAIN, RED, Line
from asupervisor.cli.top.table import Row, totals
from asupervisor.client import Client, ContainerInfo, PodInfo, State, Usage
from asupervisor.client.calls import Activity, Counted, between, count_calls
from asupervisor.client.find import newest
from asupervisor.errors import ConfigError, ServiceError, Unimplemented
from asupervisor.observability.page.words import latency
from asupervisor.words import one_line

Counter = tuple[int, int]
"""Time of a reading in nanoseconds, and the number that was read, which only grows."""


@dataclass(frozen=True, slots=True)
class Look:
    """A server at one moment.

    Args:
        pods: each with the newest attempt of each of its containers.
        containers: by id.
        usages: of running containers.
        head: lines above the table.
    """

    pods: Sequence[Row]
    containers: Mapping[str, ContainerInfo]
    usages: Sequence[Usage]
    head: Sequence[Line]

    def meant(self, row: Row | None) -> tuple[ContainerInfo, str] | None:
        """The container of a row, and its ``POD/NAME``; for a pod's row its first running
        container, by name.
        """
        pods = {part.id: pod for pod in self.pods for part in pod.parts}
        parts = [] if row is None else row.parts if row.is_pod else [row]
        known = [part for part in parts if part.id in pods]
        if not known:
            return None
        part = min(known, key=lambda each: (not each.is_well, each.name))
        return self.containers[part.id], one_line(f"{pods[part.id].name}/{part.name}")


class Rates:
    """How fast counters grow, by the times of their readings."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Counter, float | None]] = {}

    def take(self, counters: Mapping[str, Counter]) -> dict[str, float | None]:
        """The growth a second of each counter since its last reading; None if that is unknown, as
        after a counter began anew. A counter that is missing is forgotten.
        """
        self._last = {key: self._next(key, counter) for key, counter in counters.items()}
        return {key: rate for key, (_, rate) in self._last.items()}

    def _next(self, key: str, counter: Counter) -> tuple[Counter, float | None]:
        last = self._last.get(key)
        if last is None or counter[1] < last[0][1]:
            return counter, None
        passed_ns = counter[0] - last[0][0]
        if passed_ns <= 0:  # the server gave the same reading again
            return last
        return counter, (counter[1] - last[0][1]) * 1e9 / passed_ns


class Looks:
    """Asks one server.

    Args:
        client: of it.
        endpoint: its address.
    """

    def __init__(self, client: Client, endpoint: str) -> None:
        self._client = client
        self._endpoint = endpoint
        self._received, self._sent = Rates(), Rates()
        self._is_ours = True
        self._metrics: tuple[str, int] | None = None
        self._counted: tuple[float, tuple[Counted, Counted]] | None = None
        self._seeks_metrics = True

    async def look(self) -> Look:
        """Ask the server how it is now.

        Raises:
            ServiceError: as the server answers.
        """
        client = self._client
        pods, containers, usages = (
            await client.pods(),
            await client.containers(),
            await client.stats(),
        )
        stats, missing = await self._pod_stats()
        networks = {pod_id: _network(each) for pod_id, each in stats.items()}
        received = self._received.take({key: (at, each) for key, (at, each, _) in networks.items()})
        sent = self._sent.take({key: (at, each) for key, (at, _, each) in networks.items()})
        parts = container_rows(containers, {each.container_id: each for each in usages})
        rows = [
            pod_row(
                pod,
                stats.get(pod.id),
                parts.get(pod.id, ()),
                received.get(pod.id),
                sent.get(pod.id),
            )
            for pod in pods
        ]
        head = [*await self._server(), (PLAIN, totals(rows)), *missing, *await self._activity()]
        return Look(rows, {each.id: each for each in containers}, usages, head)

    async def _pod_stats(self) -> tuple[dict[str, Any], list[Line]]:
        """The stats of pods by id, and a line if they failed; containers are shown all the same."""
        try:
            found = await self._client.runtime.list_pod_sandbox_stats(stream=True)
        except Unimplemented:
            return {}, []
        except ServiceError as error:
            return {}, [(RED, f"pods are shown as sums of their containers: {error}")]
        return {each.attributes.id: each.linux for each in found}, []

    async def _server(self) -> list[Line]:
        """Lines about the server: what it is, and whether it and its engine are ready."""
        runtime = self._client.runtime
        version = await runtime.version()
        status = await runtime.status(verbose=self._is_ours)
        about = verbose_information(status.info).get("info")
        engine = about.get("engine") if isinstance(about, dict) else None
        self._is_ours = isinstance(engine, dict) and "readinessChanges" in engine
        name = "asupervisor, Docker Engine" if self._is_ours else version.runtime_name
        what = f"{name} {version.runtime_version} at {self._endpoint}"
        troubles = [
            f"{each.type} is false: {each.reason}: {each.message}"
            for each in status.status.conditions
            if not each.status
        ]
        return [(PLAIN, what if troubles else f"{what}: ready"), *((RED, one) for one in troubles)]

    async def _activity(self) -> list[Line]:
        """A line about its calls, if it is this project's service with metrics on this node."""
        if not self._is_ours:
            return []
        if self._seeks_metrics:
            self._seeks_metrics = False
            self._metrics = metrics_address(self._endpoint)
        if self._metrics is None:
            return []
        try:
            now = time.monotonic(), await count_calls(*self._metrics)
        except ServiceError as error:
            return [(RED, str(error))]
        before, self._counted = self._counted, now
        if before is None:
            return [(PLAIN, "calls: counted from now on")]
        passed_s = now[0] - before[0]
        kinds = zip(("calls", "engine"), before[1], now[1], strict=True)
        said = [activity(name, between(old, new, passed_s)) for name, old, new in kinds]
        return [(PLAIN, "    ".join(filter(None, said)))]


def metrics_address(endpoint: str) -> tuple[str, int] | None:
    """The metrics address of the service behind a socket of this node; None if it serves none, or
    the port is unknown.
    """
    if not endpoint.startswith("unix:"):
        return None
    with suppress(ConfigError):
        if address := settings(endpoint, [], os.environ).metrics_bind_address:
            host, port = parse_bind_address(address, "--metrics-bind-addr")
            return (host, port) if port else None
    return None


def activity(name: str, done: Activity | None) -> str:
    """One kind of calls in words; empty if nothing is known."""
    if done is None:
        return ""
    said = f"{name}: {done.per_s:.1f}/s"
    if done.half_s is not None and done.most_s is not None:
        said += f", half within {latency(done.half_s)}, 99 % within {latency(done.most_s)}"
    return f"{said}, {done.failed_per_s:.1f}/s failed" if done.failed_per_s else said


def container_rows(
    containers: Iterable[ContainerInfo], usages: Mapping[str, Usage]
) -> dict[str, list[Row]]:
    """By the pod's id, the newest attempt of each container."""
    attempts: dict[tuple[str, str], list[ContainerInfo]] = {}
    for each in containers:
        attempts.setdefault((each.pod_id, each.name), []).append(each)
    rows: dict[str, list[Row]] = {}
    for (pod_id, _), every in attempts.items():
        container = newest(every)
        usage = usages.get(container.id)
        figures: dict[str, Any] = {}
        if usage is not None:
            figures = {
                "cpu_cores": usage.cpu_cores,
                "memory_bytes": usage.memory_bytes,
                "disk_bytes": usage.disk_bytes,
                "pressure": _pressure(usage.raw),
            }
        row = Row(
            id=container.id,
            name=container.name,
            state=container.state.title(),
            is_well=container.state is State.RUNNING,
            restarts=container.attempt,
            **figures,
        )
        rows.setdefault(pod_id, []).append(row)
    return rows


def pod_row(
    pod: PodInfo,
    stats: Any,
    parts: Sequence[Row],
    received_per_s: float | None = None,
    sent_per_s: float | None = None,
) -> Row:
    """A pod; without ``stats``, a ``cri.LinuxPodSandboxStats``, as the sum of its containers."""
    if stats is None:
        cores = sum(part.cpu_cores for part in parts)
        memory = sum(part.memory_bytes for part in parts)
    else:
        cores = stats.cpu.usage_nano_cores.value / 1e9
        memory = stats.memory.working_set_bytes.value
    return Row(
        id=pod.id,
        name=f"{pod.namespace}/{pod.name}",
        state=readiness(pod),
        is_well=pod.ready,
        is_pod=True,
        restarts=pod.attempt,
        cpu_cores=cores,
        memory_bytes=memory,
        disk_bytes=sum(part.disk_bytes for part in parts),
        received_per_s=received_per_s,
        sent_per_s=sent_per_s,
        pressure=None if stats is None else _pressure(stats),
        parts=tuple(parts),
    )


def _network(stats: Any) -> tuple[int, int, int]:
    """Time of the reading, and bytes received and sent over all interfaces."""
    network = stats.network
    interfaces = (network.default_interface, *network.interfaces)
    return (
        network.timestamp,
        sum(each.rx_bytes.value for each in interfaces),
        sum(each.tx_bytes.value for each in interfaces),
    )


def _pressure(stats: Any) -> tuple[float, float, float] | None:
    if not any(each.HasField("psi") for each in (stats.cpu, stats.memory, stats.io)):
        return None
    return (
        stats.cpu.psi.Some.Avg10,
        stats.memory.psi.Some.Avg10,
        stats.io.psi.Some.Avg10,
    )
