"""The stats of the node when something cannot be read."""

from __future__ import annotations

import logging
from typing import NoReturn

import anyio
import pytest

from asupervisor.host.cgroups import Hierarchies
from asupervisor.proto import cri
from asupervisor.proto.wire import encode_field
from asupervisor.stats import targets
from asupervisor.stats.service import Stats
from asupervisor.stats.subjects import ContainerSubject, SandboxSubject


async def test_what_cannot_be_read_of_one_container_hides_no_other(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = Stats(hierarchies=Hierarchies, max_age_s=0.0)
    for name in ("bad", "good"):
        stats.put_container(
            ContainerSubject(name, "pod", 0, encode_field(1, cri.ContainerAttributes(id=name)))
        )
    stats.put_sandbox(SandboxSubject("pod", 0, encode_field(1, cri.PodSandboxAttributes(id="pod"))))
    stats.put_sandbox(
        SandboxSubject("other", 0, encode_field(1, cri.PodSandboxAttributes(id="other")))
    )

    def fail(*args: object) -> NoReturn:
        raise ValueError("the kernel wrote something new")

    monkeypatch.setattr(stats._containers["bad"], "refresh", fail)
    monkeypatch.setattr(stats._containers["bad"], "sample", fail)
    monkeypatch.setattr(stats._containers["bad"], "open", fail)

    with caplog.at_level(logging.ERROR):
        listed = cri.ListContainerStatsResponse.FromString(
            b"".join(await stats.container_stats())
        ).stats
        assert [one.attributes.id for one in listed] == ["bad", "good"]
        assert listed[1].HasField("writable_layer") and not listed[0].HasField("writable_layer")
        pods = cri.ListPodSandboxStatsResponse.FromString(
            b"".join(await stats.sandbox_stats())
        ).stats
        assert [one.attributes.id for one in pods[0].linux.containers] == ["bad", "good"]
        metrics = cri.ListPodSandboxMetricsResponse.FromString(
            b"".join(await stats.sandbox_metrics())
        ).pod_metrics
        assert [pod.pod_sandbox_id for pod in metrics] == ["other"]
        async with anyio.create_task_group() as tasks:
            await tasks.start(stats.run)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert "the use of bad could not be read" in caplog.text


async def test_unknown_ids_are_left_out_and_forgotten_ones_too() -> None:
    stats = Stats(hierarchies=Hierarchies)
    stats.put_container(
        ContainerSubject("c", "pod", 0, encode_field(1, cri.ContainerAttributes(id="c")))
    )
    stats.put_sandbox(SandboxSubject("pod", 0, encode_field(1, cri.PodSandboxAttributes(id="pod"))))
    assert len(await stats.container_stats(["c", "none"])) == 1
    assert len(await stats.sandbox_stats(["none", "pod"])) == 1
    stats.forget_container("c")
    stats.forget_sandbox("pod")
    assert (
        await stats.container_stats() == []
        and await stats.sandbox_stats() == []
        and await stats.sandbox_metrics() == []
    )


async def test_a_reading_that_waited_opens_nothing_of_what_was_removed_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []

    def process(pid: int, container_id: str, hierarchies: object) -> None:
        opened.append(container_id)

    monkeypatch.setattr(targets, "Process", process)
    stats = Stats(hierarchies=Hierarchies)
    stats.put_container(
        ContainerSubject("c", "pod", 7, encode_field(1, cri.ContainerAttributes(id="c")))
    )
    stats.put_sandbox(SandboxSubject("pod", 7, encode_field(1, cri.PodSandboxAttributes(id="pod"))))
    async with anyio.create_task_group() as tasks, stats._lock:
        tasks.start_soon(stats.container_stats)
        tasks.start_soon(stats.sandbox_stats)
        await anyio.wait_all_tasks_blocked()
        stats.forget_container("c")
        stats.forget_sandbox("pod")
        stats._close_retired()
    assert opened == []
