"""The service in a process that dies by SIGKILL right after a step of a change: ``python -m
tests.harness.dying_service STEP CONFIG``.

``CONFIG`` is a JSON object: ``socket``, ``engine``, ``root``, and ``network``, the settings of the
network where it is not the engine's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import anyio

from asupervisor.config import Config, NetworkConfig, NriConfig
from asupervisor.supervisor import Supervisor


async def main(fatal: str, settings: dict[str, Any]) -> None:
    """Serve until that step."""

    async def on_step(step: str) -> None:
        if step == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    config = Config(
        runtime_endpoint=f"unix://{settings['socket']}",
        docker_endpoint=settings["engine"],
        root_directory=settings["root"],
        nri=NriConfig(disable=True),
        pod_infra_container_image="embedded",
        network=NetworkConfig(**(settings.get("network") or {"plugin": "no-op"})),
    )
    async with Supervisor(config, on_step=on_step) as supervisor:
        print(f"ready: {supervisor.summary}", file=sys.stderr, flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], json.loads(sys.argv[2]), backend_options={"use_uvloop": True})
