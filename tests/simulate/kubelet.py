"""A kubelet: it makes pods true from what the lists say, tries again what failed, and collects what
is dead.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from asupervisor.proto import cri
from tests.simulate.errors import CallFailed
from tests.simulate.service import Service
from tests.simulate.truth import Truth

IMAGES = ("app:1", "app:2", "tool:1")
_READ_S = 10.0
"""Within which a read is answered, whatever the engine does."""
_READS = (
    "ListPodSandbox",
    "ListContainers",
    "PodSandboxStatus",
    "ContainerStatus",
    "Status",
    "ListContainerStats",
    "ContainerStats",
    "ListPodSandboxStats",
    "PodSandboxStats",
    "ListPodSandboxMetrics",
)
_STREAMS = ("Exec", "Attach", "PortForward", "ReopenContainerLog")


class Client:
    """Calls the service as bytes, within deadlines, and has each answer checked.

    Args:
        service: called.
        truth: told of every call.
        say: writes a line of the trace.
    """

    def __init__(self, service: Service, truth: Truth, say: Callable[[str], int]) -> None:
        self._service = service
        self._truth = truth
        self._say = say
        self.calls = 0

    async def __call__(self, method: str, request: Any, deadline_s: float = 45.0) -> Any:
        """One call.

        Raises:
            CallFailed: it was not answered OK.
        """
        reads = method in _READS
        in_images = "Image" in method
        response_type = getattr(cri, f"{method}Response")
        loop = asyncio.get_running_loop()
        self.calls += 1
        subject = getattr(request, "container_id", "") or getattr(request, "pod_sandbox_id", "")
        if method.startswith(("Stop", "Remove")) and subject:
            self._truth.asked_to_end(subject)
        began, number = loop.time(), self.calls
        if not reads:
            self._say(f"call {number}: {method} {subject[:12] or _named(request)}")
        life, unread = self._service.lives[-1], self._service.unread
        try:
            content, _ = await self._service.call(
                "ImageService" if in_images else "RuntimeService",
                method,
                request.SerializeToString(),
                _READ_S if reads else deadline_s,
            )
        except CallFailed as error:
            if not reads:
                self._say(f"call {number}: {error}"[:300])
            if error.code == "HUNG" or (reads and error.code == "DEADLINE_EXCEEDED"):
                self._truth.found(
                    "hung", f"{method} after {loop.time() - began:.1f} s", subject[:12]
                )
            if error.code == "INTERNAL" and "defect" in str(error):
                self._truth.found("defect", f"{method}: {error}", subject[:12])
            if error.code == "NOT_FOUND" and method in ("ContainerStatus", "PodSandboxStatus"):
                self._truth.not_found(method, subject, began)
            if method in _STREAMS and not life.dead:
                self._truth.refused(method, request, error, began)
            raise
        if not reads:
            self._say(f"call {number}: OK")
        answer = response_type.FromString(content)
        if not life.dead:
            self._truth.answer(method, request, answer, began, unread)
        return answer


def _named(request: Any) -> str:
    config = getattr(request, "config", None)
    if isinstance(config, cri.PodSandboxConfig):
        return f"{config.metadata.name}/{config.metadata.attempt}"
    if isinstance(config, cri.ContainerConfig):
        return f"{request.sandbox_config.metadata.name} {config.metadata.name}"
    return str(getattr(getattr(request, "image", None), "image", ""))


@dataclass
class Pod:
    """A pod as it is wanted.

    Args:
        uid: its name and uid.
        containers: how many.
        until: when it is no longer wanted.
    """

    uid: str
    containers: int
    until: float
    grace_s: int
    failures: int = 0
    attempts: dict[str, int] = field(default_factory=dict)


class Kubelet:
    """Syncs pods until they are gone.

    Args:
        rng: draws.
        client: calls the service.
        truth: told of what it takes for answered.
        logs: the directory of the pods' logs.
    """

    def __init__(self, rng: random.Random, client: Client, truth: Truth, logs: Path) -> None:
        self.logs = logs
        self.rng = rng
        self.client = client
        self.truth = truth
        self.ending = False
        self.pods: dict[str, Pod] = {}
        self._numbers = 0
        self.patience_s = 45.0

    async def run(self, at_once: int, until: float) -> None:
        """Keep some pods, each synced for itself, and new ones as others go."""
        loop = asyncio.get_running_loop()
        async with anyio.create_task_group() as workers:
            while not self.ending and loop.time() < until:
                while len(self.pods) < at_once:
                    self._numbers += 1
                    pod = Pod(
                        uid=f"p{self._numbers}",
                        containers=self.rng.choice((1, 1, 2, 3)),
                        until=loop.time() + self.rng.expovariate(1 / self.rng.choice((4, 20, 80))),
                        grace_s=self.rng.choice((0, 1, 5, 30)),
                    )
                    self.pods[pod.uid] = pod
                    workers.start_soon(self._follow, pod)
                await asyncio.sleep(self.rng.uniform(0.5, 5.0))
            self.ending = True

    async def _follow(self, pod: Pod) -> None:
        while not self.ending:
            try:
                if await self._sync(pod):
                    del self.pods[pod.uid]
                    return
                pod.failures = 0
            except CallFailed:
                pod.failures += 1
            pause = min(0.3 * 2**pod.failures, 10.0)
            await asyncio.sleep(self.rng.uniform(0.5, 1.5) * pause)

    async def _lists(self, uid: str) -> tuple[list[Any], list[Any]]:
        sandboxes = await self.client("ListPodSandbox", cri.ListPodSandboxRequest())
        containers = await self.client("ListContainers", cri.ListContainersRequest())
        ours = [one for one in sandboxes.items if not uid or one.metadata.uid == uid]
        ids = {one.id for one in ours}
        return ours, [one for one in containers.containers if one.pod_sandbox_id in ids]

    async def _sync(self, pod: Pod) -> bool:
        """One step towards what is wanted; whether the pod is gone."""
        loop = asyncio.get_running_loop()
        sandboxes, containers = await self._lists(pod.uid)
        if loop.time() > pod.until:
            return await self._take_down(pod, sandboxes, containers)
        sandboxes.sort(key=lambda one: (one.created_at, one.metadata.attempt), reverse=True)
        ready = [one for one in sandboxes if one.state == cri.SANDBOX_READY]
        if not ready:
            for one in sandboxes[:1]:
                await self._stop(pod, one, containers)
            attempt = max([one.metadata.attempt for one in sandboxes] + [-1]) + 1
            request = cri.RunPodSandboxRequest(config=self._config(pod, attempt))
            await self.client("RunPodSandbox", request, self._deadline())
            return False
        sandbox = ready[0]
        self.truth.adopt(sandbox.id)
        if self.rng.random() < 0.3:
            await self.client(
                "PodSandboxStatus", cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox.id)
            )
        for number in range(pod.containers):
            mine = [one for one in containers if one.metadata.name == f"c{number}"]
            await self._sync_container(pod, sandbox, f"c{number}", mine)
        if len(sandboxes) > 1 or self.rng.random() < 0.1:
            await self._collect(sandboxes[1:], containers, sandbox.id)
        return False

    def _deadline(self) -> float:
        return self.rng.choice((0.02, 0.2, 3.0)) if self.rng.random() < 0.1 else self.patience_s

    def _config(self, pod: Pod, attempt: int) -> cri.PodSandboxConfig:
        config = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(
                name=pod.uid, namespace="default", uid=pod.uid, attempt=attempt
            ),
            log_directory=f"{self.logs}/{pod.uid}",
            labels={"io.kubernetes.pod.uid": pod.uid},
        )
        if len(pod.uid) % 2:
            config.dns_config.servers.append("192.0.2.53")
        return config

    async def _sync_container(self, pod: Pod, sandbox: Any, name: str, mine: list[Any]) -> None:
        mine.sort(key=lambda one: (one.created_at, one.metadata.attempt), reverse=True)
        latest = mine[0] if mine else None
        if latest is not None and latest.state == cri.CONTAINER_RUNNING:
            if self.rng.random() < 0.3:
                request = cri.ContainerStatusRequest(container_id=latest.id)
                await self.client("ContainerStatus", request)
            if self.rng.random() < 0.03:  # a liveness probe that failed
                await self._stop_container(pod, latest.id)
            return
        image = IMAGES[int(pod.uid[1:]) % len(IMAGES)]
        status = await self.client(
            "ImageStatus", cri.ImageStatusRequest(image=cri.ImageSpec(image=image)), 20.0
        )
        if not status.image.id:
            pull = cri.PullImageRequest(image=cri.ImageSpec(image=image))
            await self.client("PullImage", pull, self.patience_s)
        attempt = max([one.metadata.attempt for one in mine] + [-1]) + 1
        create = cri.CreateContainerRequest(
            pod_sandbox_id=sandbox.id,
            config=cri.ContainerConfig(
                metadata=cri.ContainerMetadata(name=name, attempt=attempt),
                image=cri.ImageSpec(image=image),
                command=["run"],
                log_path=f"{name}/{attempt}.log",
            ),
            sandbox_config=self._config(pod, sandbox.metadata.attempt),
        )
        made = await self.client("CreateContainer", create, self._deadline())
        start = cri.StartContainerRequest(container_id=made.container_id)
        await self.client("StartContainer", start, self._deadline())

    async def _stop_container(self, pod: Pod, container_id: str) -> None:
        request = cri.StopContainerRequest(container_id=container_id, timeout=pod.grace_s)
        await self.client("StopContainer", request, pod.grace_s + self._deadline())

    async def _stop(self, pod: Pod, sandbox: Any, containers: list[Any]) -> None:
        for one in containers:
            if one.pod_sandbox_id == sandbox.id and one.state == cri.CONTAINER_RUNNING:
                await self._stop_container(pod, one.id)
        request = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox.id)
        await self.client("StopPodSandbox", request, self._deadline())

    async def _take_down(self, pod: Pod, sandboxes: list[Any], containers: list[Any]) -> bool:
        for one in sandboxes:
            await self._stop(pod, one, containers)
        if self.rng.random() < 0.7:
            await self._collect(sandboxes, containers, "")
        return not sandboxes

    async def _collect(self, sandboxes: list[Any], containers: list[Any], keep: str) -> None:
        dead = {one.id for one in sandboxes}
        for one in containers:
            gone = one.state == cri.CONTAINER_EXITED and self.rng.random() < 0.5
            if one.pod_sandbox_id in dead or (one.pod_sandbox_id == keep and gone):
                request = cri.RemoveContainerRequest(container_id=one.id)
                await self.client("RemoveContainer", request, self._deadline())
        for one in sandboxes:
            if one.state != cri.SANDBOX_READY:
                removal = cri.RemovePodSandboxRequest(pod_sandbox_id=one.id)
                await self.client("RemovePodSandbox", removal, self._deadline())

    async def everything_down(self) -> bool:
        """Take down whatever the lists show; whether that is nothing."""
        sandboxes, _ = await self._lists("")
        containers = (await self.client("ListContainers", cri.ListContainersRequest())).containers
        pod = Pod(uid="", containers=0, until=0.0, grace_s=1)
        for one in sandboxes:
            await self._stop(pod, one, list(containers))
        for one in containers:
            await self.client("RemoveContainer", cri.RemoveContainerRequest(container_id=one.id))
        for one in sandboxes:
            request = cri.RemovePodSandboxRequest(pod_sandbox_id=one.id)
            await self.client("RemovePodSandbox", request)
        return not sandboxes and not containers
