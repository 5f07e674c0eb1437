"""The node service inside another asynchronous program: ``embed.py ENGINE DIRECTORY IMAGE``.

It starts a supervisor, runs one pod with the client and stops. This program uses asyncio; with
anyio it would look the same.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from asupervisor import Config, Supervisor
from asupervisor.client import Client
from asupervisor.config import NetworkConfig


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
        # The client uses the supervisor's own connections.
        async with Client.connect(supervisor, log_root=str(directory / "logs")) as client:
            # The program's own tasks run beside it in the same loop.
            await asyncio.gather(run_once(client, image), other_work())
    print("stopped")
    return 0


async def run_once(client: Client, image: str) -> None:
    """Run a command in a pod of its own."""
    async with client.pod(image, ["echo", "hello from a pod"]) as pod:
        async for line in pod.logs(follow=True):
            print(line.text)
        print("exit code:", (await pod.wait()).exit_code)


async def other_work() -> None:
    """What else the program does."""
    await asyncio.sleep(0.1)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])))
