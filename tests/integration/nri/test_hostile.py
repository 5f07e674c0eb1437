"""Plugins that ask for what makes no sense, or for what is not theirs, harm no other pod."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.nri.stub import PluginStub, api
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.plugins import Adjuster, Watcher, config_with_nri, plugged
from tests.harness.pods import container_config, pod_config, until


async def test_annotations_of_a_plugin_make_a_container_nobody_elses(
    engine: Engine, directory: Path
) -> None:
    """Keys of Kubernetes, of the service and of the engine are annotations like others."""
    foreign = {
        "io.kubernetes.pod.uid": "another",
        "io.kubernetes.pod.name": "another",
        "io.kubernetes.sandbox.id": "0" * 64,
        "io.kubernetes.docker.type": "podsandbox",
        "io.kubernetes.container.logpath": "/etc/passwd",
        "annotation.io.kubernetes.pod.uid": "another",
        "com.docker.compose.project": "x\n\x1b[2J",
    }

    pod = pod_config("claimed")
    adjuster = Adjuster(lambda wanted: wanted.annotations.update(foreign))
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, adjuster),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        container_id = await runtime.create_container(sandbox_id, container_config(), pod)
        status = (await runtime.container_status(container_id)).status
        assert dict(status.annotations).items() >= foreign.items()
        labels = engine.inspect(container_id)["Config"]["Labels"]
        obeyed = [key for key, value in foreign.items() if labels.get(key) == value]
        assert obeyed == ["annotation.io.kubernetes.pod.uid"], "how each is kept"
        listed = cri.ContainerFilter(pod_sandbox_id=sandbox_id)
        assert [one.id for one in await runtime.list_containers(listed)] == [container_id]
        assert not status.log_path.startswith("/etc")
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_annotations_that_would_fill_every_list_are_refused(
    engine: Engine, directory: Path
) -> None:
    pod = pod_config("filled")
    adjuster = Adjuster(lambda wanted: wanted.annotations.update(k="x" * (256 << 10)))
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, adjuster),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        with pytest.raises(FailedPrecondition, match="10-adjuster its annotations have 262145"):
            await runtime.create_container(sandbox_id, container_config(), pod)
        assert not await runtime.list_containers()
        await runtime.remove_pod_sandbox(sandbox_id)


class Evicter(PluginStub):
    """Evicts each container while it is created, the container's pod, and nobody."""

    async def create_container(
        self, pod: api.PodSandbox, container: api.Container
    ) -> api.CreateContainerResponse:
        ids = [container.id, container.id, pod.id, "", "nobody\n\x1b[2J"]
        return api.CreateContainerResponse(
            evict=[api.ContainerEviction(container_id=one, reason="no\nroom") for one in ids]
        )


async def test_evictions_reach_containers_alone(
    engine: Engine, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pod = pod_config("evicted")
    watcher = Watcher()
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, Evicter("evicter", "10"), watcher),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        container_id = await runtime.create_container(sandbox_id, container_config(), pod)
        await until(lambda: "StopContainer" in watcher.names(container_id), "the eviction is done")
        status = (await runtime.pod_sandbox_status(sandbox_id)).status
        assert status.state == cri.SANDBOX_READY
        assert "StopPodSandbox" not in watcher.names()
        await runtime.remove_pod_sandbox(sandbox_id)
        assert watcher.names(container_id).count("StopContainer") == 1
    lines = [one.getMessage() for one in caplog.records if "evicts" in one.getMessage()]
    assert len([one for one in lines if f"container {container_id[:12]} is ended" in one]) == 1
    assert len([one for one in lines if "which is no container here" in one]) == 3


async def test_a_thousand_connections_keep_no_plugin_away_for_good(
    engine: Engine, directory: Path
) -> None:
    path = f"{directory}/nri/nri.sock"
    config = config_with_nri(engine, directory, registration_timeout_s=1.0)
    async with Supervisor(config) as supervisor:
        runtime = supervisor.runtime
        mute: list[Any] = []
        for _ in range(1000):
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            peer.settimeout(0.0)
            mute.append(peer)
            if peer.connect_ex(path):
                break  # as many as the kernel lets wait
        pod = pod_config("crowded")
        sandbox_id = await runtime.run_pod_sandbox(pod)

        async def comes() -> bool:
            watcher = Watcher()
            try:
                async with plugged(directory, watcher):
                    return True
            except* (OSError, ConnectionError):
                pass
            return False

        for peer in mute:
            peer.close()
        await until(comes, "a plugin is taken")
        await runtime.remove_pod_sandbox(sandbox_id)
