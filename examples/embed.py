"""The node service inside another asynchronous program: ``embed.py ENGINE DIRECTORY IMAGE``.

Starts a supervisor, runs one pod through it and stops. Here the host is
asyncio; any anyio program does the same.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from asupervisor import Config, Supervisor
from asupervisor.config import NetworkConfig
from asupervisor.proto import cri


async def main(engine: str, directory: Path, image: str) -> int:
    config = Config(
        runtime_endpoint=f"unix://{directory}/cri.sock",
        docker_endpoint=engine,
        root_directory=str(directory / "root"),
        pod_infra_container_image="embedded",
        network=NetworkConfig(plugin="no-op"),
    )
    async with Supervisor(config) as supervisor:
        print(supervisor.summary)
        if not supervisor.ready:
            print("not ready:", "; ".join(supervisor.not_ready_reasons))
            return 1
        # The host's own tasks run beside it in the same loop.
        exit_code, _ = await asyncio.gather(
            run_once(supervisor, image, ["echo", "hello from a pod"]), other_work()
        )
        print("exit code:", exit_code)
    print("stopped")
    return 0


async def run_once(supervisor: Supervisor, image: str, command: list[str]) -> int:
    """Run a command in a pod of its own and return its exit code."""
    runtime = supervisor.runtime
    sandbox_config = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name="embedded", namespace="default", uid="1")
    )
    sandbox_id = await runtime.run_pod_sandbox(sandbox_config)
    try:
        config = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name="once"),
            image=cri.ImageSpec(image=image),
            command=command,
        )
        container_id = await runtime.create_container(sandbox_id, config, sandbox_config)
        await runtime.start_container(container_id)
        while True:
            status = (await runtime.container_status(container_id)).status
            if status.state == cri.CONTAINER_EXITED:
                return int(status.exit_code)
            await asyncio.sleep(0.05)
    finally:
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)


async def other_work() -> None:
    """Whatever else the host does."""
    await asyncio.sleep(0.1)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])))
