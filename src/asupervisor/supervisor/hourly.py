"""Logs one line each hour about what the node did; an idle node logs nothing else."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import anyio

from asupervisor.metrics import Metrics

_logger = logging.getLogger(__name__)
_HOUR_S = 3600.0
_CHANGES = {
    "RunPodSandbox": "pods started",
    "RemovePodSandbox": "pods removed",
    "StartContainer": "containers started",
    "RemoveContainer": "containers removed",
    "PullImage": "images pulled",
    "RemoveImage": "images removed",
}
"""CRI methods that change the node, each with its words; other calls are only counted."""


async def report_hourly(metrics: Metrics, every_s: float = _HOUR_S) -> None:
    """Log the line until cancelled.

    Args:
        metrics: of the service.
        every_s: seconds from one line to the next.
    """
    before = totals(metrics)
    while True:
        await anyio.sleep(every_s)
        now = totals(metrics)
        _logger.info("%s", summary(metrics, before, now))
        before = now


def totals(metrics: Metrics) -> dict[str, int]:
    """The counts since the start, by their words in the line."""
    found = {words: metrics.answered(method) for method, words in _CHANGES.items()}
    found["streams"] = sum(counter.value for counter in metrics.streaming_sessions_total.values())
    found["calls"], found["calls failed"] = metrics.calls()
    found["engine operations failed"] = metrics.engine_errors()
    found["full readings of the engine"] = metrics.resyncs.value
    found["bytes of container logs"] = metrics.log_bytes.value
    return found


def summary(metrics: Metrics, before: Mapping[str, int], now: Mapping[str, int]) -> str:
    """The line: what runs, and what was counted between two :func:`totals`, zeros left out."""
    done = [f"{now[words] - before[words]} {words}" for words in now if now[words] != before[words]]
    running = f"{metrics.sandboxes.current():g} pods, {metrics.containers.current():g} containers"
    return f"in the last hour: {', '.join(done) or 'nothing'}; now: {running}"
