"""LinuxContainerResources: set, in force, told back, changed in place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.host.cgroups import Hierarchies
from asupervisor.proto import cri
from tests.conformance.node import Node, Pod

MIB = 1 << 20


class Cgroup:
    """The files of a container's cgroup, v1 or v2."""

    def __init__(self, pid: int, container_id: str) -> None:
        mounted = Hierarchies.parse(Path("/proc/self/mountinfo").read_text())
        self._own, _ = mounted.locate(Path(f"/proc/{pid}/cgroup").read_text(), container_id)

    def read(self, controller: str, v1: str, v2: str) -> str:
        directory = self._own.v1.get(controller)
        return (Path(directory, v1) if directory else Path(self._own.v2, v2)).read_text().strip()

    @property
    def memory(self) -> int:
        return int(self.read("memory", "memory.limit_in_bytes", "memory.max"))

    @property
    def quota(self) -> tuple[int, int]:
        if self._own.v1.get("cpu"):
            return int(self.read("cpu", "cpu.cfs_quota_us", "")), int(
                self.read("cpu", "cpu.cfs_period_us", "")
            )
        quota, period = self.read("", "", "cpu.max").split()
        return int(quota), int(period)

    @property
    def unlimited_cpu(self) -> bool:
        return self.read("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] in ("-1", "max")

    @property
    def cpus(self) -> str:
        return self.read("cpuset", "cpuset.cpus", "cpuset.cpus")


async def _cgroup(node: Node, container_id: str) -> Cgroup:
    info = json.loads(
        (await node.runtime.container_status(container_id, verbose=True)).info["info"]
    )
    return Cgroup(info["pid"], container_id)


async def test_resources_are_in_force_and_told_back(node: Node, pod: Pod) -> None:
    wanted = cri.LinuxContainerResources(
        cpu_period=50000,
        cpu_quota=25000,
        cpu_shares=512,
        cpuset_cpus="0",
        cpuset_mems="0",
        memory_limit_in_bytes=64 * MIB,
        memory_swap_limit_in_bytes=64 * MIB,
        oom_score_adj=777,
        hugepage_limits=[cri.HugepageLimit(page_size="2MB", limit=0)],
    )
    async with pod.container(resources=wanted) as container_id:
        cgroup = await _cgroup(node, container_id)
        assert cgroup.memory == 64 * MIB
        assert cgroup.quota == (25000, 50000)
        assert cgroup.cpus == "0"
        assert (await pod.sh(container_id, "cat /proc/1/oom_score_adj")).strip() == "777"
        told = (await pod.status(container_id)).resources.linux
        for name in (
            "cpu_period",
            "cpu_quota",
            "cpu_shares",
            "cpuset_cpus",
            "cpuset_mems",
            "memory_limit_in_bytes",
            "oom_score_adj",
        ):
            assert getattr(told, name) == getattr(wanted, name), name


async def test_without_limits_there_are_none(node: Node, pod: Pod) -> None:
    async with pod.container() as container_id:
        told = (await pod.status(container_id)).resources.linux
        assert (told.memory_limit_in_bytes, told.cpu_quota) in ((0, 0), (0, -1))


async def test_resources_are_changed_in_place_and_told_back(node: Node, pod: Pod) -> None:
    before = cri.LinuxContainerResources(
        cpu_period=100000, cpu_quota=50000, cpu_shares=256, memory_limit_in_bytes=64 * MIB
    )
    async with pod.container(resources=before) as container_id:
        started_at = (await pod.status(container_id)).started_at
        after = cri.LinuxContainerResources(
            cpu_period=100000, cpu_quota=80000, cpu_shares=512, memory_limit_in_bytes=128 * MIB
        )
        if not node.is_docker:
            after.memory_swap_limit_in_bytes = 128 * MIB
        await node.runtime.update_container_resources(container_id, after)
        cgroup = await _cgroup(node, container_id)
        assert cgroup.memory == 128 * MIB
        assert cgroup.quota == (80000, 100000)
        status = await pod.status(container_id)
        assert status.resources.linux.memory_limit_in_bytes == 128 * MIB
        assert status.resources.linux.cpu_quota == 80000
        assert status.resources.linux.cpu_shares == 512
        assert (status.state, status.started_at) == (cri.CONTAINER_RUNNING, started_at)


async def test_a_quota_is_lifted_and_swap_is_not_said_to_be(node: Node, pod: Pod) -> None:
    node.only_docker("other runtimes lift the swap limit too")
    limits = cri.LinuxContainerResources(
        cpu_period=100000, cpu_quota=50000, memory_limit_in_bytes=64 * MIB
    )
    async with pod.container(resources=limits) as container_id:
        await node.runtime.update_container_resources(
            container_id, cri.LinuxContainerResources(cpu_quota=-1)
        )
        assert (await _cgroup(node, container_id)).unlimited_cpu
        assert (await pod.status(container_id)).resources.linux.cpu_quota == -1
        # The engine would say yes and do nothing, and fail at the next change of the memory.
        with node.refused(FailedPrecondition, container_id[:12], "swap"):
            await node.runtime.update_container_resources(
                container_id, cri.LinuxContainerResources(memory_swap_limit_in_bytes=-1)
            )
        await node.runtime.update_container_resources(
            container_id, cri.LinuxContainerResources(memory_limit_in_bytes=96 * MIB)
        )
        told = (await pod.status(container_id)).resources.linux
        assert (told.memory_limit_in_bytes, told.memory_swap_limit_in_bytes) == (96 * MIB, 96 * MIB)


async def test_a_container_without_a_swap_limit_can_have_more_memory(node: Node, pod: Pod) -> None:
    limits = cri.LinuxContainerResources(
        memory_limit_in_bytes=64 * MIB, memory_swap_limit_in_bytes=-1
    )
    async with pod.container(resources=limits) as container_id:
        change = cri.LinuxContainerResources(
            memory_limit_in_bytes=96 * MIB, memory_swap_limit_in_bytes=-1
        )
        await node.runtime.update_container_resources(container_id, change)
        assert (await _cgroup(node, container_id)).memory == 96 * MIB
        assert (await pod.status(container_id)).resources.linux.memory_swap_limit_in_bytes == -1


async def test_an_update_leaves_alone_what_it_does_not_name(node: Node, pod: Pod) -> None:
    before = cri.LinuxContainerResources(cpu_shares=256, memory_limit_in_bytes=64 * MIB)
    async with pod.container(resources=before) as container_id:
        await node.runtime.update_container_resources(
            container_id, cri.LinuxContainerResources(cpu_shares=300)
        )
        told = (await pod.status(container_id)).resources.linux
        assert (told.cpu_shares, told.memory_limit_in_bytes) == (300, 64 * MIB)
        assert (await _cgroup(node, container_id)).memory == 64 * MIB


async def test_a_container_without_swap_has_none_after_any_update(node: Node, pod: Pod) -> None:
    if Hierarchies.parse(Path("/proc/self/mountinfo").read_text()).v1.get("memory"):
        pytest.skip("cgroup v1: swap is limited together with memory")
    before = cri.LinuxContainerResources(
        memory_limit_in_bytes=64 * MIB, memory_swap_limit_in_bytes=64 * MIB
    )
    async with pod.container(resources=before) as container_id:
        cgroup = await _cgroup(node, container_id)
        assert cgroup.read("", "", "memory.swap.max") == "0"
        for change in (
            cri.LinuxContainerResources(cpu_shares=300),
            cri.LinuxContainerResources(cpu_quota=50000, cpu_period=100000),
        ):
            await node.runtime.update_container_resources(container_id, change)
            assert cgroup.read("", "", "memory.swap.max") == "0"


async def test_cgroup_v2_keys_and_huge_pages_are_changed_in_place_and_told_back(
    node: Node, pod: Pod
) -> None:
    node.only_docker("runc's update has no such fields, so other runtimes pass over them")
    if Hierarchies.parse(Path("/proc/self/mountinfo").read_text()).v1.get("memory"):
        pytest.skip("this node runs cgroup v1")
    before = cri.LinuxContainerResources(
        memory_limit_in_bytes=64 * MIB,
        unified={"memory.high": str(48 * MIB), "memory.low": str(MIB)},
    )
    async with pod.container(resources=before) as container_id:
        change = cri.LinuxContainerResources(
            unified={"memory.high": str(32 * MIB), "pids.max": "70"}
        )
        cgroup = await _cgroup(node, container_id)
        has_huge_pages = "hugetlb" in cgroup.read("", "", "cgroup.controllers").split()
        if has_huge_pages:
            change.hugepage_limits.add(page_size="2MB", limit=4 * MIB)
        await node.runtime.update_container_resources(container_id, change)
        # A change that goes through the engine must not undo those that went past it.
        await node.runtime.update_container_resources(
            container_id, cri.LinuxContainerResources(cpu_quota=50000, cpu_period=100000)
        )
        files = {"memory.high": str(32 * MIB), "memory.low": str(MIB), "pids.max": "70"}
        assert {name: cgroup.read("", "", name) for name in files} == files
        told = (await pod.status(container_id)).resources.linux
        assert dict(told.unified) == files
        if has_huge_pages:
            assert cgroup.read("", "", "hugetlb.2MB.max") == str(4 * MIB)
            assert [(entry.page_size, entry.limit) for entry in told.hugepage_limits] == [
                ("2MB", 4 * MIB)
            ]
        # The second of these the kernel refuses: what is told is what is in force then.
        halves = cri.LinuxContainerResources(
            unified={"memory.high": str(40 * MIB), "memory.low": "a lot"}
        )
        with node.refused(FailedPrecondition, "memory.low"):
            await node.runtime.update_container_resources(container_id, halves)
        files["memory.high"] = str(40 * MIB)
        assert dict((await pod.status(container_id)).resources.linux.unified) == files
        assert cgroup.read("", "", "memory.high") == files["memory.high"]


async def test_a_created_container_can_be_updated_before_it_starts(node: Node, pod: Pod) -> None:
    container_id = await pod.create(
        resources=cri.LinuxContainerResources(memory_limit_in_bytes=64 * MIB)
    )
    change = cri.LinuxContainerResources(
        memory_limit_in_bytes=96 * MIB, memory_swap_limit_in_bytes=96 * MIB
    )
    await node.runtime.update_container_resources(container_id, change)
    await node.runtime.start_container(container_id)
    assert (await _cgroup(node, container_id)).memory == 96 * MIB
    await node.runtime.remove_container(container_id)


async def test_a_score_that_was_changed_before_the_start_is_in_force_after_it(
    node: Node, pod: Pod
) -> None:
    node.only_docker("runc's update has no such field, so other runtimes pass over it")
    container_id = await pod.create(resources=cri.LinuxContainerResources(oom_score_adj=500))
    await node.runtime.update_container_resources(
        container_id, cri.LinuxContainerResources(oom_score_adj=600)
    )
    assert (await pod.status(container_id)).resources.linux.oom_score_adj == 600
    await node.runtime.start_container(container_id)
    assert (await pod.sh(container_id, "cat /proc/1/oom_score_adj")).strip() == "600"
    await node.runtime.remove_container(container_id)


async def test_an_ended_container_cannot_be_updated(node: Node, pod: Pod) -> None:
    node.only_docker("containerd changes the record of an ended container")
    container_id = await pod.run(("true",))
    await pod.ended(container_id)
    with node.refused(FailedPrecondition, "EXITED"):
        await node.runtime.update_container_resources(
            container_id, cri.LinuxContainerResources(cpu_shares=300)
        )


async def test_oom_score_of_a_running_container_is_changed(node: Node, pod: Pod) -> None:
    node.only_docker("runc's update has no such field, so other runtimes pass over it")
    async with pod.container(
        resources=cri.LinuxContainerResources(oom_score_adj=500)
    ) as container_id:
        await node.runtime.update_container_resources(
            container_id, cri.LinuxContainerResources(oom_score_adj=600)
        )
        assert (await pod.sh(container_id, "cat /proc/1/oom_score_adj")).strip() == "600"
        assert (await pod.status(container_id)).resources.linux.oom_score_adj == 600
        # A runtime that may not lower scores gives the lowest that it can, and says so.
        await node.runtime.update_container_resources(
            container_id, cri.LinuxContainerResources(oom_score_adj=-5)
        )
        told = (await pod.status(container_id)).resources.linux.oom_score_adj
        assert told < 600 and (
            await pod.sh(container_id, "cat /proc/1/oom_score_adj")
        ).strip() == str(told)


async def test_a_limit_that_cannot_be_is_refused_and_the_container_runs_on(
    node: Node, pod: Pod
) -> None:
    async with pod.container(
        resources=cri.LinuxContainerResources(memory_limit_in_bytes=64 * MIB)
    ) as container_id:
        for resources in (
            cri.LinuxContainerResources(cpuset_cpus="100000"),
            cri.LinuxContainerResources(
                memory_limit_in_bytes=1 << 10, memory_swap_limit_in_bytes=1 << 10
            ),
        ):
            with node.refused((InvalidArgument, FailedPrecondition), container_id[:12]):
                await node.runtime.update_container_resources(container_id, resources)
        status = await pod.status(container_id)
        assert status.state == cri.CONTAINER_RUNNING
        assert status.resources.linux.memory_limit_in_bytes == 64 * MIB


async def test_an_update_that_linux_has_no_meaning_for_is_refused(node: Node, pod: Pod) -> None:
    node.only_docker("other runtimes pass over it")
    async with pod.container() as container_id:
        with node.refused(InvalidArgument, "windows"):
            await node.runtime.update_container_resources(
                container_id, windows=cri.WindowsContainerResources(cpu_shares=2)
            )
        with node.refused(InvalidArgument, "experimental"):
            await node.runtime.update_container_resources(
                container_id, annotations={"experimental": "1"}
            )
        with node.refused(InvalidArgument, "oom_score_adj"):
            await node.runtime.update_container_resources(
                container_id, cri.LinuxContainerResources(oom_score_adj=5000)
            )


async def test_huge_pages_and_cgroup_v2_keys_are_in_force_or_refused(node: Node, pod: Pod) -> None:
    node.only_docker("other runtimes fail later or pass over them")
    mounted = Hierarchies.parse(Path("/proc/self/mountinfo").read_text())
    if mounted.v1.get("memory"):
        if "hugetlb" not in mounted.v1:
            with node.refused(FailedPrecondition, "2MB", "hugetlb"):
                await pod.create(
                    resources=cri.LinuxContainerResources(
                        hugepage_limits=[cri.HugepageLimit(page_size="2MB", limit=2 * MIB)]
                    )
                )
        with node.refused(FailedPrecondition, "memory.high", "cgroup v1"):
            await pod.create(
                resources=cri.LinuxContainerResources(unified={"memory.high": "1048576"})
            )
    else:
        unified = {"memory.high": str(48 * MIB)}
        async with pod.container(
            resources=cri.LinuxContainerResources(unified=unified)
        ) as container_id:
            assert (await _cgroup(node, container_id)).read("", "", "memory.high") == str(48 * MIB)
            assert dict((await pod.status(container_id)).resources.linux.unified) == unified


async def test_what_is_no_page_size_or_cgroup_file_is_refused(node: Node, pod: Pod) -> None:
    node.only_docker("other runtimes fail at the start")
    with node.refused(InvalidArgument, "two pages"):
        await pod.create(
            resources=cri.LinuxContainerResources(
                hugepage_limits=[cri.HugepageLimit(page_size="two pages")]
            )
        )
    with node.refused(InvalidArgument, "../escape"):
        await pod.create(resources=cri.LinuxContainerResources(unified={"../escape": "1"}))
