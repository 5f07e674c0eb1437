"""``run`` in the foreground: pods that live as long as the command, and one command in an image."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

import anyio

from asupervisor.background_tasks import BackgroundTasks
from asupervisor.cli.output import say
from asupervisor.cli.streams import wanted
from asupervisor.cli.verbs.run import announce
from asupervisor.client import Client, Pod
from asupervisor.client.plan import PodOptions, PodPlan, pod_plan
from asupervisor.client.values import ContainerInfo
from asupervisor.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def stay(client: Client, plans: Sequence[PodPlan], options: argparse.Namespace) -> int:
    """Run pods until all their containers have ended for good, or until a signal; a second one
    stops them at once.

    Returns:
        The exit code of the first container that failed; 0 after a signal.
    """
    async with AsyncExitStack() as stack:
        pods = []
        for plan in plans:
            block = client.pod(manifest=plan, keep=not options.rm)
            pods.append(await stack.enter_async_context(block))
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            for pod in pods:
                announce(pod, options.output)
            ended = await _over(pods, signals)
            if ended is None:
                say("stopping; once more to stop at once")
            await _stop(pods, signals)
    return next((each.exit_code for each in ended or () if each.exit_code), 0)


async def _over(
    pods: Sequence[Pod], signals: AsyncIterator[signal.Signals]
) -> list[ContainerInfo] | None:
    """Wait for the containers' end, and return how they ended; None if a signal came first."""
    ended: list[ContainerInfo] | None = None

    async def wait() -> None:
        nonlocal ended
        ended = [each for pod in pods for each in await pod.wait_over()]

    await _until_signal(wait, signals)
    return ended


async def _stop(pods: Sequence[Pod], signals: AsyncIterator[signal.Signals]) -> None:
    """With their grace period; after a signal the blocks kill at their end what is left."""

    async def stop(pod: Pod) -> None:
        try:
            await pod.stop()
        except ServiceError as error:
            say(str(error))

    async def stop_all() -> None:
        async with anyio.create_task_group() as stopping:
            for pod in pods:
                stopping.start_soon(stop, pod)

    await _until_signal(stop_all, signals)


async def _until_signal(
    work: Callable[[], Awaitable[None]], signals: AsyncIterator[signal.Signals]
) -> None:
    async with anyio.create_task_group() as tasks:

        async def do() -> None:
            await work()
            tasks.cancel_scope.cancel()

        tasks.start_soon(do)
        async for _ in signals:
            tasks.cancel_scope.cancel()
            break


async def run_image(client: Client, options: argparse.Namespace) -> int:
    """Run one container with our streams, and return its exit code."""
    stdin, tty = wanted(options)
    settings: PodOptions = {"stdin": stdin, "terminal": tty}
    if options.name:
        settings["name"] = options.name
    plan = pod_plan(options.what, options.command, settings)
    plan.containers[0].config.stdin_once = stdin  # the end of our input ends the container's
    if options.detach:
        announce(await client.start_pod(plan), options.output)
        return 0
    async with client.pod(manifest=plan, keep=not options.rm) as pod:
        if not options.rm:
            say(f"pod {pod.info.namespace}/{pod.name}")
        if tty:
            from asupervisor.cli.terminal import run_session

            async with pod.main.attach(stdin=stdin, terminal=True) as joined:
                await run_session(joined, has_terminal=True)
        else:
            async with BackgroundTasks() as feeding:
                if stdin:
                    feeding.start_soon(_feed, pod)
                await _print_log(pod)
        return (await pod.wait()).exit_code or 0


async def _feed(pod: Pod) -> None:
    """Give it our standard input. Its output is printed from the log, which has each line once."""
    from asupervisor.cli.terminal import run_session

    try:
        async with pod.main.attach(stdin=True) as joined:
            code = await run_session(joined, has_terminal=False, shows_output=False)
    except ServiceError:  # it has ended already
        return
    if code > 128:  # a signal
        await pod.stop(0)


async def _print_log(pod: Pod) -> None:
    async with aclosing(pod.logs(follow=True)) as lines:
        async for line in lines:
            out = sys.stderr.buffer if line.stream == "stderr" else sys.stdout.buffer
            out.write(line.content + (b"" if line.partial else b"\n"))
            out.flush()
