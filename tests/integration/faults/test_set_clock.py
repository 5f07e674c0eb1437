"""The node's clock is set forward and back under the service, by days and by years: every call
ends, rates, events and logs go on, and no time in an answer is out of order that the engine has in
order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.bridged_node import COUNTER, Pod, run_pod
from tests.harness.engine import Engine
from tests.harness.pods import until
from tests.harness.service import Service

_DAY_S = 24 * 3600
_SHIFTS_S = (_DAY_S, -2 * _DAY_S, 3650 * _DAY_S, -3650 * _DAY_S, 0)
_BUSY = ("sh", "-c", "while :; do :; done")


class ShiftedService(Service):
    """A service whose clock is as a file says, by the interpreter."""

    @property
    def command(self) -> list[str]:
        """The command line of the service with that clock."""
        command = super().command
        command[2] = "tests.harness.shifted_service"
        return command


@pytest.fixture(params=["interpreter", "C library"])
def clocked(
    request: pytest.FixtureRequest, engine: Engine, directory: Path
) -> Iterator[tuple[Service, Callable[[int], None]]]:
    """A service, and what sets its clock: for what Python reads, or for all that calls the C
    library.
    """
    offset = directory / "clock"

    def shift(seconds: int) -> None:
        aside = directory / ".clock"
        aside.write_text(f"{seconds:+}")
        aside.rename(offset)

    shift(0)
    made = ShiftedService if request.param == "interpreter" else Service
    running = made(engine, directory)
    running.environment["ASUPERVISOR_CLOCK"] = str(offset)
    if request.param == "C library":
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            pytest.skip("needs libfaketime")
        running.environment |= {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
    running.start()
    yield running, shift
    assert running.stop() == 0


async def _a_life(runtime: RemoteRuntimeService, logs: Path, name: str) -> Pod:
    """A pod through the whole of its life, its times in order."""
    pod = await run_pod(runtime, name, logs)
    echo = await runtime.exec_sync(pod.container, ["echo", "here"], exec_timeout_s=60)
    assert echo.stdout == b"here\n"
    await runtime.stop_container(pod.container, 10)
    status = (await runtime.container_status(pod.container)).status
    assert 0 < status.created_at <= status.started_at <= status.finished_at
    assert (await runtime.pod_sandbox_status(pod.sandbox)).status.created_at <= status.created_at
    await runtime.stop_pod_sandbox(pod.sandbox)
    await runtime.remove_pod_sandbox(pod.sandbox)
    return pod


async def _rate(runtime: RemoteRuntimeService, container: str) -> int:
    """The cores that a container uses, in nanocores; 0 where none is given."""
    stats = await runtime.container_stats(container)
    assert stats.cpu.timestamp > 0 and stats.memory.timestamp > 0
    assert stats.cpu.usage_core_nano_seconds.value > 0
    return int(stats.cpu.usage_nano_cores.value)


def _possible(rate: int) -> bool:
    """Whether a loop that never waits can have that rate on a machine that is as busy as it may
    be.
    """
    return 1_000_000 < rate < 1_200_000_000


async def test_everything_goes_on(
    clocked: tuple[Service, Callable[[int], None]], engine: Engine, directory: Path
) -> None:
    service, shift = clocked
    logs = directory / "pods"
    events: list[cri.ContainerEventResponse] = []

    async def listen(runtime: RemoteRuntimeService) -> None:
        async for event in runtime.get_container_events():
            events.append(event)

    def told_of(pod: Pod) -> list[int]:
        return [one.container_event_type for one in events if one.container_id == pod.container]

    def all_told(pod: Pod) -> bool:
        return len(told_of(pod)) == 4

    async def _rotated(runtime: RemoteRuntimeService, pod: Pod) -> list[int]:
        """Rotate its log, as kubelet does, and return what is in the old file."""
        counted = len(pod.numbers())
        await until(lambda: len(pod.numbers()) > counted, "it goes on")
        old = pod.log.rename(pod.log.with_name("old"))
        await runtime.reopen_container_log(pod.container)
        numbers = Pod(pod.config, pod.sandbox, pod.container, old).numbers()
        old.unlink()
        return numbers

    async with (
        RemoteRuntimeService.connect(service.endpoint, 60) as runtime,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listen, runtime)
        stays = await run_pod(runtime, "stays", logs, COUNTER)
        busy = await run_pod(runtime, "busy", logs, _BUSY)
        before = (await runtime.container_status(stays.container)).status

        async def has_a_rate() -> bool:
            return _possible(await _rate(runtime, busy.container))

        await until(has_a_rate, "a first rate")
        written: list[int] = []
        for number, seconds in enumerate(_SHIFTS_S):
            shift(seconds)
            with anyio.fail_after(180):
                pod = await _a_life(runtime, logs, f"life{number}")
                await until(partial(all_told, pod), "its events")
                assert told_of(pod) == [0, 1, 2, 3]
                for _ in range(3):
                    rate = await _rate(runtime, busy.container)
                    assert _possible(rate), rate
                assert (await runtime.pod_sandbox_status(stays.sandbox)).timestamp > 0
                now = (await runtime.container_status(stays.container)).status
                assert now == before
                conditions = (await runtime.status()).status.conditions
                assert all(condition.status for condition in conditions)
                written += await _rotated(runtime, stays)
        await runtime.stop_container(stays.container, 10)
        written += stays.numbers()
        assert written == stays.engine_numbers(engine) == list(range(len(written)))
        for one in (stays, busy):
            await runtime.stop_pod_sandbox(one.sandbox)
            await runtime.remove_pod_sandbox(one.sandbox)
        times = [event.created_at for event in events]
        assert times[0] > 0 and times == sorted(set(times))
        tasks.cancel_scope.cancel()
