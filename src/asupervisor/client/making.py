"""Makes a pod completely, or not at all."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.client.containers import Container
from asupervisor.client.pods import CLEANUP_S, Pod, remove_directories, say_leftovers
from asupervisor.client.values import ContainerInfo, PodInfo
from asupervisor.errors import DeadlineExceeded, FailedPrecondition, ServiceError, Unavailable
from asupervisor.proto import cri

if TYPE_CHECKING:
    from asupervisor.client.client import Client
    from asupervisor.client.manifest.layout import Layout
    from asupervisor.client.plan import ContainerPlan, PodPlan, PullPolicy

_logger = logging.getLogger("asupervisor.client")
_UID_LABEL = "io.kubernetes.pod.uid"


@asynccontextmanager
async def made_pod(client: Client, plan: PodPlan, log_root: str) -> AsyncIterator[Pod]:
    """A pod that was started and is ready; while the block runs, its containers are probed and
    started again as the plan says. If the start fails or is cancelled, the whole pod is removed;
    after the start it stays.

    Args:
        client: of the server.
        plan: of the pod.
        log_root: directory of pod logs on this node; empty for a pod without logs.

    Raises:
        RollbackFailed: it failed, and what was made could not be removed.
    """
    for image, policy in plan.images:
        await _pull(client, plan, image, policy)
    metadata = plan.sandbox.metadata
    if log_root:
        name = f"{metadata.namespace}_{metadata.name}_{metadata.uid}"
        plan.sandbox.log_directory = f"{log_root.rstrip('/')}/{name}"
        await anyio.to_thread.run_sync(_make_log_directories, plan)
    async with BackgroundTasks() as tasks:
        try:
            pod = await _Making(client, plan).start(tasks)
        except BaseException as error:
            await _undo(client, plan, error)
            raise
        yield pod


class _Making:
    """Makes one pod."""

    def __init__(self, client: Client, plan: PodPlan) -> None:
        self._client = client
        self._plan = plan
        self._layout: Layout | None = None
        self._before: dict[str, Container] = {}

    async def start(self, tasks: BackgroundTasks) -> Pod:
        """Make it, and start its containers; ``tasks`` runs the probes and restarts."""
        plan, runtime = self._plan, self._client.runtime
        if plan.volumes or plan.hosts:
            from asupervisor.client.manifest.layout import Layout

            self._layout = Layout(plan, self._client.volume_directory(plan.sandbox.metadata.uid))
            await anyio.to_thread.run_sync(self._layout.make)
        # Each step is completed, within its own deadline: what an abandoned call makes could not be
        # removed, since the client would not know of it.
        with anyio.CancelScope(shield=True):
            sandbox_id = await runtime.run_pod_sandbox(plan.sandbox, plan.runtime_handler)
        await anyio.lowlevel.checkpoint_if_cancelled()
        info = PodInfo.of((await runtime.pod_sandbox_status(sandbox_id)).status)
        if self._layout is not None:
            await anyio.to_thread.run_sync(self._layout.write_hosts, info.addresses)
        self._pod = pod = Pod(
            self._client, info, (), plan.sandbox.log_directory, plan.containers[0].name
        )
        if plan.needs_life:
            from asupervisor.client.manifest.life import Life

            pod.life = Life(plan, pod.status, self._make, tasks)
            await pod.life.start()
        else:
            for each in plan.containers:
                await self._make(each, 0)
        return pod

    async def _make(self, plan: ContainerPlan, attempt: int) -> Container:
        """Make and start one attempt of a container; of the earlier ones only the last is kept."""
        runtime, config = self._client.runtime, cri.ContainerConfig()
        config.CopyFrom(plan.config)
        config.metadata.attempt = attempt
        config.log_path = f"{plan.name}/{attempt}.log"
        if self._layout is not None:
            config.mounts.extend(await anyio.to_thread.run_sync(self._layout.mounts, plan))
        if attempt:
            await _pull(self._client, self._plan, config.image.image, plan.pull_policy)
        if plan.not_as_root:
            await self._check_user(config)
        with anyio.CancelScope(shield=True):
            container_id = await runtime.create_container(self._pod.id, config, self._plan.sandbox)
            await runtime.start_container(container_id)
        await anyio.lowlevel.checkpoint_if_cancelled()
        status = (await runtime.container_status(container_id)).status
        container = self._client.container(ContainerInfo.of(status, self._pod.id))
        await self._replace(plan.name, container)
        return container

    async def _replace(self, name: str, container: Container) -> None:
        """Make this attempt the pod's. The one before is kept for its log and exit code, as kubelet
        does; an older one is removed.
        """
        oldest, before = self._before.get(name), self._pod.containers.get(name)
        self._pod.containers[name] = container
        if before is not None:
            self._before[name] = before
        if oldest is not None:
            try:
                await oldest.remove()
                if self._plan.sandbox.log_directory:
                    log = Path(self._plan.sandbox.log_directory, name)
                    (log / f"{oldest.info.attempt}.log").unlink(missing_ok=True)
            except (ServiceError, OSError) as error:
                _logger.warning('an old attempt of container "%s" is left: %s', name, error)

    async def _check_user(self, config: cri.ContainerConfig) -> None:
        """``runAsNonRoot``: manifest or image must give the user as a number that is not 0."""
        context = config.linux.security_context
        if context.HasField("run_as_user"):
            user: int | str = context.run_as_user.value
        else:
            image = (await self._client.image_service.image_status(config.image.image)).image
            user = image.username or image.uid.value
        if isinstance(user, str) or user == 0:
            raise FailedPrecondition(
                f'container "{config.metadata.name}" must not run as root, and its image has the'
                f' user "{user}"; give runAsUser a number above 0'
            )


async def _pull(client: Client, plan: PodPlan, image: str, policy: PullPolicy) -> None:
    """Try the pod's credentials for the image until one works; else raise the first error."""
    logins = plan.keyring.find(image) if plan.keyring is not None else []
    failure: ServiceError | None = None
    for username, password in logins or [("", "")]:
        try:
            await client.pull(image, policy=policy, username=username, password=password)
            return
        except ServiceError as error:
            failure = failure or error
    if failure is not None:
        raise failure


