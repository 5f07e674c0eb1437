"""Resources as the engine's settings, at the creation and in place."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.resources import container_cgroup, engine_resources, update_body

MIB = 1 << 20


def test_there_is_no_swap_unless_it_is_granted() -> None:
    memory = cri.LinuxContainerResources(memory_limit_in_bytes=64 * MIB)
    assert engine_resources(memory, None, "x")["MemorySwap"] == 64 * MIB
    memory.memory_swap_limit_in_bytes = 96 * MIB
    assert engine_resources(memory, None, "x")["MemorySwap"] == 96 * MIB


@pytest.mark.parametrize(
    ("score", "floor", "given"), [(-500, None, -500), (-500, 0, 0), (300, 0, 300), (300, 400, 400)]
)
def test_a_score_below_what_the_daemon_may_give_is_raised(
    score: int, floor: int | None, given: int
) -> None:
    assert (
        engine_resources(cri.LinuxContainerResources(oom_score_adj=score), floor, "x")[
            "OomScoreAdj"
        ]
        == given
    )


@pytest.mark.parametrize("score", [-1001, 1001])
def test_a_score_that_is_none_is_refused(score: int) -> None:
    with pytest.raises(InvalidArgument, match=str(score)):
        engine_resources(cri.LinuxContainerResources(oom_score_adj=score), None, "container x")


@pytest.mark.parametrize(
    ("host_config", "asked", "expected"),
    [
        # What is zero stays, so it is not sent.
        ({}, {}, {}),
        ({"Memory": 64 * MIB}, {"cpu_shares": 5}, {"CpuShares": 5}),
        # Memory alone would be above the swap limit that is in force.
        (
            {"Memory": 64 * MIB, "MemorySwap": 64 * MIB},
            {"memory_limit_in_bytes": 128 * MIB},
            {"Memory": 128 * MIB, "MemorySwap": 128 * MIB},
        ),
        # Swap that was granted beyond the memory stays.
        (
            {"Memory": 64 * MIB, "MemorySwap": 96 * MIB},
            {"memory_limit_in_bytes": 128 * MIB},
            {"Memory": 128 * MIB, "MemorySwap": 160 * MIB},
        ),
        (
            {"Memory": 64 * MIB, "MemorySwap": -1},
            {"memory_limit_in_bytes": 128 * MIB},
            {"Memory": 128 * MIB, "MemorySwap": -1},
        ),
        # Under systemd "no swap" holds only as long as each change brings it.
        (
            {"Memory": 64 * MIB, "MemorySwap": 64 * MIB},
            {"cpu_quota": 5000},
            {"CpuQuota": 5000, "Memory": 64 * MIB, "MemorySwap": 64 * MIB},
        ),
        (
            {"Memory": 64 * MIB, "MemorySwap": 64 * MIB},
            {"memory_swap_limit_in_bytes": 80 * MIB},
            {"MemorySwap": 80 * MIB},
        ),
        (
            {},
            {"memory_limit_in_bytes": 9 * MIB, "memory_swap_limit_in_bytes": 10 * MIB},
            {"Memory": 9 * MIB, "MemorySwap": 10 * MIB},
        ),
        ({}, {"cpu_quota": -1, "cpu_period": 1000}, {"CpuQuota": -1, "CpuPeriod": 1000}),
    ],
)
def test_an_update_names_what_changes(
    host_config: dict[str, Any], asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert update_body(cri.LinuxContainerResources(**asked), host_config) == expected


@pytest.mark.parametrize(
    ("parent", "driver", "path"),
    [
        ("", "cgroupfs", "/docker/ID"),
        ("/kubepods/besteffort/pod1", "cgroupfs", "/kubepods/besteffort/pod1/ID"),
        ("/kubepods/", "cgroupfs", "/kubepods/ID"),
        ("beside-the-engine", "cgroupfs", ""),
        ("", "systemd", "/system.slice/docker-ID.scope"),
        (
            "kubepods-besteffort-pod1.slice",
            "systemd",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice"
            "/docker-ID.scope",
        ),
        ("-.slice", "systemd", "/docker-ID.scope"),
    ],
)
def test_where_the_engine_puts_a_container(parent: str, driver: str, path: str) -> None:
    assert container_cgroup(parent, driver, "ID") == path
