"""Who floods the service, with output, connections or frames, is served slowly or cut off; the
neighbours do not notice.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import anyio
import anyio.abc
import pytest

from asupervisor.errors import NotFound
from asupervisor.proto import cri
from asupervisor.streaming.client import open_command
from asupervisor.streaming.dial import upgrade
from asupervisor.streaming.spdy import frames
from asupervisor.supervisor import Supervisor
from tests.harness.client import read_until, run_command
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import until
from tests.harness.service import service_config
from tests.harness.silent_caller import call_and_stay_silent
from tests.hostile.tenants import run_pod
from tests.integration.streaming.test_silent_connections import flood
from tests.unit.streaming.test_fair_turns import filled, masked

CRUMBS = "i=0; while [ $i -lt 3000 ]; do printf o; printf e >&2; i=$((i+1)); done"


async def test_output_in_crumbs_comes_whole_and_a_probe_beside_it(
    engine: Engine, directory: Path
) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "crumbs", BUSYBOX_IMAGE)
        runtime = supervisor.runtime

        async def crumbs() -> None:
            answer = await runtime.exec_sync(pod.container_id, ("sh", "-c", CRUMBS), 120)
            assert (answer.stdout, answer.stderr) == (b"o" * 3000, b"e" * 3000)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(crumbs)
            answer = await runtime.exec_sync(pod.container_id, ("echo", "alive"), 60)
            assert answer.stdout == b"alive\n"
        await pod.remove()


async def test_commands_that_write_without_end_leave_a_probe_its_answer(
    engine: Engine, directory: Path
) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "greedy", BUSYBOX_IMAGE)
        runtime = supervisor.runtime
        sizes: list[int] = []

        async def greedy() -> None:
            command = ("dd", "if=/dev/zero", "bs=1M", "count=20")
            answer = await runtime.exec_sync(pod.container_id, command, 120)
            assert answer.exit_code == 0 and b"[output cut: " in answer.stdout[-100:]
            sizes.append(len(answer.stdout))

        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(greedy)
            answer = await runtime.exec_sync(pod.container_id, ("echo", "alive"), 120)
            assert answer.stdout == b"alive\n"
        assert len(sizes) == 6 and max(sizes) <= 16 << 20
        await pod.remove()


async def test_answers_that_nobody_reads_count_until_their_calls_end(
    engine: Engine, directory: Path
) -> None:
    """So all outputs together stay within their bound, whatever clients do with them."""
    async with Supervisor(service_config(engine, directory)) as supervisor:
        assert supervisor.shim is not None
        pod = await run_pod(supervisor, "unread", BUSYBOX_IMAGE)
        budget = supervisor.shim.outputs
        whole = budget.left
        figures = supervisor.metrics.rpc("ExecSync")
        command = ["dd", "if=/dev/zero", "bs=1M", "count=15"]
        request = cri.ExecSyncRequest(container_id=pod.container_id, cmd=command)
        callers = [
            call_and_stay_silent(
                str(directory / "cri.sock"), "/runtime.v1.RuntimeService/ExecSync", request
            )
            for _ in range(8)
        ]
        try:
            await until(lambda: figures.codes["OK"] == 8, "all commands have ended", 120)
            assert budget.left == 0
            answer = await supervisor.runtime.exec_sync(pod.container_id, ("echo", "alive"), 60)
            assert answer.stdout == b"alive\n"
        finally:
            for caller in callers:
                caller.close()
        await until(lambda: budget.left == whole, "what they held is given back", 60)
        await pod.remove()


@pytest.mark.parametrize("name", ["x" * 20_000, "ü" * 20_000, "a\nb\x1b[2J\x9b\u2028\u202e"])
async def test_any_name_that_is_not_there_is_not_there(
    engine: Engine, directory: Path, name: str
) -> None:
    async with Supervisor(service_config(engine, directory)) as supervisor:
        for call in (
            supervisor.runtime.container_status,
            supervisor.runtime.start_container,
        ):
            with pytest.raises(NotFound) as failure:
                await call(name)
            assert len(failure.value.message.splitlines()) == 1


async def test_streams_are_served_beside_floods_of_connections_and_frames(
    engine: Engine, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "asupervisor")
    async with Supervisor(service_config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "flooded", BUSYBOX_IMAGE)
        runtime = supervisor.runtime

        async def url() -> str:
            return await runtime.exec(pod.container_id, ["cat"], stdin=True)

        port = int((await url()).split(":")[2].split("/")[0])
        async with open_command(await url(), stdin=True) as command:
            assert command.stdin is not None
            for beginning in (b"", b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01"):
                async with flood(port, 700, beginning):
                    answer = await run_command(await url(), given=b"x")
                    assert answer.stdout == b"x"
            for websocket, piece in (
                (True, masked(9, b"")),
                (True, masked(2, b"")),
                (False, frames.ping(1)),
                (False, frames.settings(65536)),
            ):
                upgraded = await upgrade(await url(), ["v4.channel.k8s.io"], websocket=websocket)
                with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream, OSError):
                    await upgraded.stream.send(filled(piece) * 2)
                    with anyio.fail_after(60):
                        while True:
                            await upgraded.stream.receive()
                await upgraded.stream.aclose()
            await command.stdin.send(b"y")
            await read_until(command.stdout, b"y")
            assert [one.id for one in await runtime.list_containers()] == [pod.container_id]
        await pod.remove()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
