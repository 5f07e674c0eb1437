"""What plugins of the Node Resource Interface cost a pod's start: ``python -m benchmarks nri`` (as
root, with dockerd and the CNI plugins).

Two engines, each with a service of its own, one of them with ``--nri-disable``. In each round a
pod is started on that one, and on the other with no plugin connected and with each of four, one
after the other; the difference to the one where it is disabled is taken within the round."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from statistics import median, quantiles

import anyio

from asupervisor.errors import ServiceError
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api
from asupervisor.remote import RemoteRuntimeService
from benchmarks import own, prepare, report
from benchmarks.lives import TO_NOTHING, TO_STARTED, Pod, Server, turn
from tests.harness.plugins import Adjuster, oci_runtime, plugged


def _limit(adjust: api.ContainerAdjustment) -> None:
    adjust.linux.resources.memory.limit.value = 256 << 20


def _variable(adjust: api.ContainerAdjustment) -> None:
    adjust.env.add(key="BENCHMARK", value="1")


def _hook(adjust: api.ContainerAdjustment) -> None:
    adjust.hooks.poststop.add(path="/bin/true")


PLUGINS: dict[str, Callable[[api.ContainerAdjustment], None]] = {
    "is told everything and wants nothing": lambda adjust: None,
    "sets a limit of memory, which is changed in place": _limit,
    "sets a variable, so that the container is made again": _variable,
    "sets a hook, so that it is made again and gets the OCI runtime": _hook,
}
_DISABLED, _NONE = "disabled", "none is connected"
_SUMS = {
    "to a started container": TO_STARTED,
    "CreateContainer": ("CreateContainer",),
    "StartContainer": ("StartContainer",),
    "to nothing left": TO_NOTHING,
}


async def _measure(
    node: own.Node, disabled: own.Node, rounds: int, found: dict[str, list[Pod]]
) -> None:
    run = prepare.new_run()
    async with AsyncExitStack() as stack:
        servers = []
        for one in (node, disabled):
            logs = one.service.directory / "pods"
            logs.mkdir()
            runtime = await stack.enter_async_context(
                RemoteRuntimeService.connect(one.service.endpoint, 60)
            )
            await stack.enter_async_context(prepare.removing(runtime, run))
            servers.append(Server(runtime, own.IMAGE, logs, run))
            await turn(servers[-1], 1, 1)  # the first pod makes the bridge
        for number in range(rounds):
            names = [_DISABLED, _NONE, *PLUGINS]
            for name in names if number % 2 else names[::-1]:
                plugins = [Adjuster(PLUGINS[name])] if name in PLUGINS else []
                async with plugged(node.service.directory, *plugins):
                    pods = await turn(servers[name == _DISABLED], 1, 1)
                found.setdefault(name, []).extend(pods)


def _row(name: str, pods: list[Pod], without: list[Pod]) -> list[str]:
    cells = [name]
    for steps in _SUMS.values():
        more = [
            one.sum_ms(steps) - other.sum_ms(steps)
            for one, other in zip(pods, without, strict=True)
        ]
        low, _, high = quantiles(more, n=4)
        cells.append(f"{median(more):+.1f} ({low:+.1f}, {high:+.1f})")
    return cells


def main(given: list[str]) -> int:
    """Measure and print; 2 when it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks nri", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="at least 2 (40)")
    rounds, found = max(2, parser.parse_args(given).rounds), dict[str, list[Pod]]()
    try:
        with own.node(cni=True) as node, own.node(cni=True) as disabled:
            service = node.service
            service.stop()
            directory = service.directory / "nri"
            directory.mkdir(mode=0o700)
            service.flags += (
                f"--nri-socket-path={directory}/nri.sock",
                f"--nri-plugin-path={directory}/plugins",
                f"--nri-plugin-config-path={directory}/conf.d",
            )
            with oci_runtime(node.engine, service.directory):
                service.start()
                measure = partial(_measure, node, disabled, rounds, found)
                anyio.run(measure, backend_options={"use_uvloop": True})
    except* (ServiceError, OSError) as group:
        sys.stderr.write(f"could not measure: {'; '.join(map(str, group.exceptions))}\n")
        found.clear()
    if not found:
        return 2
    without = found.pop(_DISABLED)
    sums = [report.spread([pod.sum_ms(steps) for pod in without]) for steps in _SUMS.values()]
    rows = [[_DISABLED, *sums]]
    rows += [_row(name, found[name], without) for name in (_NONE, *PLUGINS)]
    print(
        f"{rounds} rounds; load average {os.getloadavg()[0]:.1f}; ms, and quartiles of the rounds\n"
    )
    print(report.table(["the plugin", *_SUMS], rows))
    return 0
