"""Running the service in the foreground: settings, logging, signals, readiness, exit code."""

from __future__ import annotations

import gc
import logging
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from asupervisor.cli.failures import sole_failure
from asupervisor.cli.flags import parse_arguments
from asupervisor.config import Config

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from asupervisor.supervisor import Supervisor
    from asupervisor.supervisor.notify import Notifier

_logger = logging.getLogger("asupervisor")


def serve(arguments: list[str]) -> int:
    """Run until a signal; 0 after an orderly stop.

    Raises:
        ServiceError: it cannot start, or a part of it failed for good.
    """
    config = parse_arguments(arguments)
    from asupervisor.log import configure_logging

    configure_logging(config.log_level, config.log_format)
    options = {}
    with suppress(ImportError):
        import uvloop  # noqa: F401

        options["use_uvloop"] = True
    with sole_failure():
        return anyio.run(_serve, config, backend_options=options)


async def _serve(config: Config) -> int:
    # Imported late, so that a mistake in the command line is reported at once. What is imported
    # stays: to look for garbage among it makes the start a tenth longer, and later stops the event
    # loop for some 50 ms each time.
    gc.disable()
    from asupervisor.supervisor import Supervisor
    from asupervisor.supervisor.notify import Notifier

    gc.freeze()
    gc.enable()
    notifier = Notifier.from_environment()
    supervisor = Supervisor(config)
    stopped = anyio.Event()
    async with anyio.create_task_group() as tasks:
        await tasks.start(_watch_signals, supervisor, stopped)
        tasks.start_soon(notifier.run_watchdog)
        async with supervisor:
            tasks.start_soon(_follow_conditions, supervisor, notifier)
            await stopped.wait()
            _logger.info("stopping: calls in flight have %g s", config.shutdown_grace_s)
            notifier.send(STOPPING="1", STATUS="stopping")
        tasks.cancel_scope.cancel()
    _logger.info("stopped; the containers keep running")
    return 0


async def _follow_conditions(supervisor: Supervisor, notifier: Notifier) -> None:
    """Tell the operator how things are, and whenever that changes, until the service stops."""
    conditions = supervisor.conditions
    now = conditions.look()
    while not conditions.is_stopping:
        reasons = [condition.message for condition in now if not condition.ready]
        if reasons:
            _logger.warning("not ready: %s (%s)", "; ".join(reasons), supervisor.summary)
        else:
            _logger.info("ready: %s", supervisor.summary)
        notifier.send(READY="1", STATUS="; ".join(reasons) or supervisor.summary)
        now = await conditions.change(now)


async def _watch_signals(
    supervisor: Supervisor, stopped: anyio.Event, *, task_status: TaskStatus[None]
) -> None:
    """The first SIGTERM or SIGINT stops the service in order, a second one skips the grace."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            _logger.info("received %s", signal.Signals(number).name)
            if stopped.is_set():
                supervisor.skip_grace()
            stopped.set()
