"""The line about an hour of the node's life."""

from __future__ import annotations

import logging

import anyio
import pytest

from asupervisor.metrics import Metrics
from asupervisor.supervisor.hourly import report_hourly, summary, totals


def did(metrics: Metrics, method: str, code: str = "OK") -> None:
    figures = metrics.rpc(method)
    figures.begin()
    figures.end(0.01, code)


def test_what_was_done_and_what_runs() -> None:
    metrics = Metrics()
    did(metrics, "RunPodSandbox")
    before = totals(metrics)
    for _ in range(3):
        did(metrics, "RunPodSandbox")
    did(metrics, "RunPodSandbox", "UNAVAILABLE")
    did(metrics, "ListContainers")
    metrics.engine("pull_image").end(1.0, failed=True)
    metrics.log_bytes.add(5)
    metrics.sandboxes.set(2)
    metrics.containers.set(4)
    with metrics.streaming_session("exec"):
        pass
    assert summary(metrics, before, totals(metrics)) == (
        "in the last hour: 3 pods started, 1 streams, 5 calls, 1 calls failed, 1 engine operations"
        " failed, 5 bytes of container logs; now: 2 pods, 4 containers"
    )


def test_an_idle_hour_says_so() -> None:
    metrics = Metrics()
    assert summary(metrics, totals(metrics), totals(metrics)) == (
        "in the last hour: nothing; now: 0 pods, 0 containers"
    )


async def test_each_line_is_about_its_own_hour(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    with caplog.at_level(logging.INFO, "asupervisor.supervisor.hourly"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(report_hourly, metrics, 0.01)
            await anyio.wait_all_tasks_blocked()
            did(metrics, "PullImage")
            with anyio.fail_after(10):
                while len(caplog.records) < 3:  # noqa: ASYNC110 - a log tells nobody of a line
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    lines = [record.getMessage() for record in caplog.records]
    assert ["1 images pulled" in line for line in lines].count(True) == 1
    assert lines[-1] == "in the last hour: nothing; now: 0 pods, 0 containers"
