"""What a tenant, or a tool beside the service, does to get at a node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.pods import SLEEPER, container_config, pod_config


@dataclass
class TenantPod:
    """A pod with one container, as kubelet would make it."""

    supervisor: Supervisor
    config: cri.PodSandboxConfig
    sandbox_id: str
    container_id: str = ""

    async def create(self, container: cri.ContainerConfig) -> str:
        """Create and start a container; returns its id."""
        runtime = self.supervisor.runtime
        self.container_id = await runtime.create_container(self.sandbox_id, container, self.config)
        await runtime.start_container(self.container_id)
        return self.container_id

    async def status(self) -> cri.ContainerStatus:
        """Of the container that was made last."""
        return (await self.supervisor.runtime.container_status(self.container_id)).status

    async def remove(self) -> None:
        """Stop and remove the pod."""
        await self.supervisor.runtime.stop_pod_sandbox(self.sandbox_id)
        await self.supervisor.runtime.remove_pod_sandbox(self.sandbox_id)


async def run_pod(
    supervisor: Supervisor, name: str, image: str = "", logs: Path | None = None, **fields: Any
) -> TenantPod:
    """Run ``default/<name>``.

    Args:
        image: of its container; no container is made where it is empty.
        logs: the pod's log directory.
        fields: further ones of the container config.
    """
    config = pod_config(name, log_directory=logs)
    pod = TenantPod(supervisor, config, await supervisor.runtime.run_pod_sandbox(config))
    if image:
        container = container_config(**fields)
        container.image.image = image
        await pod.create(container)
    return pod


def docker_run(
    engine: Engine,
    image: str,
    name: str = "",
    labels: dict[str, str] | None = None,
    command: tuple[str, ...] = SLEEPER,
    start: bool = True,
) -> str:
    """``docker run -d``: a container made past the service; returns its id."""
    body = {
        "Image": image,
        "Cmd": list(command),
        "Labels": labels or {},
        "HostConfig": {"NetworkMode": "none"},
    }
    query = f"?name={name}" if name else ""
    status, answer = engine.request("POST", f"/containers/create{query}", body)
    assert status == 201, answer
    container_id: str = answer["Id"]
    if start:
        status, answer = engine.request("POST", f"/containers/{container_id}/start")
        assert status == 204, answer
    return container_id


def docker_rm(engine: Engine, container_id: str) -> None:
    """``docker rm -f``."""
    status, answer = engine.request("DELETE", f"/containers/{container_id}?force=1&v=1")
    assert status in (204, 404), answer


def docker_commit(engine: Engine, container_id: str, tag: str) -> str:
    """``docker commit``; returns the reference of the new image."""
    repository = "asupervisor.test/committed"
    status, answer = engine.request(
        "POST", f"/commit?container={container_id}&repo={repository}&tag={tag}", {}
    )
    assert status == 201, answer
    return f"{repository}:{tag}"


def labels_of(engine: Engine, container_id: str) -> dict[str, str]:
    """A container's labels as the engine has them, its image's included."""
    found: dict[str, str] = engine.inspect(container_id)["Config"]["Labels"]
    return found
