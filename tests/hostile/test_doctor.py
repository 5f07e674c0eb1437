"""What asupervisor doctor says of a node is not said by a process in a container."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import until
from tests.harness.service import service_config
from tests.hostile.tenants import TenantPod, run_pod

_WAIT = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


async def _called(
    supervisor: Supervisor, directory: Path, name: str, script: str, *words: str
) -> TenantPod:
    """A pod whose process has a name and words of its own making."""
    script = f"{script} echo {name} > /proc/$$/comm; echo done; {_WAIT}"
    pod = await run_pod(
        supervisor,
        "pretender",
        BUSYBOX_IMAGE,
        directory / "logs",
        command=("sh", "-c", script, *words),
        log_path="main.log",
    )
    log = directory / "logs" / "main.log"
    await until(lambda: log.exists() and b"done" in log.read_bytes(), "it has its name")
    return pod


def _doctor(engine: Engine, directory: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "asupervisor", "doctor", "-o", "json", "--timeout", "20s"]
    command += ["--endpoint", f"unix://{directory}/none.sock", "--", "--network-plugin", "no-op"]
    command += ["--docker-endpoint", engine.endpoint, "--root-directory", str(directory / "none")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found: list[dict[str, Any]] = json.loads(told.stdout)["checks"]
    return found


async def test_a_process_that_calls_itself_kubelet_names_no_file_of_the_host(
    engine: Engine, directory: Path
) -> None:
    lie = directory / "config.yaml"
    lie.write_text("kind: KubeletConfiguration\ncontainerRuntimeEndpoint: unix:///run/lie.sock\n")
    async with Supervisor(service_config(engine, directory)) as supervisor:
        pod = await _called(supervisor, directory, "kubelet", "", "x", "--config", str(lie))
        found = _doctor(engine, directory)
        await pod.remove()
    assert not [one for one in found if "lie.sock" in one["message"]]
    assert not [one for one in found if str(lie) in one["message"]]


async def test_a_process_that_calls_itself_another_shim_is_none(
    engine: Engine, directory: Path
) -> None:
    """Neither by its name, nor by a link in its container that only outside leads to the engine."""
    socket = engine.endpoint.removeprefix("unix://")
    async with Supervisor(service_config(engine, directory)) as supervisor:
        pod = await _called(
            supervisor,
            directory,
            "cri-dockerd",
            f"ln -s {socket} /engine.sock;",
            "asupervisor",
            "--docker-endpoint",
            "unix:///engine.sock",
        )
        process = engine.inspect(pod.container_id)["State"]["Pid"]
        found = _doctor(engine, directory)
        await pod.remove()
    assert not [one for one in found if f"process {process}" in one["message"]]
