"""What kubelet does for a pod on its node: the order of its containers, hooks, probes, restarts.

If the first start of a container fails, that is an error. Later it is tried again and again, each
time after a longer pause. The log ``asupervisor.client.pods`` says what happens."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.client.containers import Container
from asupervisor.client.manifest.actions import Probe
from asupervisor.client.manifest.perform import failure_of
from asupervisor.client.values import ContainerInfo, PodInfo
from asupervisor.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    ServiceError,
    Unavailable,
)

if TYPE_CHECKING:
    from asupervisor.client.plan import ContainerPlan, PodPlan

_logger = logging.getLogger("asupervisor.client.pods")
_RETRY_S = 1.0
_FIRST_PAUSE_S = 10.0
_LONGEST_PAUSE_S = 300.0
Make = Callable[["ContainerPlan", int], Awaitable[Container]]
Status = Callable[[], Awaitable[PodInfo]]


class Life:
    """Runs one pod.

    Args:
        plan: of the pod.
        status: asks for its status.
        make: makes and starts an attempt of a container.
        tasks: in which probes and restarts run.

    Attributes:
        closing: set by who stops the pod; nothing starts again then.
    """

    def __init__(self, plan: PodPlan, status: Status, make: Make, tasks: BackgroundTasks) -> None:
        self._plan = plan
        self._status = status
        self._make = make
        self._tasks = tasks
        self.closing = anyio.Event()
        self._address = ""
        self._name = f"{plan.sandbox.metadata.namespace}/{plan.sandbox.metadata.name}"
        names = [each.name for each in (*plan.init_containers, *plan.containers)]
        self._started = {name: anyio.Event() for name in names}
        self._settled = {name: anyio.Event() for name in names}
        self._over = {name: anyio.Event() for name in names}
        self._last: dict[str, ContainerInfo] = {}

    @property
    def keeps(self) -> bool:
        """Whether there is work after the start: probes, restarts."""
        return self._plan.needs_keeping

    async def start(self) -> None:
        """Start everything, and return once it is ready or has ended for good.

        Raises:
            ServiceError: a container could not be started, or an init container failed and is not
                tried again.
        """
        addresses = (await self._status()).addresses
        self._address = addresses[0] if addresses else ""
        for plan in self._plan.init_containers:
            if plan.restart == "Always":
                await self._launch(plan)
                await self._started[plan.name].wait()
            else:
                await self._complete(plan)
        for plan in self._plan.containers:
            await self._launch(plan)
        if self._plan.needs_keeping:
            for plan in self._plan.containers:
                await self._settled[plan.name].wait()

    async def wait_over(self) -> list[ContainerInfo]:
        """Wait until its containers, except sidecars, have ended for good, and return how."""
        for plan in self._plan.containers:
            await self._over[plan.name].wait()
        return [self._last[plan.name] for plan in self._plan.containers if plan.name in self._last]

    async def _complete(self, plan: ContainerPlan) -> None:
        """Run an init container until it succeeds."""
        backoff = Backoff()
        attempt = 0
        while True:
            ended = await _end(await self._make(plan, attempt))
            if ended.exit_code == 0:
                return
            how = f'init container "{plan.name}" ended with code {ended.exit_code}'
            if plan.restart == "Never":
                raise FailedPrecondition(
                    f"{how}: {ended.message or ended.reason}", subject=ended.id
                )
            await self._pause(how, backoff)
            attempt += 1

    async def _launch(self, plan: ContainerPlan) -> None:
        container = await self._make(plan, 0)
        if self._plan.needs_keeping:
            self._tasks.start_soon(self._keep, plan, container)
        await self._post_start(plan, container)

    async def _keep(self, plan: ContainerPlan, container: Container) -> None:
        """Watch a container and restart it, until it has ended for good."""
        backoff = Backoff()
        while True:
            try:
                ended = self._last[plan.name] = await self._attend(plan, container)
            except ServiceError as error:
                # While a pod is removed, servers differ in the error that says that it is gone.
                if not (isinstance(error, NotFound) or self.closing.is_set()):
                    raise
                self._tell(f'container "{plan.name}" was removed')
                break
            wants_more = plan.restart == "Always" or ended.exit_code != 0
            if plan.restart == "Never" or not wants_more or await self._is_stopped():
                self._tell(f'container "{plan.name}" ended with code {ended.exit_code}')
                break
            await self._pause(f'container "{plan.name}" ended with code {ended.exit_code}', backoff)
            if (after := await self._again(plan, ended, backoff)) is None:
                break
            container = after
        for events in (self._started, self._settled, self._over):
            events[plan.name].set()

    async def _again(
        self, plan: ContainerPlan, ended: ContainerInfo, backoff: Backoff
    ) -> Container | None:
        """Make the next attempt; None if the pod was stopped meanwhile."""
        while not await self._is_stopped():
            try:
                container = await self._make(plan, ended.attempt + 1)
                await self._post_start(plan, container)
                return container
            except ServiceError as error:
                await self._pause(f'container "{plan.name}" cannot be started: {error}', backoff)
        self._tell("the pod was stopped")
        return None

    async def _attend(self, plan: ContainerPlan, container: Container) -> ContainerInfo:
        """Run the probes of one container until it has ended."""
        async with BackgroundTasks() as probing:
            probing.start_soon(self._probe, plan, container)
            return await _end(container)

    async def _probe(self, plan: ContainerPlan, container: Container) -> None:
        if (startup := plan.probes.get("startup")) is not None:
            await self._ask(plan, container, startup, "startup")
        self._started[plan.name].set()
        if "readiness" not in plan.probes:
            self._settled[plan.name].set()
        async with anyio.create_task_group() as tasks:
            for kind in ("liveness", "readiness"):
                if (probe := plan.probes.get(kind)) is not None:
                    tasks.start_soon(self._ask, plan, container, probe, kind)

    async def _ask(
        self, plan: ContainerPlan, container: Container, probe: Probe, kind: str
    ) -> None:
        """Repeat one probe until it is cancelled; a startup probe, until it has succeeded."""
        await anyio.sleep(probe.initial_delay_s)
        in_row, before, told = 0, True, ""
        while True:
            try:
                failure = await failure_of(
                    probe.action, container, self._address, float(probe.timeout_s)
                )
            except ServiceError as error:  # says nothing about the container
                failure, is_answer = str(error), False
            else:
                is_answer = True
            if failure != told and failure:
                self._tell(f'{kind} probe of "{plan.name}": {failure}')
            told = failure
            if is_answer:
                in_row = in_row + 1 if (not failure) is before else 1
                before = not failure
                if failure and in_row >= probe.failure_threshold:
                    await self._failed(plan, container, probe, kind)
                elif not failure and in_row >= probe.success_threshold:
                    if kind == "startup":
                        return
                    if kind == "readiness":
                        self._settled[plan.name].set()
            await anyio.sleep(probe.period_s)

    async def _failed(
        self, plan: ContainerPlan, container: Container, probe: Probe, kind: str
    ) -> None:
        if kind == "readiness":
            return
        self._tell(f'container "{plan.name}" is stopped: its {kind} probe failed')
        try:
            await container.stop(probe.grace_s)
        except ServiceError as error:
            self._tell(f'container "{plan.name}" cannot be stopped: {error}')

    async def _post_start(self, plan: ContainerPlan, container: Container) -> None:
        """If the hook fails, the container is stopped; the restart policy decides what follows."""
        if plan.post_start is None:
            return
        try:
            failure = await failure_of(plan.post_start, container, self._address, None)
        except ServiceError as error:
            failure = str(error)
        if failure:
            self._tell(f'postStart of "{plan.name}" failed, and it is stopped: {failure}')
            await container.stop()

    async def _is_stopped(self) -> bool:
        """Whether the pod was stopped or removed, by this client or another one."""
        while not self.closing.is_set():
            try:
                return not (await self._status()).ready
            except NotFound:
                return True
            except (Unavailable, DeadlineExceeded):
                await anyio.sleep(_RETRY_S)
        return True

    async def _pause(self, what: str, backoff: Backoff) -> None:
        pause_s = backoff.next(anyio.current_time())
        self._tell(f"{what}; it starts again {f'in {pause_s:g} s' if pause_s else 'now'}")
        with anyio.move_on_after(pause_s):
            await self.closing.wait()

    def _tell(self, what: str) -> None:
        _logger.info("%s: %s", self._name, what)


class Backoff:
    """The pauses before a container is started again, as in kubelet: none the first time, then
    10 s, each twice as long as the one before, up to 300 s. After 600 s without a restart they
    begin anew.
    """

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._last_s = 0.0

    def next(self, now_s: float) -> float:
        """Seconds to wait now, at a time of a monotonic clock."""
        if now_s - self._last_s > 2 * _LONGEST_PAUSE_S:
            self._pause_s = 0.0
        pause_s = self._pause_s
        self._pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s or _FIRST_PAUSE_S)
        self._last_s = now_s + pause_s
        return pause_s


async def _end(container: Container) -> ContainerInfo:
    """Wait for its end, also while the server is away, and return how it ended."""
    while True:
        try:
            return await container.wait()
        except (Unavailable, DeadlineExceeded):
            await anyio.sleep(_RETRY_S)