async def _undo(client: Client, plan: PodPlan, error: BaseException) -> None:
    """Remove every sandbox of the plan's uid."""
    metadata, leftovers = plan.sandbox.metadata, []
    name = f"{metadata.namespace}/{metadata.name}"
    wanted = cri.PodSandboxFilter(label_selector={_UID_LABEL: metadata.uid})
    with anyio.move_on_after(CLEANUP_S, shield=True) as scope:
        try:
            found = await client.runtime.list_pod_sandbox(wanted)
            for sandbox in found:
                await client.runtime.stop_pod_sandbox(sandbox.id)
                await client.runtime.remove_pod_sandbox(sandbox.id)
            if not found and isinstance(error, DeadlineExceeded | Unavailable):
                leftovers.append(f"the server may still make pod {name}: it did not answer")
            await remove_directories(
                client.volume_directory(metadata.uid), plan.sandbox.log_directory
            )
        except ServiceError as failure:
            leftovers.append(f"pod {name} may be left: {failure}")
    if scope.cancelled_caught:
        leftovers.append(f"pod {name} may be left: not removed within {CLEANUP_S:g} s")
    say_leftovers(error, tuple(leftovers), metadata.uid)


def _make_log_directories(plan: PodPlan) -> None:
    """The CRI leaves this to its caller: kubelet makes these directories too."""
    directory = Path(plan.sandbox.log_directory)
    try:
        for container in (*plan.init_containers, *plan.containers):
            path = (directory / container.config.log_path).parent
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise FailedPrecondition(
            f"{directory} cannot be made: {error.strerror}; choose another log directory",
            subject=str(directory),
        ) from error
