"""Runs the checks side by side, each with a deadline, so that a check that hangs or fails affects
only its own line."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from asupervisor.conditions import Reason
from asupervisor.config import MANAGED_ENGINE
from asupervisor.doctor.checks import CHECKS
from asupervisor.doctor.finding import Check, Finding, Found, Level, error, warning
from asupervisor.doctor.kubelet import configuration_places
from asupervisor.doctor.node import Node
from asupervisor.engine.client import EngineClient
from asupervisor.engine.endpoint import resolve_endpoint, socket_path
from asupervisor.engine.managed import ManagedEngine
from asupervisor.engine.probe import explain
from asupervisor.errors import DeadlineExceeded, ServiceError
from asupervisor.host.lanes import Lane
from asupervisor.host.peers import listener_process
from asupervisor.kubelet_config import read_kubelet_configuration
from asupervisor.remote import RemoteRuntimeService
from asupervisor.words import bounded_line

_LINE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """A finding, and the name of its check."""

    check: str
    finding: Finding


async def examine(node: Node, checks: Sequence[Check] = CHECKS) -> list[Line]:
    """Ask the engine and the service, then run every check.

    Args:
        node: to be checked; its fields for engine and service are filled in.
        checks: which ones.

    Returns:
        The lines in the order of the checks.
    """
    engine = _engine(node)
    lane = Lane("look at it", width=len(checks) + 2, deadline_s=node.deadline_s)
    found: dict[str, list[Finding]] = {}
    await engine.open()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_ask_engine, node, engine)
            tasks.start_soon(_ask_service, node, lane)
            tasks.start_soon(_read_kubelet, node, lane)
        async with anyio.create_task_group() as tasks:

            async def run(check: Check) -> None:
                found[check.name] = await _run(check, node, lane)

            for check in checks:
                tasks.start_soon(run, check)
    finally:
        await engine.close()
    return [Line(check.name, finding) for check in checks for finding in found[check.name]]


def worst(lines: Sequence[Line]) -> Level:
    """The worst level among them."""
    return max((line.finding.level for line in lines), default=Level.OK)


async def _run(check: Check, node: Node, lane: Lane) -> list[Finding]:
    try:
        answer = await lane.run(check.name, _in_a_thread, check, node)
    except (DeadlineExceeded, TimeoutError):
        answer = error(
            f"this check did not end within {node.deadline_s:g} s",
            "something that it looks at hangs: a file system (findmnt), a plugin, or the engine",
        )
    except PermissionError as refused:
        answer = warning(f"no permission to look at {refused.filename or 'it'}", "run this as root")
    except OSError as failure:
        answer = error(f"{failure.filename or 'it'} cannot be looked at: {failure}", "repair it")
    except ServiceError as failure:
        answer = error(str(failure), "correct what it names")
    except Exception as failure:  # it could not understand what it read; the other checks go on
        answer = error(
            f"this check failed: {type(failure).__name__}: {failure}",
            "report it with this line: the check could not understand what it read",
        )
    listed = answer if isinstance(answer, list) else [answer]
    return [
        Finding(
            one.level, bounded_line(one.message, _LINE_BYTES), bounded_line(one.remedy, _LINE_BYTES)
        )
        for one in listed
    ]


def _in_a_thread(check: Check, node: Node) -> Found:
    """Run a check in a thread. A coroutine gets a loop of its own there, since it may hang too."""
    answer = check.look(node)
    if not inspect.isawaitable(answer):
        return answer

    async def wait() -> Found:
        with anyio.fail_after(node.deadline_s):  # so that no program is left behind
            return await answer

    return anyio.run(wait)


def _engine(node: Node) -> EngineClient:
    if node.config.docker_endpoint != MANAGED_ENGINE:
        return EngineClient(resolve_endpoint(node.config.docker_endpoint), node.deadline_s)
    endpoint = ManagedEngine(Path(node.config.root_directory)).endpoint
    absent = (Reason.ENGINE_STARTING, f"the service's own dockerd does not answer at {endpoint}")
    return EngineClient(endpoint, node.deadline_s, diagnose=lambda _: absent)


async def _read_kubelet(node: Node, lane: Lane) -> None:
    try:
        if not (node.kubelet_path or node.kubelet_directory):
            places = await lane.run("kubelet", configuration_places, node)
            node.kubelet_path, node.kubelet_directory = places
        path, directory = (
            place and node.path(place) for place in (node.kubelet_path, node.kubelet_directory)
        )
        node.kubelet = await lane.run(
            path or directory, read_kubelet_configuration, path, directory
        )
    except FileNotFoundError as failure:
        if node.kubelet_directory:  # kubelet was told of it
            node.kubelet_failure = failure
    except (OSError, ServiceError) as failure:
        node.kubelet_failure = failure


async def _ask_engine(node: Node, engine: EngineClient) -> None:
    try:
        await engine.system.ping(node.deadline_s)
        await engine.identify(node.deadline_s)
    except ServiceError as failure:
        node.engine_problem = explain(failure)
    else:
        node.engine = engine


async def _ask_service(node: Node, lane: Lane) -> None:
    path = socket_path(node.config.runtime_endpoint)
    try:
        pid = None if path is None else await lane.run(path, listener_process, path)
        if pid is None:
            return
        behind = f"{node.config.root_directory}/cri.sock"  # if the first socket is systemd's
        node.service_pid = await lane.run(behind, listener_process, behind) or pid
        async with RemoteRuntimeService.connect(
            node.config.runtime_endpoint, node.deadline_s
        ) as runtime:
            conditions = (await runtime.status()).status.conditions
    except ServiceError as failure:
        node.service_problem = str(failure)
        return
    node.service_conditions = [
        (condition.type, condition.reason, condition.message)
        for condition in conditions
        if not condition.status
    ]
