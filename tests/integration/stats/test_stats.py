"""Every figure of running containers against an independent reading: the engine's own stats, files
in the container, a known load.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.proto import cri
from asupervisor.proto.wire import encode_field
from asupervisor.stats.layers import WritableLayers
from asupervisor.stats.service import Stats
from asupervisor.stats.subjects import ContainerSubject, ImageFilesystem, SandboxSubject
from tests.harness.engine import eventually
from tests.integration.stats.conftest import Pods, sandbox_subject, subject

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runs a Docker Engine")


def read(stats: Stats, *ids: str) -> list[cri.ContainerStats]:
    async def main() -> bytes:
        return b"".join(await stats.container_stats(ids or None))

    return list(cri.ListContainerStatsResponse.FromString(anyio.run(main)).stats)


def read_pods(stats: Stats) -> list[cri.PodSandboxStats]:
    async def main() -> bytes:
        return b"".join(await stats.sandbox_stats())

    return list(cri.ListPodSandboxStatsResponse.FromString(anyio.run(main)).stats)


def make(*subjects: ContainerSubject | SandboxSubject, **options: Any) -> Stats:
    stats = Stats(max_age_s=0.0, **options)
    for one in subjects:
        stats.put_container(one) if isinstance(one, ContainerSubject) else stats.put_sandbox(one)
    return stats


def receive(server: socket.socket) -> int:
    """Accept one connection, read it to its end, and close it; the number of bytes."""
    connection, _ = server.accept()
    with connection:
        return sum(len(chunk) for chunk in iter(lambda: connection.recv(65536), b""))


def between(low: float, value: float, high: float) -> bool:
    return low <= value <= high


def test_cpu_against_the_engine_and_a_known_load(pods: Pods) -> None:
    busy = pods.container("while :; do :; done", NanoCpus=200_000_000)
    idle = pods.container("sleep 1000")
    stats = make(subject(busy), subject(idle))
    first = read(stats, busy["Id"])[0]
    assert first.cpu.HasField("usage_nano_cores"), "the first answer has a rate too"
    assert encode_field(1, first.attributes) == subject(busy).attributes
    eventually(lambda: time.time_ns() - first.cpu.timestamp > 2_000_000_000, "two seconds of load")
    before = pods.stats(busy)["cpu_stats"]["cpu_usage"]["total_usage"]
    second, still = read(stats)
    after = pods.stats(busy)["cpu_stats"]["cpu_usage"]["total_usage"]
    assert before <= second.cpu.usage_core_nano_seconds.value <= after
    consumed = second.cpu.usage_core_nano_seconds.value - first.cpu.usage_core_nano_seconds.value
    # The rate is over the kernel's monotonic clock; the timestamps are of one that is being set.
    assert second.cpu.usage_nano_cores.value == pytest.approx(
        consumed * 1e9 / (second.cpu.timestamp - first.cpu.timestamp), rel=0.01
    )
    assert 0 < second.cpu.usage_nano_cores.value < 300_000_000, "a quota of a fifth of a core"
    assert still.cpu.usage_nano_cores.value < second.cpu.usage_nano_cores.value


def test_memory_against_the_engine_and_a_known_load(pods: Pods) -> None:
    limit = 256 << 20
    holder = pods.container(
        "dd if=/dev/zero of=/big bs=1M count=24 2>/dev/null; sync; cat /big >/dev/null; mkfifo /f;"
        " (sleep 1000 >/f)& echo ready >/ready; exec dd if=/f of=/dev/null bs=48M iflag=fullblock",
        Memory=limit,
        MemorySwap=limit,
    )
    eventually(
        lambda: pods.run(holder, "cat /ready 2>/dev/null || true"), "the container holds its memory"
    )
    stats = make(subject(holder))

    def settled() -> tuple[cri.ContainerStats, dict[str, Any]] | None:
        """Two engine readings that agree enclose ours."""
        before = pods.stats(holder)["memory_stats"]
        mine = read(stats)[0]
        after = pods.stats(holder)["memory_stats"]
        return (mine, after) if before == after else None

    mine, theirs = eventually(settled, "memory at rest")
    detail = theirs["stats"]
    legacy = "total_rss" in detail
    assert mine.memory.usage_bytes.value == theirs["usage"]
    inactive = detail["total_inactive_file" if legacy else "inactive_file"]
    assert mine.memory.working_set_bytes.value == theirs["usage"] - inactive
    assert inactive > 0, "the load was to leave page cache behind"
    assert mine.memory.rss_bytes.value == detail["total_rss" if legacy else "anon"]
    assert mine.memory.page_faults.value == detail["total_pgfault" if legacy else "pgfault"] > 0
    assert (
        mine.memory.major_page_faults.value
        == detail["total_pgmajfault" if legacy else "pgmajfault"]
    )
    assert mine.memory.available_bytes.value == limit - mine.memory.working_set_bytes.value
    assert mine.memory.timestamp > 0
    assert mine.swap.swap_usage_bytes.value == 0
    assert mine.swap.swap_available_bytes.value == 0, (
        "memory and swap together are limited to the memory"
    )


def test_what_has_no_limit_has_nothing_available(pods: Pods) -> None:
    mine = read(make(subject(pods.container("sleep 1000"))))[0]
    assert not mine.memory.HasField("available_bytes")


def pressure_files(container_id: str, name: str) -> list[Path]:
    """Of a container's cgroups; a walk that bears that other cgroups of the machine end
    meanwhile.
    """
    found = os.walk("/sys/fs/cgroup")
    return [
        Path(directory, name)
        for directory, _, files in found
        if container_id in os.path.basename(directory) and name in files
    ]


def test_pressure_against_the_kernels_file(pods: Pods) -> None:
    squeezed = pods.container("(while :; do :; done)& while :; do :; done", NanoCpus=50_000_000)
    files = pressure_files(squeezed["Id"], "cpu.pressure")
    if not files:
        pytest.skip("this kernel keeps no pressure figures for cgroups")

    def total(kind: str) -> int:
        line = next(line for line in files[0].read_text().splitlines() if line.startswith(kind))
        return int(line.rpartition("=")[2]) * 1000

    eventually(lambda: total("some") > 0 and total("full") > 0, "tasks wait for CPU")
    before = total("some"), total("full")
    mine = read(make(subject(squeezed)))[0]
    after = total("some"), total("full")
    assert between(before[0], mine.cpu.psi.Some.Total, after[0])
    assert between(before[1], mine.cpu.psi.Full.Total, after[1])
    assert (
        mine.memory.HasField("psi")
        and mine.HasField("io")
        and mine.io.HasField("psi")
        and mine.io.timestamp > 0
    )
    eventually(
        lambda: read(make(subject(squeezed)))[0].cpu.psi.Some.Avg10 > 0,
        "the average of ten seconds rises",
    )


def test_writable_layer_against_the_engine(pods: Pods) -> None:
    writer = pods.container(
        "dd if=/dev/zero of=/data bs=1M count=3 2>/dev/null; for i in 1 2 3; do touch /tmp/$i;"
        " done; echo y >/ready; sleep 1000"
    )
    eventually(lambda: pods.run(writer, "cat /ready 2>/dev/null || true"), "the files are written")
    quiet = pods.container("sleep 1000")
    stats = make(subject(writer), subject(quiet), layers=WritableLayers(interval_s=0.01))
    stats.set_image_filesystem(ImageFilesystem(1, "/var/lib/docker"))
    first = read(stats, writer["Id"])[0].writable_layer
    assert first.timestamp > 0 and not first.HasField("used_bytes"), (
        "not known yet, and nobody waits for it"
    )

    async def walked() -> list[cri.ContainerStats]:
        async with anyio.create_task_group() as tasks:
            await tasks.start(stats.run)
            with anyio.fail_after(20):
                while not all(stats.layers.usage(one["Id"]) for one in (writer, quiet)):  # noqa: ASYNC110 - a thread fulfils it
                    await anyio.sleep(0.01)
            answer = cri.ListContainerStatsResponse.FromString(
                b"".join(await stats.container_stats())
            )
            tasks.cancel_scope.cancel()
        return list(answer.stats)

    mine, nothing = anyio.run(walked)
    size_rw = pods.engine.request("GET", f"/containers/{writer['Id']}/json?size=1")[1]["SizeRw"]
    written = 3 * (1 << 20) + 2
    # The containerd image store counts blocks and directories too.
    assert size_rw >= written if pods.engine.containerd_store else size_rw == written
    assert written <= mine.writable_layer.used_bytes.value <= written + 64 * 1024, (
        "blocks, and directories beside the files"
    )
    upper = subject(writer).writable_layer or next(
        found for found in stats.layers.directories() if Path(found, "data").exists()
    )
    entries = subprocess.check_output(["find", upper, "-mindepth", "1"], text=True).splitlines()
    assert mine.writable_layer.inodes_used.value == len(entries) >= 5
    assert mine.writable_layer.fs_id.mountpoint == "/var/lib/docker"
    assert nothing.writable_layer.used_bytes.value < 64 * 1024


def test_the_writable_layer_is_found_where_the_engine_does_not_name_it(pods: Pods) -> None:
    container = pods.container("touch /canary; sleep 1000")
    told = subject(container)
    untold = ContainerSubject(told.container_id, told.sandbox_id, told.pid, told.attributes)
    stats = make(untold)
    read(stats)
    found = stats.layers.directories()
    if told.writable_layer:
        # An engine that names it mounts it at a path that does not say whose it is.
        assert found == []
    else:
        (directory,) = found
        eventually(Path(directory, "canary").exists, "its file is there")


@pytest.mark.parametrize("own_cgroup", [True, False], ids=["pod-cgroup", "no-pod-cgroup"])
def test_a_pod_against_its_containers(pods: Pods, own_cgroup: bool) -> None:
    parent = {"CgroupParent": pods.cgroup_parent()} if own_cgroup else {}
    pause = pods.container("exec sleep 1000", **parent)
    busy = pods.container(
        "(sleep 1000)& while :; do :; done",
        NanoCpus=300_000_000,
        NetworkMode=f"container:{pause['Id']}",
        **parent,
    )
    idle = pods.container("exec sleep 1000", NetworkMode=f"container:{pause['Id']}", **parent)
    stats = make(
        sandbox_subject(pause, own_cgroup), subject(busy, pause["Id"]), subject(idle, pause["Id"])
    )
    first = read_pods(stats)[0]
    eventually(lambda: time.time_ns() - first.linux.cpu.timestamp > 1_500_000_000, "some load")
    with ThreadPoolExecutor(3) as threads:
        before = list(threads.map(pods.stats, (pause, busy, idle)))
        pod = read_pods(stats)[0]
        after = list(threads.map(pods.stats, (pause, busy, idle)))

    def cpu(readings: list[dict[str, Any]]) -> int:
        return sum(reading["cpu_stats"]["cpu_usage"]["total_usage"] for reading in readings)

    linux = pod.linux
    # A cgroup's counter runs a little ahead of its children's sum: what runc did before the
    # containers' first processes is in it.
    slack = 2_000_000_000 if own_cgroup else 0
    assert cpu(before) <= linux.cpu.usage_core_nano_seconds.value <= cpu(after) + slack
    assert 0 < linux.cpu.usage_nano_cores.value < 500_000_000
    assert (
        linux.process.process_count.value
        == sum(reading["pids_stats"]["current"] for reading in after)
        == 4
    )
    assert linux.process.timestamp > 0
    assert [container.attributes.id for container in linux.containers] == [busy["Id"], idle["Id"]]
    assert all(container.memory.usage_bytes.value > 0 for container in linux.containers)
    assert linux.memory.usage_bytes.value >= sum(
        container.memory.usage_bytes.value for container in linux.containers
    )
    assert linux.memory.working_set_bytes.value <= linux.memory.usage_bytes.value
    assert linux.memory.rss_bytes.value >= sum(
        container.memory.rss_bytes.value for container in linux.containers
    )
    assert linux.memory.page_faults.value > 0
    assert pod.attributes.metadata.namespace == "n"
    if own_cgroup and pressure_files(pause["Id"], "io.pressure"):
        assert (
            linux.cpu.HasField("psi") and linux.memory.HasField("psi") and linux.io.HasField("psi")
        )


def test_a_pods_cpu_counter_never_falls_when_a_container_ends(pods: Pods) -> None:
    pause = pods.container("sleep 1000")
    busy = pods.container("while :; do :; done")
    stats = make(sandbox_subject(pause, own_cgroup=False), subject(busy, pause["Id"]))
    eventually(
        lambda: read_pods(stats)[0].linux.cpu.usage_core_nano_seconds.value > 200_000_000,
        "some load",
    )
    before = read_pods(stats)[0].linux.cpu.usage_core_nano_seconds.value
    pods.engine.request("POST", f"/containers/{busy['Id']}/kill")
    stats.put_container(subject(pods.engine.inspect(busy["Id"]), pause["Id"]))
    assert read_pods(stats)[0].linux.cpu.usage_core_nano_seconds.value >= before
    stats.forget_container(busy["Id"])
    assert read_pods(stats)[0].linux.cpu.usage_core_nano_seconds.value >= before


def test_network_against_the_containers_own_files_and_a_known_load(pods: Pods) -> None:
    pause = pods.container("sleep 1000")
    gateway = pause["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
    sent = 200 * 1000
    add = "ip link add second7 type veth peer name third7"
    subprocess.run(
        [
            "nsenter",
            "-t",
            str(pause["State"]["Pid"]),
            "-n",
            "sh",
            "-c",
            f"{add} && ip link set second7 up",
        ],
        check=True,
    )
    with socket.create_server((gateway, 0)) as server:
        port = server.getsockname()[1]
        received = ThreadPoolExecutor(1).submit(receive, server)
        pods.run(pause, f"dd if=/dev/zero bs=1000 count=200 2>/dev/null | nc {gateway} {port}")
        assert received.result(20) == sent
    stats = make(sandbox_subject(pause, own_cgroup=False))

    def files() -> dict[str, int]:
        names = [
            f"{interface}/statistics/{name}"
            for interface in ("eth0", "second7")
            for name in ("rx_bytes", "rx_errors", "tx_bytes", "tx_errors")
        ]
        pods.run(pause, "mkdir -p /tmp/sys && mount -t sysfs none /tmp/sys")
        output = pods.run(pause, "cd /tmp/sys/class/net && cat " + " ".join(names))
        pods.run(pause, "umount /tmp/sys")
        return dict(zip(names, map(int, output.split()), strict=True))

    def settled() -> tuple[cri.NetworkUsage, dict[str, int]] | None:
        before = files()
        network = read_pods(stats)[0].linux.network
        return (network, before) if files() == before else None

    network, counted = eventually(settled, "an idle network")
    assert network.default_interface.name == "eth0" and network.timestamp > 0
    assert [interface.name for interface in network.interfaces] == [
        "third7",
        "second7",
    ], "the default interface and the loopback are not listed"
    for usage in (network.default_interface, network.interfaces[1]):
        for name in ("rx_bytes", "rx_errors", "tx_bytes", "tx_errors"):
            assert getattr(usage, name).value == counted[f"{usage.name}/statistics/{name}"], name
    assert sent <= network.default_interface.tx_bytes.value <= 2 * sent
    assert (
        network.default_interface.tx_bytes.value
        == pods.stats(pause)["networks"]["eth0"]["tx_bytes"]
    )
    assert not read_pods(make(sandbox_subject(pause, False, own_network=False)))[0].linux.HasField(
        "network"
    )


def test_stats_hold_no_network_namespace(pods: Pods) -> None:
    pause = pods.container("sleep 1000")
    stats = make(sandbox_subject(pause, own_cgroup=False))
    read_pods(stats)
    inode = os.stat(f"/proc/{pause['State']['Pid']}/ns/net").st_ino
    held = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    ]
    assert not [path for path in held if str(inode) in path or path.endswith("net/dev")]


def test_a_container_that_ends_keeps_its_attributes_and_lets_go_of_its_files(pods: Pods) -> None:
    container = pods.container("sleep 1000")
    stats = make(subject(container))
    assert read(stats)[0].HasField("cpu")
    open_files = len(os.listdir("/proc/self/fd"))
    pods.engine.request("POST", f"/containers/{container['Id']}/kill")
    eventually(
        lambda: not pods.engine.inspect(container["Id"])["State"]["Running"], "the container ended"
    )

    def ended() -> cri.ContainerStats | None:
        answer = read(stats)[0]
        return None if answer.HasField("cpu") else answer

    answer = eventually(ended, "its cgroup is gone")
    assert answer.attributes.id == container["Id"] and answer.HasField("writable_layer")
    assert len(os.listdir("/proc/self/fd")) < open_files
    stats.forget_container(container["Id"])
    assert read(stats) == []


def test_a_pid_that_is_somebody_elses_reads_as_nothing(pods: Pods) -> None:
    container = pods.container("sleep 1000")
    stranger = pods.container("while :; do :; done")
    told = subject(container)
    answer = read(
        make(ContainerSubject(told.container_id, "s", stranger["State"]["Pid"], told.attributes))
    )[0]
    assert not answer.HasField("cpu") and answer.attributes.id == container["Id"]


def test_callers_share_a_reading(pods: Pods) -> None:
    container = pods.container("sleep 1000")
    stats = Stats(max_age_s=1000.0)
    stats.put_container(subject(container))
    first, second = read(stats)[0], read(stats)[0]
    assert first.cpu.timestamp == second.cpu.timestamp


async def test_samples_are_taken_while_nobody_asks(pods: Pods) -> None:
    busy = pods.container("while :; do :; done", NanoCpus=200_000_000)
    stats = Stats(max_age_s=0.0, sample_interval_s=0.2)
    async with anyio.create_task_group() as tasks:
        await tasks.start(stats.run)
        stats.put_container(subject(busy))
        with anyio.fail_after(20):
            while len(stats._containers[busy["Id"]].cgroup.rate._samples) < 3:  # noqa: ASYNC110 - a thread fulfils it
                await anyio.sleep(0.05)
        answer = cri.ListContainerStatsResponse.FromString(b"".join(await stats.container_stats()))
        assert 0 < answer.stats[0].cpu.usage_nano_cores.value < 400_000_000
        tasks.cancel_scope.cancel()


def test_no_file_stays_open_after_the_end(pods: Pods) -> None:
    containers = [pods.container("sleep 1000") for _ in range(3)]
    before = set(os.listdir("/proc/self/fd"))
    stats = make(
        *(subject(one) for one in containers), sandbox_subject(containers[0], own_cgroup=False)
    )
    check: Callable[[], object] = lambda: (read(stats), read_pods(stats))  # noqa: E731
    check()
    assert len(set(os.listdir("/proc/self/fd")) - before) > 10
    stats.close()
    assert set(os.listdir("/proc/self/fd")) - before == set()
