"""What a pod's life takes by itself: bare engine calls and bare CNI plugins, one after the other,
without any service between.

The containers are the ones that the service makes: what the engine says of a pod of its, it is
asked for again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiodocker

from asupervisor.network.cni.chain import Chain
from asupervisor.network.cni.config import NetworkList, load_file
from asupervisor.network.cni.execute import Attachment
from asupervisor.remote import RemoteRuntimeService
from asupervisor.translate.sandbox import STOP_GRACE_S
from benchmarks.lives import GRACE_S, Pod
from benchmarks.own import CNI_BINARIES
from benchmarks.prepare import container_config, new_run, pod_config

_DEADLINE_S = 60.0
# Of a network that is another container's, the engine takes none of these.
_OF_THE_SANDBOX = ("Hostname", "Domainname", "ExposedPorts", "MacAddress")


@dataclass
class Floor:
    """Takes pods through their life by engine and plugins.

    Args:
        docker: the engine.
        network: the pods' network and its plugins.
        model: id of the sandbox that the bodies were read of.
        sandbox: body of the creation of a sandbox.
        container: of a container in the model's sandbox.
    """

    docker: aiodocker.Docker
    network: NetworkList
    model: str
    sandbox: dict[str, Any]
    container: dict[str, Any]

    @classmethod
    async def like(
        cls,
        docker: aiodocker.Docker,
        network: Path,
        runtime: RemoteRuntimeService,
        image: str,
        logs: Path,
    ) -> Floor:
        """Look at a pod that the service makes, and have it removed.

        Args:
            docker: the service's engine.
            network: a CNI configuration.
            runtime: the service.
            image: of the container.
            logs: a directory for the pod's logs.

        Raises:
            ServiceError: the pod cannot be made or removed.
        """
        config = pod_config(f"model-{new_run()}", new_run(), False, logs)
        model = await runtime.run_pod_sandbox(config)
        try:
            container = await runtime.create_container(
                model, container_config("c", image, config), config
            )
            bodies = [_body(await docker.containers.get(one)) for one in (model, container)]
        finally:
            await runtime.stop_pod_sandbox(model)
            await runtime.remove_pod_sandbox(model)
        for field in _OF_THE_SANDBOX:
            bodies[1].pop(field, None)
        return cls(docker, load_file(str(network)), model, bodies[0], bodies[1])

    async def start(self, pod: Pod) -> None:
        pod.held = sandbox, attachment, result = await pod.time("RunPodSandbox", self._run())
        body = json.loads(json.dumps(self.container).replace(self.model, sandbox.id))
        container = await pod.time("CreateContainer", self.docker.containers.create(body))
        pod.held = sandbox, attachment, result, container
        await pod.time("StartContainer", container.start())

    async def _run(self) -> tuple[Any, Attachment, dict[str, Any]]:
        sandbox = await self.docker.containers.create(self.sandbox)
        await sandbox.start()
        pid = (await sandbox.show())["State"]["Pid"]
        attachment = Attachment(sandbox.id, f"/proc/{pid}/ns/net")
        return sandbox, attachment, await self._chain().add(attachment)

    async def end(self, pod: Pod) -> None:
        sandbox, attachment, result, container = pod.held
        await pod.time("StopContainer", container.stop(t=GRACE_S))
        await pod.time("StopPodSandbox", self._stop(sandbox, attachment, result))
        await pod.time("RemoveContainer", container.delete(v=True))
        await pod.time("RemovePodSandbox", sandbox.delete(v=True))

    async def _stop(self, sandbox: Any, attachment: Attachment, result: dict[str, Any]) -> None:
        await self._chain().delete(attachment, result)
        await sandbox.stop(t=STOP_GRACE_S)

    def _chain(self) -> Chain:
        return Chain(self.network, (CNI_BINARIES,), _DEADLINE_S)


def _body(container: Any) -> dict[str, Any]:
    """What to ask the engine for to have such a container. Its labels are left out: with them it
    would be a pod's for the service.
    """
    document = container._container
    return {**document["Config"], "Labels": {}, "HostConfig": document["HostConfig"]}
