"""The client itself: a server, what runs there, and its images."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, Self, Unpack

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.client.changes import Changes
from asupervisor.client.containers import Container
from asupervisor.client.endpoint import TIMEOUT_S, Settings, find_settings
from asupervisor.client.find import choose_container, choose_pod, newest
from asupervisor.client.pods import Pod, pod_block
from asupervisor.client.values import (
    UID,
    ContainerInfo,
    Event,
    ImageInfo,
    Layer,
    PodInfo,
    Pruned,
    Usage,
)
from asupervisor.errors import (
    AlreadyExists,
    ConfigError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServiceError,
)
from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService

if TYPE_CHECKING:
    from asupervisor.client.plan import PodOptions, PodPlan, PullPolicy

LOG_ROOT = "/var/log/pods"
"""Where kubelet keeps the logs of pods."""
VOLUME_ROOT = "/var/lib/asupervisor/pods"
"""Where the client keeps the volumes of the pods that it makes."""


class Host(Protocol):
    """Something that is connected already, as an embedded :class:`asupervisor.Supervisor` is."""

    runtime: RemoteRuntimeService
    images: RemoteImageService


class Client:
    """A client of one CRI server; made by :meth:`connect`.

    Each method raises a :class:`asupervisor.errors.ServiceError`, and is cancelled by cancelling
    its task.

    Attributes:
        runtime, image_service: the server's own calls in protobuf, for what has no method here.
    """

    def __init__(
        self,
        runtime: RemoteRuntimeService,
        images: RemoteImageService,
        changes: Changes,
        log_root: str,
        volume_root: str,
    ) -> None:
        self.runtime = runtime
        self.image_service = images
        self._changes = changes
        self._log_root = log_root
        self._volume_root = volume_root

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        endpoint: str | Settings | Host | None = None,
        *,
        timeout_s: float | None = None,
        log_root: str = LOG_ROOT,
        volume_root: str = VOLUME_ROOT,
    ) -> AsyncIterator[Self]:
        """Connect for the length of an ``async with`` block.

        Args:
            endpoint: ``unix:///path`` or ``tcp://host:port``; an embedded Supervisor, whose
                connections are used; None for what :func:`find_settings` finds.
            timeout_s: deadline of each call in seconds; some calls have a time of their own in
                addition (:mod:`asupervisor.remote.deadlines`). None: that of the settings, else
                120. Not used with a Supervisor.
            log_root: absolute path on the server's node, for the logs of the pods that this client
                makes; empty makes pods without logs.
            volume_root: absolute path on the server's node, for the volumes of these pods.

        Raises:
            ConfigError: the endpoint or the timeout is malformed.
            Unavailable: no server answers there; the message says what to do.
            DeadlineExceeded: one accepts the connection and does not answer.
        """
        if endpoint is None:
            endpoint = find_settings()
        elif isinstance(endpoint, str):
            endpoint = Settings(endpoint)
        async with AsyncExitStack() as stack:
            if isinstance(endpoint, Settings):
                limit_s = timeout_s if timeout_s is not None else endpoint.timeout_s or TIMEOUT_S
                runtime = await stack.enter_async_context(
                    RemoteRuntimeService.connect(endpoint.endpoint, limit_s)
                )
                place = endpoint.image_endpoint or endpoint.endpoint
                images = await stack.enter_async_context(
                    RemoteImageService.connect(place, limit_s, sharing=runtime)
                )
            else:
                runtime, images = endpoint.runtime, endpoint.images
            tasks = await stack.enter_async_context(BackgroundTasks())
            yield cls(runtime, images, Changes(runtime, tasks), log_root, volume_root)

    def within(self, timeout_s: float) -> Client:
        """This client with another deadline for each call, as in
        ``await client.within(5).pods()``.
        """
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            raise ConfigError(f"the timeout must be above 0 s, not {timeout_s!r}")
        return Client(
            self.runtime.within(timeout_s),
            self.image_service.within(timeout_s),
            self._changes,
            self._log_root,
            self._volume_root,
        )

    def volume_directory(self, uid: str) -> str:
        """The directory of a pod's volumes; empty where its uid cannot name a directory: the uid of
        a pod that this client did not make may be any text.
        """
        return f"{os.path.realpath(self._volume_root)}/{uid}" if UID.fullmatch(uid) else ""

    @asynccontextmanager
    async def pod(
        self,
        image: str = "",
        command: Sequence[str] = (),
        *,
        manifest: str | Mapping[str, Any] | PodPlan | None = None,
        deadline_s: float | None = None,
        keep: bool = False,
        **options: Unpack[PodOptions],
    ) -> AsyncIterator[Pod]:
        """Run a pod while the block runs: one container, ``main``, or what a manifest says.

        It is removed with its log and its volumes when the block is left, also by an error or by
        cancellation. With a manifest the block begins once all is ready, and while it runs
        containers are probed and started again as kubelet would.

        Args:
            image: its reference; fetched where it is not on the node.
            command: program and arguments, without a shell; empty for the image's own.
            manifest: a Pod of the Kubernetes API instead of these two, as a mapping, as YAML, or as
                :func:`read_manifest` gives it.
            deadline_s: of the block in seconds; None for none.
            keep: stop it in the end, and leave it there, for its logs.
            options: those of :class:`PodOptions`, where there is no manifest.

        Raises:
            InvalidArgument: an option is malformed.
            ConfigError: the manifest is malformed; the message names the field.
            DeadlineExceeded: the block took longer; it was cancelled, and the pod removed.
            RollbackFailed: a part of it could not be removed; ``leftovers`` says what and why.
        """
        from asupervisor.client.making import made_pod
        from asupervisor.client.plan import PodPlan, pod_plan

        if manifest is None:
            plan = pod_plan(image, command, options)
        elif image or command or options:
            raise InvalidArgument("a manifest excludes image, command and options")
        elif isinstance(manifest, PodPlan):
            plan = manifest
        else:
            from asupervisor.client.manifest import read_one_pod

            plan = read_one_pod(manifest)
        await self._check_name(plan)
        async with (
            made_pod(self, plan, self._log_root) as pod,
            pod_block(pod, deadline_s, keep=keep),
        ):
            yield pod

    async def start_pod(self, plan: PodPlan) -> Pod:
        """Start a pod that stays, and return once all of it is ready; nobody probes or restarts it
        from then on. If a part of it fails, or this is cancelled, the whole pod is removed.

        Args:
            plan: of the pod.

        Raises:
            AlreadyExists: there is a pod of that name.
            RollbackFailed: the start failed, and what was made could not be removed.
        """
        from asupervisor.client.making import made_pod

        await self._check_name(plan)
        async with made_pod(self, plan, self._log_root) as pod:
            return pod

    async def _check_name(self, plan: PodPlan) -> None:
        metadata = plan.sandbox.metadata
        name = f"{metadata.namespace}/{metadata.name}"
        if any(f"{pod.namespace}/{pod.name}" == name for pod in await self.pods()):
            raise AlreadyExists(
                f'there is a pod "{name}"; remove it first (asupervisor rm -f {name})', subject=name
            )

    async def pods(self, labels: Mapping[str, str] | None = None) -> list[PodInfo]:
        """All pods, ready or not, newest first; only those with these labels."""
        wanted = cri.PodSandboxFilter(label_selector=labels or {})
        found = await self.runtime.list_pod_sandbox(wanted, stream=True)
        return sorted(map(PodInfo.of, found), key=lambda pod: -pod.created_at_ns)

    async def containers(
        self, *, pod_id: str = "", labels: Mapping[str, str] | None = None
    ) -> list[ContainerInfo]:
        """All containers, in every state, newest first; only those of a pod or with these
        labels.
        """
        wanted = cri.ContainerFilter(pod_sandbox_id=pod_id, label_selector=labels or {})
        found = await self.runtime.list_containers(wanted, stream=True)
        return sorted(map(ContainerInfo.of, found), key=lambda each: -each.created_at_ns)

    async def find_pod(self, wanted: str) -> Pod:
        """A pod by its name, ``NAMESPACE/NAME``, or the start of its id.

        Raises:
            NotFound: there is none.
            FailedPrecondition: several match.
        """
        return await self.known_pod(choose_pod(await self.pods(), wanted).id)

    async def find_container(self, wanted: str) -> Container:
        """A container by ``POD/CONTAINER`` or the start of its id; errors as :meth:`find_pod`."""
        return self.container(choose_container(await self.pods(), await self.containers(), wanted))

    async def find(self, wanted: str) -> Pod | Container:
        """A pod, else a container; errors as :meth:`find_pod`."""
        try:
            return await self.find_pod(wanted)
        except NotFound as no_pod:
            try:
                return await self.find_container(wanted)
            except NotFound as no_container:
                raise (
                    no_container
                    if "/" in wanted
                    else NotFound(f'no pod and no container "{wanted}"', subject=wanted)
                ) from no_pod

    async def known_pod(self, pod_id: str, log_directory: str = "") -> Pod:
        """The pod with that sandbox id, with its containers in the order they were made.

        Args:
            pod_id: in full.
            log_directory: is removed with the pod; empty for none.
        """
        info = PodInfo.of((await self.runtime.pod_sandbox_status(pod_id)).status)
        attempts: dict[str, list[ContainerInfo]] = {}
        for each in reversed(await self.containers(pod_id=pod_id)):
            attempts.setdefault(each.name, []).append(each)
        containers = [self.container(newest(each)) for each in attempts.values()]
        return Pod(self, info, containers, log_directory)

    def container(self, info: ContainerInfo) -> Container:
        """What can be done with a container of a list."""
        return Container(self.runtime, self._changes, info)

    async def events(self) -> AsyncGenerator[Event, None]:
        """What happens to containers and sandboxes from now on, until the iteration is left.

        Raises:
            Unavailable: the server went away; events may be missed until a new call.
            Unimplemented: this server has none.
        """
        async with aclosing(self.runtime.get_container_events()) as events:
            async for event in events:
                yield Event.of(event)

    async def stats(self, *, pod_id: str = "", container_id: str = "") -> list[Usage]:
        """What running containers use, most processor time first; all of them, or of one pod or
        container.
        """
        wanted = cri.ContainerStatsFilter(id=container_id, pod_sandbox_id=pod_id)
        found = await self.runtime.list_container_stats(wanted, stream=True)
        return sorted(map(Usage.of, found), key=lambda each: (-each.cpu_cores, each.name))

    async def pull(
        self,
        image: str,
        *,
        policy: PullPolicy = "Always",
        username: str = "",
        password: str = "",
        progress: Callable[[Sequence[Layer]], None] | None = None,
    ) -> str:
        """Fetch an image, and return the reference by which containers should name it.

        There is no deadline; the server gives up a pull that makes no progress.

        Args:
            image: its reference.
            policy: ``"IfNotPresent"`` fetches it only where it is not there, ``"Never"`` not at
                all.
            username: of the registry; empty for an anonymous pull.
            password: of the registry.
            progress: called with the layers at first and at each change, if the server is this
                project's; other servers do not tell them.

        Raises:
            FailedPrecondition: it is not on the node, and the policy is ``"Never"``.
            NotFound, Unauthenticated, PermissionDenied: what the registry says.
        """
        if policy != "Always":
            status = await self.image_service.image_status(image)
            if status.HasField("image"):
                return str(status.image.id)
            if policy == "Never":
                raise FailedPrecondition(
                    f"{image} is not on the node and imagePullPolicy is Never", subject=image
                )
        auth = cri.AuthConfig(username=username, password=password) if username else None
        async with BackgroundTasks() as tasks:
            if progress is not None:
                tasks.start_soon(self._tell_progress, image, progress)
            return await self.image_service.pull_image(image, auth)

    async def _tell_progress(self, image: str, progress: Callable[[Sequence[Layer]], None]) -> None:
        with suppress(ServiceError):  # if it matters, the pull fails too
            async with aclosing(self.image_service.pull_progress(image)) as answers:
                async for layers in answers:
                    progress(
                        [
                            Layer(
                                id=digest,
                                status=status,
                                done_bytes=int(done),
                                total_bytes=int(total),
                            )
                            for digest, status, done, total in layers
                        ]
                    )

    async def images(self) -> list[ImageInfo]:
        """The images on the node."""
        return [ImageInfo.of(each) for each in await self.image_service.list_images(stream=True)]

    async def image(self, reference: str) -> ImageInfo:
        """One image by reference or id.

        Raises:
            NotFound: it is not on the node.
        """
        answer = await self.image_service.image_status(reference)
        if not answer.HasField("image"):
            raise NotFound(f'no image "{reference}"', subject=reference)
        return ImageInfo.of(answer.image)

    async def remove_image(self, reference: str) -> None:
        """Remove an image; one that is gone is a success."""
        await self.image_service.remove_image(reference)

    async def prune(self, *, pods: bool = True, images: bool = False) -> Pruned:
        """Remove what is not used: pods that are not ready and have no running container; images
        that no container uses and that are not pinned.

        Do not use it on a node with a kubelet: kubelet removes these itself, and needs the exit
        codes and logs of ended pods until then.

        Args:
            pods: whether to remove pods.
            images: whether to remove images.
        """
        from asupervisor.client.pruning import prune

        return await prune(self, pods, images)
