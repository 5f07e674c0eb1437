"""What ``top`` makes of a server's answers."""

from __future__ import annotations

from asupervisor.cli.top.look import Look, Rates, activity, container_rows, metrics_address, pod_row
from asupervisor.client import ContainerInfo, PodInfo, Usage
from asupervisor.client.calls import Activity
from asupervisor.proto import cri


def listed(name: str, attempt: int, state: cri.ContainerState) -> ContainerInfo:
    return ContainerInfo.of(
        cri.Container(
            id=f"{name}-{attempt}",
            pod_sandbox_id="pod",
            metadata=cri.ContainerMetadata(name=name, attempt=attempt),
            state=state,
            created_at=attempt,
        )
    )


def used(container_id: str, cores: float, memory: int) -> Usage:
    return Usage.of(
        cri.ContainerStats(
            attributes=cri.ContainerAttributes(id=container_id),
            cpu=cri.CpuUsage(
                usage_nano_cores=cri.UInt64Value(value=int(cores * 1e9)),
                psi=cri.PsiStats(Some=cri.PsiData(Avg10=2.5)),
            ),
            memory=cri.MemoryUsage(working_set_bytes=cri.UInt64Value(value=memory)),
            writable_layer=cri.FilesystemUsage(used_bytes=cri.UInt64Value(value=7)),
        )
    )


def test_the_newest_attempt_of_a_container_stands_for_it() -> None:
    containers = [
        listed("web", 0, cri.CONTAINER_EXITED),
        listed("web", 1, cri.CONTAINER_RUNNING),
        listed("init", 0, cri.CONTAINER_EXITED),
    ]
    rows = container_rows(containers, {"web-1": used("web-1", 0.25, 100)})["pod"]
    web, init = rows
    assert (web.id, web.restarts, web.is_well, web.cpu_cores) == ("web-1", 1, True, 0.25)
    assert (web.memory_bytes, web.disk_bytes, web.pressure) == (100, 7, (2.5, 0.0, 0.0))
    assert (init.state, init.is_well, init.pressure) == ("Exited", False, None)


def test_a_pod_is_what_the_server_tells_of_it_else_the_sum_of_its_containers() -> None:
    info = PodInfo.of(
        cri.PodSandbox(
            id="pod",
            metadata=cri.PodSandboxMetadata(name="web", namespace="shop"),
            state=cri.SANDBOX_READY,
        )
    )
    containers = [listed("a", 0, cri.CONTAINER_RUNNING), listed("b", 0, cri.CONTAINER_RUNNING)]
    usages = {"a-0": used("a-0", 0.5, 10), "b-0": used("b-0", 0.25, 20)}
    parts = container_rows(containers, usages)["pod"]
    summed = pod_row(info, None, parts)
    assert (summed.cpu_cores, summed.memory_bytes, summed.disk_bytes) == (0.75, 30, 14)
    assert (summed.name, summed.received_per_s, summed.pressure) == ("shop/web", None, None)
    stats = cri.LinuxPodSandboxStats(
        cpu=cri.CpuUsage(usage_nano_cores=cri.UInt64Value(value=10**9)),
        memory=cri.MemoryUsage(working_set_bytes=cri.UInt64Value(value=50)),
        io=cri.IoUsage(psi=cri.PsiStats(Some=cri.PsiData(Avg10=1.0))),
    )
    told = pod_row(info, stats, parts, 3.0, 4.0)
    assert (told.cpu_cores, told.memory_bytes, told.pressure) == (1.0, 50, (0.0, 0.0, 1.0))
    assert (told.received_per_s, told.sent_per_s) == (3.0, 4.0)


def test_a_row_means_its_container_and_a_pod_the_first_that_runs() -> None:
    info = PodInfo.of(
        cri.PodSandbox(id="pod", metadata=cri.PodSandboxMetadata(name="x\x1b[2J", namespace="shop"))
    )
    containers = [
        listed("b", 0, cri.CONTAINER_RUNNING),
        listed("a", 0, cri.CONTAINER_EXITED),
        listed("c", 0, cri.CONTAINER_RUNNING),
    ]
    pod = pod_row(info, None, container_rows(containers, {})["pod"])
    look = Look([pod], {each.id: each for each in containers}, (), ())
    assert look.meant(pod) == (containers[0], r"shop/x\x1b[2J/b")
    assert look.meant(pod.parts[1]) == (containers[1], r"shop/x\x1b[2J/a")
    gone = container_rows([listed("d", 0, cri.CONTAINER_RUNNING)], {})["pod"][0]
    assert look.meant(gone) is look.meant(pod_row(info, None, ())) is look.meant(None) is None


def test_a_rate_is_by_the_servers_own_clock() -> None:
    rates = Rates()
    second = 10**9
    assert rates.take({"a": (0, 100)}) == {"a": None}
    assert rates.take({"a": (2 * second, 300), "b": (0, 5)}) == {"a": 100.0, "b": None}
    assert rates.take({"a": (2 * second, 300)}) == {"a": 100.0}, "the same reading again"
    assert rates.take({"a": (3 * second, 10)}) == {"a": None}, "it began anew"
    assert rates.take({"a": (4 * second, 11)}) == {"a": 1.0}
    rates.take({})
    assert rates.take({"a": (5 * second, 11)}) == {"a": None}, "it was away"


def test_calls_in_words() -> None:
    assert activity("calls", None) == ""
    assert activity("calls", Activity(0, 0, None, None)) == "calls: 0.0/s"
    said = activity("engine", Activity(12.25, 1, 0.001, float("inf")))
    assert said == "engine: 12.2/s, half within 1 ms, 99 % within longer, 1.0/s failed"


def test_metrics_are_looked_for_on_this_node_alone() -> None:
    assert metrics_address("tcp://192.0.2.1:1234") is None
