"""The example of an embedding program, and the streams of a supervisor that is told to stop."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.abc
import pytest

from asupervisor.config import StreamingConfig
from asupervisor.proto import cri
from asupervisor.streaming.client import open_command
from asupervisor.streaming.status import ExitStatus
from asupervisor.supervisor import Supervisor
from examples.embed_streams import serve
from tests.harness.client import read_until, run_command
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.service import service_config


async def container(supervisor: Supervisor) -> str:
    """A pod with a container that sleeps."""
    config = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name="embed", namespace="default", uid="uid-embed")
    )
    sandbox_id = await supervisor.runtime.run_pod_sandbox(config)
    container_id = await supervisor.runtime.create_container(
        sandbox_id,
        cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name="c"),
            image=cri.ImageSpec(image=BUSYBOX_IMAGE),
            command=["sleep", "1000"],
        ),
        config,
    )
    await supervisor.runtime.start_container(container_id)
    return container_id


@pytest.mark.parametrize("websocket", [False, True], ids=["spdy", "websocket"])
async def test_an_embedding_program_serves_the_streams_on_its_own_port(
    engine: Engine, tmp_path: Path, websocket: bool
) -> None:
    try:
        config = service_config(engine, tmp_path, streaming=StreamingConfig(redirect=True))
        async with Supervisor(config) as supervisor, anyio.create_task_group() as tasks:
            port = await tasks.start(serve, supervisor, 0)
            path = await supervisor.runtime.exec(await container(supervisor), ["cat"], stdin=True)
            result = await run_command(
                f"http://127.0.0.1:{port}{path}", given=b"through the program", websocket=websocket
            )
            assert (result.stdout, result.status.exit_code) == (b"through the program", 0)
            tasks.cancel_scope.cancel()
    finally:
        engine.remove_all()


async def test_stopping_closes_a_session_that_does_not_end_and_kills_its_command(
    engine: Engine, tmp_path: Path
) -> None:
    def commands(container_id: str) -> str:
        return str(
            engine.request("GET", f"/containers/{container_id}/top?ps_args=-eo%20pid,args")[1]
        )

    ends: list[ExitStatus] = []

    async def client(url: str, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with open_command(url, stdin=True) as command:
            await read_until(command.stdout, b"up")
            task_status.started()
            ends.append(await command.wait())

    try:
        config = service_config(engine, tmp_path, shutdown_grace_s=0.5)
        async with anyio.create_task_group() as tasks, Supervisor(config) as supervisor:
            container_id = await container(supervisor)
            url = await supervisor.runtime.exec(
                container_id, ["sh", "-c", "echo up; sleep 4711"], stdin=True
            )
            await tasks.start(client, url)
            assert "sleep 4711" in commands(container_id)
        assert [status.is_success for status in ends] == [False]
        assert "sleep 4711" not in commands(container_id)
    finally:
        engine.remove_all()
