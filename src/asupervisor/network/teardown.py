"""Tear-downs: each runs to its own deadline in the plugin's own task group, is joined by callers
that ask again, and is repeated until it succeeds.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import anyio
from anyio.abc import TaskGroup, TaskStatus

from asupervisor.errors import RollbackFailed, ServiceError, Unavailable
from asupervisor.host.netns import HeldNamespace
from asupervisor.network.addresses import namespace_identity
from asupervisor.network.plugin import Gone, PodNetwork
from asupervisor.single_flight import Flight

log = logging.getLogger(__name__)

_LONGEST_DELAY_S = 60.0
_AT_ONCE = 4
_GONE = (0, 0)


Wanted = Callable[[], bool]
"""Whether a tear-down is still to be done."""


def _always() -> bool:
    return True


class _Attempt(Flight[None]):
    def __init__(self, sandbox_id: str, wanted: Wanted) -> None:
        super().__init__(f"tearing down the network of sandbox {sandbox_id}", sandbox_id)
        self.wanted = wanted


@dataclass(slots=True)
class _Failed:
    """A tear-down that is repeated.

    Args:
        pod: whose.
        namespace: the one that its path led to at the first attempt.
        wanted: whether it is still to be done.
    """

    pod: PodNetwork
    namespace: tuple[int, int]
    wanted: Wanted


class TearDowns:
    """Runs one plugin's tear-downs.

    Args:
        delete: takes one pod's network away, unless :meth:`wanted` says otherwise by the time that
            it holds the pod's lock; raises ServiceError when it has to be repeated.
        retry_delay_s: seconds from a failure to the first repetition; doubled each time, up to a
            minute.
    """

    def __init__(
        self, delete: Callable[[PodNetwork], Awaitable[None]], *, retry_delay_s: float
    ) -> None:
        self._delete = delete
        self._retry_delay_s = retry_delay_s
        self._attempts: dict[str, _Attempt] = {}
        self._failed: dict[str, _Failed] = {}
        self._group: TaskGroup | None = None

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Run tear-downs until cancelled; those under way are then cancelled too."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                task_status.started()
                await anyio.sleep_forever()
            finally:
                self._group = None

    @property
    def failed(self) -> int:
        """How many pods wait for the repetition of their tear-down."""
        return len(self._failed)

    def pending(self, sandbox_id: str) -> bool:
        """Whether a pod's network is being torn down, or waits for the repetition."""
        return sandbox_id in self._attempts or sandbox_id in self._failed

    def wanted(self, sandbox_id: str) -> bool:
        """Whether the tear-down of a pod that is under way is still to be done."""
        attempt = self._attempts.get(sandbox_id)
        return attempt is None or attempt.wanted()

    def begin(self, pod: PodNetwork, wanted: Wanted = _always) -> _Attempt:
        """Start tearing a pod's network down, or join the attempt under way.

        Args:
            pod: the pod.
            wanted: asked when the pod's turn has come; without it the tear-down is done in any
                case.
        """
        attempt = self._attempts.get(pod.sandbox_id)
        if attempt is not None and wanted is _always:
            attempt.wanted = _always
        if attempt is None:
            attempt = _Attempt(pod.sandbox_id, wanted)
            if self._group is None:
                attempt.fail(
                    Unavailable("the network plugin is not running", subject=pod.sandbox_id)
                )
                return attempt
            self._attempts[pod.sandbox_id] = attempt
            # The caller may close its descriptor before this ends, and its number be used again.
            held = _again(pod.held)
            self._group.start_soon(self._attempt, replace(pod, held=None), held, attempt)
        return attempt

    async def finish(self, pod: PodNetwork) -> None:
        """Tear down and wait for it; the caller's cancellation does not touch it.

        Raises:
            ServiceError: it failed; it will be repeated without being asked.
        """
        await self.begin(pod).wait()

    @asynccontextmanager
    async def unless_complete(self, pod: PodNetwork, wait_s: float) -> AsyncIterator[None]:
        """Tear a pod down when the body, which sets it up, does not come to its end.

        Args:
            pod: the pod.
            wait_s: seconds that the body's error waits for the tear-down, which goes on in the
                background if it takes longer.

        Raises:
            RollbackFailed: the body failed and the pod is not torn down yet; that is repeated.
        """
        try:
            yield
        except ServiceError as error:
            attempt = self.begin(pod)
            with anyio.move_on_after(wait_s):
                await attempt.done.wait()
            if attempt.done.is_set() and attempt.error is None:
                raise
            why = attempt.error.message if attempt.error else f"not within {wait_s:g} s"
            raise RollbackFailed(
                error,
                leftovers=(
                    (
                        f"the network of sandbox {pod.sandbox_id} is not taken down yet and that is"
                        f" tried again: {why}"
                    ),
                ),
                subject=pod.sandbox_id,
            ) from error
        except BaseException:
            self.begin(pod)
            raise

    async def finish_all(self, pods: Iterable[PodNetwork], gone: Gone) -> None:
        """Tear down several pods, a few at a time; failures are logged and repeated, not raised.

        Args:
            pods: that were not known to live a moment ago.
            gone: asked about each pod when its turn has come.
        """
        pods = list(pods)
        if pods:
            log.info("releasing the networks of %d sandboxes that are gone", len(pods))
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        async def one(pod: PodNetwork) -> None:
            async with limiter:
                await self.begin(pod, partial(gone, pod.sandbox_id)).done.wait()

        async with anyio.create_task_group() as group:
            for pod in pods:
                group.start_soon(one, pod)

    async def _attempt(
        self, pod: PodNetwork, held: HeldNamespace | None, attempt: _Attempt
    ) -> None:
        namespace = namespace_identity(pod.netns) if pod.netns else _GONE
        try:
            told = pod if held is None else replace(pod, netns=held.path)
            await attempt.run(partial(self._delete, told))
        finally:
            if held is not None:
                held.close()
            del self._attempts[pod.sandbox_id]
        if attempt.error is None:
            self._failed.pop(pod.sandbox_id, None)
        elif pod.sandbox_id in self._failed:
            if attempt.wanted is _always:
                self._failed[pod.sandbox_id].wanted = _always
        elif self._group is not None:
            self._failed[pod.sandbox_id] = _Failed(pod, namespace, attempt.wanted)
            log.warning("%s; it will be repeated", attempt.error)
            self._group.start_soon(self._repeat, pod.sandbox_id)

    async def _repeat(self, sandbox_id: str) -> None:
        delay_s = self._retry_delay_s
        while True:
            await anyio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)
            failed = self._failed.get(sandbox_id)
            if failed is None:
                return
            pod, namespace = failed.pod, failed.namespace
            # With its namespace while that exists, since addresses and interfaces in it are given
            # back too; without it afterwards, since the path may lead to another pod's.
            if namespace == _GONE or namespace_identity(pod.netns) != namespace:
                pod = replace(pod, netns="")
            attempt = self.begin(pod, failed.wanted)
            await attempt.done.wait()
            if attempt.error is None:
                log.info("the network of sandbox %s is taken down now", sandbox_id)
                return


def _again(held: HeldNamespace | None) -> HeldNamespace | None:
    try:
        return held.again() if held is not None else None
    except OSError:  # too many open files; then the path has to do
        return None
