"""A seed's run, from an empty directory to its report."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulate.clock import Loop, substitutes
from tests.simulate.trace import Trace
from tests.simulate.truth import Finding
from tests.simulate.world import World


@dataclass(frozen=True)
class Report:
    """What came of a run.

    Args:
        seed: of it.
        digest: of its trace; the same for the same seed.
        findings: what must not be.
        trace: what happened, one line each.
        calls, faults, kills: how many.
        seconds: of virtual time.
    """

    seed: int
    digest: str
    findings: list[Finding]
    trace: list[str]
    calls: int
    faults: int
    kills: int
    seconds: float


def simulate(seed: int, seconds: float, *, collect: bool = True) -> Report:
    """Run one seed to its end.

    Args:
        seed: decides everything.
        seconds: of virtual time in which things go wrong.
        collect: what is left of it; without, the process has to end soon.
    """
    hook, drawn = sys.unraisablehook, random.getstate()
    gc.disable()
    try:
        random.seed(seed)
        return _run(seed, seconds)
    finally:
        # What is left of killed processes is never run again. Once collected, it is closed, which
        # can use it once more: nobody listens to that, and the second time collects the rest.
        sys.unraisablehook = lambda _: None
        logging.disable()
        if collect:
            gc.collect()
            gc.collect()
            gc.enable()
        logging.disable(logging.NOTSET)
        sys.unraisablehook = hook
        random.setstate(drawn)


def _run(seed: int, seconds: float) -> Report:
    loop = Loop()
    logger = logging.getLogger("asupervisor")
    before = (logger.level, logger.propagate)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="simulate-", dir=base) as root:
        trace = Trace(loop, root)
        logger.addHandler(trace)
        loop.set_exception_handler(lambda _, context: _unheard(trace, context))
        world = World(seed, seconds, Path(root), loop, trace)
        try:
            with substitutes(loop, world._draws(), world.threads):
                asyncio.set_event_loop(loop)
                loop.run_until_complete(world.run())
        except Exception:  # one seed must not end a run of many
            world.truth.found("simulator", traceback.format_exc())
        finally:
            loop.set_exception_handler(lambda *_: None)
            for task in asyncio.all_tasks(loop):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            loop.close()
            asyncio.set_event_loop(None)
            logger.removeHandler(trace)
            logger.setLevel(before[0])
            logger.propagate = before[1]
    return Report(
        seed,
        trace.digest,
        world.truth.findings,
        trace.lines,
        world.client.calls,
        world.faults.thrown + world.network.thrown + world.pumps.thrown + world.operated,
        world.service.kills,
        loop.now - 1000.0,
    )


def _unheard(trace: Trace, context: dict[str, Any]) -> None:
    trace.lines.append(f"{'':10} loop: {context.get('message')} {context.get('exception')!r}")
