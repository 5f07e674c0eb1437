"""One container: how it is, what it wrote, commands in it, files of it."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from asupervisor.client.changes import Changes, Pauses
from asupervisor.client.values import Completed, ContainerInfo, State, Usage, noted_number
from asupervisor.errors import DeadlineExceeded, FailedPrecondition
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService

if TYPE_CHECKING:
    from asupervisor.client.logs import LogLine
    from asupervisor.client.plan import Resources
    from asupervisor.streaming.client import RemoteCommand

GRACE_ANNOTATION = "io.kubernetes.pod.terminationGracePeriod"
"""The annotation of a container in which kubelet keeps terminationGracePeriodSeconds."""
PRE_STOP_ANNOTATION = "io.kubernetes.container.preStopHandler"
"""The annotation in which kubelet keeps ``lifecycle.preStop``, as JSON."""
STOP_STAGE_ANNOTATION = "asupervisor.io/stop-stage"
"""The annotation with a container's turn when its pod stops: first those without it, then 1, 2, …
"""
DEFAULT_GRACE_S = 30
"""The API's default of terminationGracePeriodSeconds."""
OUTPUT_BYTES = 16 * 1024 * 1024
"""Most that is kept of a command's output where the caller does not say."""


class Container:
    """A container of any CRI server; made by :class:`asupervisor.client.Client`.

    Attributes:
        info: as it was when it was found; :meth:`status` asks again.
    """

    def __init__(
        self, runtime: RemoteRuntimeService, changes: Changes, info: ContainerInfo
    ) -> None:
        self._runtime = runtime
        self._changes = changes
        self.info = info

    @property
    def id(self) -> str:
        """Its id."""
        return self.info.id

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return self.info.name

    async def status(self) -> ContainerInfo:
        """How it is now.

        Raises:
            NotFound: it is gone.
        """
        answer = await self._runtime.container_status(self.id)
        return ContainerInfo.of(answer.status, self.info.pod_id)

    async def wait(self, timeout_s: float | None = None) -> ContainerInfo:
        """Wait until it has ended, and return how: its ``exit_code``, ``reason``.

        Args:
            timeout_s: seconds; None for as long as it takes.

        Raises:
            DeadlineExceeded: it did not end in that time; it goes on running.
            NotFound: it was removed meanwhile.
        """
        pause = Pauses(self._changes, self.id)
        with anyio.move_on_after(timeout_s):
            while True:
                now = await self.status()
                if now.state is State.EXITED:
                    return now
                await pause()
        raise DeadlineExceeded(
            f'container "{self.name}" has not ended within {timeout_s:g} s',
            operation="wait",
            subject=self.id,
        )

    async def logs(
        self, *, follow: bool = False, tail: int | None = None
    ) -> AsyncGenerator[LogLine, None]:
        """Its log, line by line, from the file on this node.

        Args:
            follow: go on until the container ends.
            tail: only so many of the lines that are there now, and 64 MiB of them at most.

        Raises:
            FailedPrecondition: it has no log, or it cannot be read here.
        """
        from asupervisor.client.logs import read_log

        path = (await self.status()).log_path
        if not path:
            raise FailedPrecondition(
                f'container "{self.name}" has no log file: it, or its pod, was made without one',
                subject=self.id,
            )

        async def has_ended() -> bool:
            return (await self.status()).state is State.EXITED

        async for line in read_log(path, self.id, has_ended if follow else None, tail):
            yield line

    async def exec(
        self,
        command: Sequence[str],
        *,
        input: bytes | str | None = None,
        timeout_s: float | None = None,
        limit_bytes: int = OUTPUT_BYTES,
    ) -> Completed:
        """Run a command to its end.

        Args:
            command: program and arguments, without a shell.
            input: its standard input; None for an empty one.
            timeout_s: seconds, above 0, after which the server kills the command; None for as long
                as it takes. Other servers may leave a command with ``input`` running.
            limit_bytes: of stdout and of stderr, each; the rest is lost.

        Raises:
            DeadlineExceeded: it ran longer.
            FailedPrecondition, Internal: it could not be run.
        """
        started = time.monotonic()
        if input is not None:
            from asupervisor.client.streams import run_streamed

            given = input.encode() if isinstance(input, str) else input
            return await run_streamed(self, command, given, timeout_s, limit_bytes)
        whole_s = 0 if timeout_s is None else max(1, math.ceil(timeout_s))
        answer = await self._runtime.exec_sync(self.id, command, whole_s)
        return Completed(
            exit_code=answer.exit_code,
            stdout=answer.stdout[:limit_bytes],
            stderr=answer.stderr[:limit_bytes],
            duration_s=time.monotonic() - started,
            is_cut=max(len(answer.stdout), len(answer.stderr)) > limit_bytes,
        )

    @asynccontextmanager
    async def open(
        self,
        command: Sequence[str],
        *,
        stdin: bool = True,
        terminal: bool = False,
        websocket: bool = False,
    ) -> AsyncIterator[RemoteCommand]:
        """Run a command whose streams are open while the block runs; leaving it ends them.

        Args:
            command: program and arguments, without a shell.
            stdin: whether it gets a standard input.
            terminal: whether it gets a terminal; stdout and stderr are one then.
            websocket: instead of SPDY.

        Raises:
            FailedPrecondition: the server's WebSocket cannot tell the end of stdin, which a command
                without a terminal needs.
            ServiceError: as the server answers.
        """
        from asupervisor.streaming.client import open_command

        url = await self._runtime.exec(
            self.id, command, tty=terminal, stdin=stdin, stderr=not terminal
        )
        async with open_command(url, tty=terminal, stdin=stdin, websocket=websocket) as running:
            yield running

    @asynccontextmanager
    async def attach(
        self, *, stdin: bool = False, terminal: bool = False, websocket: bool = False
    ) -> AsyncIterator[RemoteCommand]:
        """Join the streams of the container's own process; leaving the block leaves it running.

        Args:
            stdin: whether to write to its standard input; it must have been made with one.
            terminal: whether it was made with a terminal.
            websocket: instead of SPDY.

        Raises:
            ServiceError: as :meth:`open` does.
        """
        from asupervisor.streaming.client import open_command

        url = await self._runtime.attach(self.id, tty=terminal, stdin=stdin, stderr=not terminal)
        async with open_command(url, tty=terminal, stdin=stdin, websocket=websocket) as running:
            yield running

    async def put(self, source: Path | str | bytes, target: str) -> None:
        """Write a file or a folder into the container; it needs ``tar`` in its image.

        Args:
            source: a path here (links in a folder are kept as links), or the content of a file.
            target: its path in the container; missing folders above it are made.

        Raises:
            FailedPrecondition: the container has no ``tar``, or its ``tar`` failed.
            InvalidArgument: ``target`` is not an absolute path, or the source cannot be read.
        """
        from asupervisor.client.files import put

        await put(self, source, target)

    async def get(
        self, source: str, target: Path | str, *, limit_bytes: int = 1 << 30
    ) -> tuple[str, ...]:
        """Read a file or a folder out of the container; it needs ``tar`` in its image.

        Nothing is written outside of ``target``, whatever the container sends: regular files and
        folders come with their permissions, without set-uid bits and owners; a link comes only if
        it leads to a place inside.

        Args:
            source: an absolute path in the container.
            target: its path here. An existing file is replaced; to an existing folder, files are
                added.
            limit_bytes: of all files together.

        Returns:
            What was left out, one sentence each.

        Raises:
            NotFound: there is no ``source``.
            ResourceExhausted: it is larger than the limit.
            FailedPrecondition: the container has no ``tar``, or what it sends is not an archive.
        """
        from asupervisor.client.files import get

        return await get(self, source, Path(target), limit_bytes)

    async def usage(self) -> Usage:
        """What it uses."""
        return Usage.of(await self._runtime.container_stats(self.id))

    async def start(self) -> None:
        """Start a created one."""
        await self._runtime.start_container(self.id)

    async def stop(self, grace_s: int | None = None) -> None:
        """Run its ``preStop`` hook, if it has one, send its stop signal, and SIGKILL after the
        grace.

        Args:
            grace_s: seconds for all of it; None: those of its manifest, else 30. With 0 the hook
                is not run.
        """
        if grace_s is None:
            grace_s = noted_number(self.info.annotations, GRACE_ANNOTATION, DEFAULT_GRACE_S)
        hook = self.info.annotations.get(PRE_STOP_ANNOTATION, "")
        if hook and grace_s > 0 and (await self.status()).state is State.RUNNING:
            from asupervisor.client.manifest.hooks import run_pre_stop

            network = (await self._runtime.pod_sandbox_status(self.info.pod_id)).status.network
            grace_s = await run_pre_stop(self, hook, network.ip, grace_s)
        await self._runtime.stop_container(self.id, grace_s)

    async def update(self, resources: Resources) -> None:
        """Change its limits in place; those that are None stay."""
        linux = cri.LinuxContainerResources()
        resources.fill(linux)
        await self._runtime.update_container_resources(self.id, linux)

    async def remove(self) -> None:
        """Remove it, by force if it runs."""
        await self._runtime.remove_container(self.id)
