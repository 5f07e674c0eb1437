"""The stats of the node: they are told what runs and read the kernel in a thread.

A reading is shared by every call that comes within :data:`MAX_AGE_S` of it (its timestamp says when
it was taken), so that many callers cost no more than one. No call waits for the engine or for a
walk over a file system."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from asupervisor.host.cgroups import Hierarchies
from asupervisor.proto.wire import field
from asupervisor.stats.kernel_files import Budget
from asupervisor.stats.layers import WritableLayers
from asupervisor.stats.pod_metrics import Filesystem, pod_metrics
from asupervisor.stats.subjects import ContainerSubject, ImageFilesystem, SandboxSubject
from asupervisor.stats.targets import ContainerTarget, SandboxTarget

MAX_AGE_S = 0.1
"""Seconds for which a reading is answered again."""

SAMPLE_INTERVAL_S = 10.0
"""Seconds between two CPU samples of what is not asked for."""

_GATHER_S = 1.0
"""Seconds after which what is new is sampled for the first time, with all that came meanwhile."""

_METRICS_PODS = 10
"""Pods whose metrics are read at once: some milliseconds."""

T = TypeVar("T")
_logger = logging.getLogger(__name__)


class Stats:
    """Figures of every container and sandbox that it was told of.

    All methods belong to the event loop. :meth:`run` keeps CPU samples and the sizes of writable
    layers up to date; the other methods work without it.

    Args:
        layers: the writable layers' sizes.
        hierarchies: gives the mounted cgroup file systems; asked once.
        max_age_s: see :data:`MAX_AGE_S`.
        sample_interval_s: see :data:`SAMPLE_INTERVAL_S`.
        kept_files: how many kernel files may stay open; None takes a quarter of RLIMIT_NOFILE.
    """

    def __init__(
        self,
        layers: WritableLayers | None = None,
        *,
        hierarchies: Callable[[], Hierarchies] = Hierarchies.mounted,
        max_age_s: float = MAX_AGE_S,
        sample_interval_s: float = SAMPLE_INTERVAL_S,
        kept_files: int | None = None,
    ) -> None:
        self.layers = layers or WritableLayers()
        self.image_filesystem = ImageFilesystem()
        """Where the engine keeps its data: see :meth:`set_image_filesystem`."""
        self.image_filesystem_known = anyio.Event()
        """Set with the first figures of it."""
        self._containers: dict[str, ContainerTarget] = {}
        self._sandboxes: dict[str, SandboxTarget] = {}
        self._closing: list[ContainerTarget | SandboxTarget] = []
        self._find_hierarchies = hierarchies
        self._found: Hierarchies | None = None
        self._budget = Budget(kept_files)
        self._max_age_s = max_age_s
        self._sample_interval_s = sample_interval_s
        self._lock = anyio.Lock()
        self._arrived = anyio.Event()

    def set_image_filesystem(self, figures: ImageFilesystem) -> None:
        """Take over the figures of the file system that images and containers are on."""
        self.image_filesystem = figures
        self.image_filesystem_known.set()

    def put_container(self, subject: ContainerSubject) -> None:
        """A container is new, or started, stopped or changed; what did not change costs nothing."""
        known = self._containers.get(subject.container_id)
        if known is not None and known.subject == subject:
            return
        if known is not None:
            self._retire_container(known)
        self._containers[subject.container_id] = ContainerTarget(
            subject, self._hierarchies, self._budget
        )
        self.layers.watch(subject.container_id, subject.writable_layer, subject.mounted)
        self._arrived.set()

    def put_sandbox(self, subject: SandboxSubject) -> None:
        """A sandbox is new, or started, stopped or changed; what did not change costs nothing."""
        known = self._sandboxes.get(subject.sandbox_id)
        if known is not None and known.subject == subject:
            return
        target = SandboxTarget(subject, self._hierarchies, self._budget)
        if known is not None:
            target.ended_cpu_ns = known.ended_cpu_ns
            self._closing.append(known)
        self._sandboxes[subject.sandbox_id] = target
        self._arrived.set()

    def forget_container(self, container_id: str) -> None:
        """A container was removed."""
        known = self._containers.pop(container_id, None)
        if known is not None:
            self._retire_container(known)
        self.layers.forget(container_id)

    def forget_sandbox(self, sandbox_id: str) -> None:
        """A sandbox was removed."""
        known = self._sandboxes.pop(sandbox_id, None)
        if known is not None:
            self._closing.append(known)

    def _retire_container(self, target: ContainerTarget) -> None:
        sandbox = self._sandboxes.get(target.subject.sandbox_id)
        if sandbox is not None:
            sandbox.ended_cpu_ns += target.cgroup.last_cpu_ns
        self._closing.append(target)

    async def container_stats(self, container_ids: Iterable[str] | None = None) -> list[bytes]:
        """Stats of the containers asked for, those not known left out.

        Args:
            container_ids: None asks for all.

        Returns:
            For each an encoded field 1: joined they are a ContainerStatsResponse, a
            ListContainerStatsResponse or a StreamContainerStatsResponse.
        """
        targets = _chosen(self._containers, container_ids)
        await self._fresh(targets, [])
        return [field(1, target.message) for target in targets]

    async def sandbox_stats(self, sandbox_ids: Iterable[str] | None = None) -> list[bytes]:
        """Stats of the sandboxes asked for, with those of their containers inside, those not known
        left out.

        Args:
            sandbox_ids: None asks for all.

        Returns:
            For each an encoded field 1, as :meth:`container_stats` gives it: a PodSandboxStats.
        """
        sandboxes = _chosen(self._sandboxes, sandbox_ids)
        await self._fresh([], sandboxes)
        return [target.entry for target in sandboxes]

    async def sandbox_metrics(self, sandbox_ids: Iterable[str] | None = None) -> list[bytes]:
        """cAdvisor's metrics of the sandboxes asked for.

        Args:
            sandbox_ids: None asks for all.

        Returns:
            For each an encoded field 1: joined they are a ListPodSandboxMetricsResponse.
        """
        sandboxes = _chosen(self._sandboxes, sandbox_ids)
        groups, entries = self._groups(sandboxes), list[bytes]()
        while groups:
            # A few pods at a time: all the pods of a full node take long enough to keep other
            # readings waiting.
            entries += await self._in_thread(self._metrics, groups[:_METRICS_PODS])
            del groups[:_METRICS_PODS]
        return entries

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Sample the CPU of all that runs and walk writable layers, until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.layers.run)
                task_status.started()
                while True:
                    self._arrived = anyio.Event()
                    await self._in_thread(
                        self._sample,
                        list(self._containers.values()),
                        list(self._sandboxes.values()),
                    )
                    self._watch_found_layers()
                    with anyio.move_on_after(self._sample_interval_s):
                        await self._arrived.wait()
                        await anyio.sleep(_GATHER_S)
        finally:
            self.close()

    def close(self) -> None:
        """Close every file; a later call opens what it needs again."""
        self._closing.extend(self._containers.values())
        self._closing.extend(self._sandboxes.values())
        for container in self._containers.values():
            self._containers[container.subject.container_id] = ContainerTarget(
                container.subject, self._hierarchies, self._budget
            )
        for sandbox in self._sandboxes.values():
            self._sandboxes[sandbox.subject.sandbox_id] = SandboxTarget(
                sandbox.subject, self._hierarchies, self._budget
            )
        self._close_retired()

    def _groups(
        self, sandboxes: Sequence[SandboxTarget]
    ) -> list[tuple[SandboxTarget, list[ContainerTarget]]]:
        """Each sandbox with its containers."""
        members: dict[str, list[ContainerTarget]] = {
            sandbox.subject.sandbox_id: [] for sandbox in sandboxes
        }
        for target in self._containers.values():
            if target.subject.sandbox_id in members:
                members[target.subject.sandbox_id].append(target)
        return [(sandbox, members[sandbox.subject.sandbox_id]) for sandbox in sandboxes]

    async def _fresh(
        self, containers: Sequence[ContainerTarget], sandboxes: Sequence[SandboxTarget]
    ) -> None:
        """Read those whose last reading is too old."""
        if self._are_fresh(containers) and self._are_fresh(sandboxes):
            return
        groups = self._groups(sandboxes)
        await self._in_thread(self._refresh, containers, groups)
        self._watch_found_layers()

    def _are_fresh(self, targets: Sequence[ContainerTarget] | Sequence[SandboxTarget]) -> bool:
        oldest = time.monotonic() - self._max_age_s
        return all(target.read_at > oldest for target in targets)

    async def _in_thread(self, work: Callable[..., T], *args: object) -> T:
        """One reading at a time: a second one would read the same files."""
        async with self._lock:
            return await anyio.to_thread.run_sync(work, *args)

    def _refresh(
        self,
        containers: Sequence[ContainerTarget],
        groups: Sequence[tuple[SandboxTarget, list[ContainerTarget]]],
    ) -> None:
        self._close_retired()
        oldest = time.monotonic() - self._max_age_s
        mountpoint = self.image_filesystem.mountpoint
        for target in [*containers, *(member for _, members in groups for member in members)]:
            if target.read_at <= oldest:
                layer = self.layers.usage(target.subject.container_id)
                _guarded(target.subject.container_id, target.refresh, layer, mountpoint)
        for sandbox, members in groups:
            if sandbox.read_at <= oldest:
                _guarded(sandbox.subject.sandbox_id, sandbox.refresh, members)

    def _metrics(
        self, groups: Sequence[tuple[SandboxTarget, list[ContainerTarget]]]
    ) -> list[bytes]:
        self._close_retired()
        filesystem = Filesystem(self.image_filesystem.mountpoint)
        entries: list[bytes] = []

        def read(sandbox: SandboxTarget, containers: list[ContainerTarget]) -> None:
            entries.append(pod_metrics(sandbox, containers, self.layers.usage, filesystem))

        for sandbox, containers in groups:
            _guarded(sandbox.subject.sandbox_id, read, sandbox, containers)
        return entries

    def _sample(
        self, containers: Sequence[ContainerTarget], sandboxes: Sequence[SandboxTarget]
    ) -> None:
        self._close_retired()
        for container in containers:
            _guarded(container.subject.container_id, container.sample, self._sample_interval_s / 2)
        for sandbox in sandboxes:
            _guarded(sandbox.subject.sandbox_id, sandbox.sample, self._sample_interval_s / 2)

    def _watch_found_layers(self) -> None:
        for target in self._containers.values():
            if target.writable_layer != target.subject.writable_layer:
                subject = target.subject
                self.layers.watch(subject.container_id, target.writable_layer, subject.mounted)

    def _close_retired(self) -> None:
        while self._closing:
            self._closing.pop().close()

    def _hierarchies(self) -> Hierarchies:
        if self._found is None:
            self._found = self._find_hierarchies()
        return self._found


def _guarded(subject: str, read: Callable[..., None], *args: object) -> None:
    try:
        read(*args)
    except Exception:  # what cannot be read of one container must not hide the others
        _logger.exception(
            "the use of %s could not be read", subject[:12], extra={"subject": subject}
        )


def _chosen(known: dict[str, T], ids: Iterable[str] | None) -> list[T]:
    if ids is None:
        return list(known.values())
    return [known[one] for one in ids if one in known]
