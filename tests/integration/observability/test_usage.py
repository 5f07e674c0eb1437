"""Stats, metrics and streamed lists over the socket."""

from __future__ import annotations

import pytest

from asupervisor.errors import NotFound
from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from asupervisor.stats.metric_descriptors import METRICS
from tests.harness.engine import Engine
from tests.harness.service import Service
from tests.integration.observability.conftest import pod_config, run_container


async def test_filters_and_streams(runtime: RemoteRuntimeService, service: Service) -> None:
    ids: dict[str, list[str]] = {}
    for pod in ("one", "two"):
        config = pod_config(pod)
        sandbox_id = await runtime.run_pod_sandbox(config)
        ids[pod] = [
            sandbox_id,
            await run_container(runtime, sandbox_id, config, "sleep 1000", labels={"app": pod}),
        ]
    (one, inner), (two, other) = ids["one"], ids["two"]
    for stream in (False, True):
        everything = await runtime.list_container_stats(stream=stream)
        assert [stats.attributes.id for stats in everything] == [inner, other]
        for wanted in (
            cri.ContainerStatsFilter(id=inner),
            cri.ContainerStatsFilter(id=inner[:12]),
            cri.ContainerStatsFilter(pod_sandbox_id=one),
            cri.ContainerStatsFilter(label_selector={"app": "one"}),
        ):
            assert [
                stats.attributes.id
                for stats in await runtime.list_container_stats(wanted, stream=stream)
            ] == [inner]
        assert (
            await runtime.list_container_stats(cri.ContainerStatsFilter(id="none"), stream=stream)
            == []
        )
        assert [
            stats.attributes.id for stats in await runtime.list_pod_sandbox_stats(stream=stream)
        ] == [one, two]
        for pods in (
            cri.PodSandboxStatsFilter(id=two[:12]),
            cri.PodSandboxStatsFilter(label_selector={"app": "two"}),
        ):
            assert [
                stats.attributes.id
                for stats in await runtime.list_pod_sandbox_stats(pods, stream=stream)
            ] == [two]
        assert [pod.id for pod in await runtime.list_pod_sandbox(stream=stream)] == [one, two]
        assert [container.id for container in await runtime.list_containers(stream=stream)] == [
            inner,
            other,
        ]
        assert [
            metrics.pod_sandbox_id
            for metrics in await runtime.list_pod_sandbox_metrics(stream=stream)
        ] == [one, two]
    stats = await runtime.container_stats(inner[:12])
    assert stats.attributes.metadata.name == "main" and stats.cpu.usage_core_nano_seconds.value > 0
    assert stats.cpu.HasField("usage_nano_cores") and stats.memory.working_set_bytes.value > 0
    pod_stats = await runtime.pod_sandbox_stats(one)
    assert pod_stats.linux.network.default_interface.name == "eth0"
    assert pod_stats.linux.process.process_count.value == 2
    assert [container.attributes.id for container in pod_stats.linux.containers] == [inner]
    with pytest.raises(NotFound):
        await runtime.container_stats("none")
    with pytest.raises(NotFound):
        await runtime.pod_sandbox_stats("none")
    await runtime.stop_pod_sandbox(two)
    assert [stats.attributes.id for stats in await runtime.list_pod_sandbox_stats()] == [one], (
        "a stopped pod uses nothing"
    )
    left = {stats.attributes.id: stats for stats in await runtime.list_container_stats()}
    assert left[inner].HasField("cpu") and not left[other].HasField("cpu")
    async with RemoteImageService.connect(service.endpoint) as images:
        assert sorted(image.id for image in await images.list_images(stream=True)) == sorted(
            image.id for image in await images.list_images()
        )


async def test_metrics_have_cadvisors_names_and_labels(
    runtime: RemoteRuntimeService, engine: Engine
) -> None:
    descriptors = {
        descriptor.name: list(descriptor.label_keys)
        for descriptor in await runtime.list_metric_descriptors()
    }
    assert descriptors.keys() == METRICS.keys()
    config = pod_config("metered")
    sandbox_id = await runtime.run_pod_sandbox(config)
    resources = cri.LinuxContainerResources(
        cpu_period=100_000,
        cpu_quota=20_000,
        cpu_shares=512,
        memory_limit_in_bytes=64 << 20,
        memory_swap_limit_in_bytes=64 << 20,
    )
    container_id = await run_container(
        runtime,
        sandbox_id,
        config,
        "exec sleep 1000",
        linux=cri.LinuxContainerConfig(resources=resources),
    )
    metrics = await runtime.list_pod_sandbox_metrics()
    assert [pod.pod_sandbox_id for pod in metrics] == [sandbox_id]
    assert [container.container_id for container in metrics[0].container_metrics] == [container_id]
    named = engine.inspect(container_id)["Name"].lstrip("/")
    own: dict[str, list[tuple[dict[str, str], int]]] = {}
    for metric in metrics[0].container_metrics[0].metrics:
        keys = descriptors[metric.name]
        assert len(keys) == len(metric.label_values), metric.name
        labels = dict(zip(keys, metric.label_values, strict=True))
        assert (
            labels["pod"] == "metered"
            and labels["namespace"] == "tests"
            and labels["container"] == "main"
        )
        assert labels["name"] == named and labels["id"].endswith(container_id)
        assert labels["image"].startswith("asupervisor.test/busybox")
        assert metric.metric_type == METRICS[metric.name][0].value
        own.setdefault(metric.name, []).append((labels, metric.value.value))
    expected = {
        "container_spec_cpu_period": 100_000,
        "container_spec_cpu_quota": 20_000,
        "container_spec_memory_limit_bytes": 64 << 20,
        "container_processes": 1,
        "container_threads": 1,
        "container_sockets": 0,
    }
    assert {name: own[name][0][1] for name in expected} == expected
    stats = await runtime.container_stats(container_id)
    assert own["container_memory_rss"][0][1] == stats.memory.rss_bytes.value
    assert (
        own["container_start_time_seconds"][0][1]
        == (await runtime.container_status(container_id)).status.started_at // 10**9
    )
    assert own["container_cpu_usage_seconds_total"][0][0]["cpu"] == "total"
    assert {labels["failure_type"] for labels, _ in own["container_memory_failures_total"]} == {
        "pgfault",
        "pgmajfault",
    }
    network = [
        dict(zip(descriptors[metric.name], metric.label_values, strict=True))
        for metric in metrics[0].metrics
        if "network" in metric.name
    ]
    assert len(network) == 8 and all(
        labels["interface"] == "eth0" and labels["container"] == "POD" for labels in network
    )
    pod = {metric.name: metric for metric in metrics[0].metrics}
    working_set = pod["container_memory_working_set_bytes"]
    labels = dict(zip(descriptors[working_set.name], working_set.label_values, strict=True))
    assert (
        labels["container"] == ""
        and labels["pod"] == "metered"
        and labels["id"] == config.linux.cgroup_parent
    )
    assert working_set.value.value >= own["container_memory_working_set_bytes"][0][1] // 2
