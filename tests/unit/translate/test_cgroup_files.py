"""Limits that are written beside the engine."""

from __future__ import annotations

import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.cgroup_files import (
    CgroupFeatures,
    CgroupSettings,
    cgroup_settings,
    cgroup_writes,
)

_ALL = frozenset({"hugetlb", "memory"})
_V1 = CgroupFeatures(v2=False, controllers=_ALL)
_V2 = CgroupFeatures(v2=True, controllers=_ALL)
_BARE = CgroupFeatures(v2=False)
_REMOTE = CgroupFeatures(v2=True, controllers=_ALL, local=False)


def _resources(unified: dict[str, str] | None = None, **pages: int) -> cri.LinuxContainerResources:
    limits = [
        cri.HugepageLimit(page_size=size.lstrip("_"), limit=limit) for size, limit in pages.items()
    ]
    return cri.LinuxContainerResources(hugepage_limits=limits, unified=unified or {})


def test_huge_pages_go_to_the_file_of_their_size() -> None:
    settings = cgroup_settings(_resources(_2MB=4 << 20, _1GB=0), _V1, "x")
    assert cgroup_writes(settings, "/sys/hugetlb/x", "") == [
        ("/sys/hugetlb/x", "hugetlb.1GB.limit_in_bytes", "0"),
        ("/sys/hugetlb/x", "hugetlb.2MB.limit_in_bytes", str(4 << 20)),
    ]
    assert cgroup_writes(settings, "", "/sys/fs/cgroup/x") == [
        ("/sys/fs/cgroup/x", "hugetlb.1GB.max", "0"),
        ("/sys/fs/cgroup/x", "hugetlb.2MB.max", str(4 << 20)),
    ]


def test_unified_keys_go_to_their_files() -> None:
    settings = cgroup_settings(_resources({"memory.high": "1", "memory.min": "2"}), _V2, "x")
    assert cgroup_writes(settings, "", "/c") == [
        ("/c", "memory.high", "1"),
        ("/c", "memory.min", "2"),
    ]


def test_a_limit_of_nothing_is_nothing_where_there_is_no_controller() -> None:
    assert not cgroup_settings(_resources(_2MB=0, _1GB=0), _BARE, "x")


@pytest.mark.parametrize("features", [_BARE, _REMOTE])
def test_what_this_node_cannot_limit_is_refused(features: CgroupFeatures) -> None:
    with pytest.raises(FailedPrecondition, match="2MB"):
        cgroup_settings(_resources(_2MB=1 << 21), features, "x")
    with pytest.raises(FailedPrecondition, match=r"memory\.high"):
        cgroup_settings(_resources({"memory.high": "1"}), features, "x")


def test_a_key_whose_controller_is_not_there_is_refused_before_anything_runs() -> None:
    wanted = _resources({"memory.oom.group": "1", "cgroup.max.depth": "3"})
    with pytest.raises(FailedPrecondition, match=r"memory\.oom\.group .* no memory controller"):
        cgroup_settings(wanted, CgroupFeatures(v2=True, controllers=frozenset({"pids"})), "x")
    assert cgroup_settings(wanted, _V2, "x").unified == dict(wanted.unified)


@pytest.mark.parametrize(
    "key",
    [
        "memory",
        "../memory.high",
        "memory.high/x",
        "",
        "memory.",
        "..",
        "memory..high",
        "/memory.high",
        "memory.high\n",
        "memory.high\0",
        "mémory.high",
        "memory.٣",
        "cgroup.procs",
        "cgroup.kill",
    ],
)
def test_what_is_no_cgroup_file_is_refused(key: str) -> None:
    with pytest.raises(InvalidArgument):
        cgroup_settings(_resources({key: "1"}), _V2, "x")


@pytest.mark.parametrize("size", ["2mb", "MB", "2MB/../x", "", "2MB\n", "٢MB"])
def test_what_is_no_page_size_is_refused(size: str) -> None:
    with pytest.raises(InvalidArgument):
        cgroup_settings(
            cri.LinuxContainerResources(
                hugepage_limits=[cri.HugepageLimit(page_size=size, limit=1)]
            ),
            _V1,
            "x",
        )


def test_the_label_keeps_them_and_a_damaged_one_keeps_nothing() -> None:
    settings = CgroupSettings({"2MB": 5}, {"memory.high": "7"})
    assert CgroupSettings.from_label(settings.label()) == settings
    for damaged in ("", "{", "[]", '{"hugepages": {"2MB": "many"}}'):
        assert not CgroupSettings.from_label(damaged)


@pytest.mark.parametrize("value", ["\0", "é", "1" * 4097, "\x1b[0m"])
def test_a_value_that_no_cgroup_file_takes_is_refused(value: str) -> None:
    with pytest.raises(InvalidArgument, match=r"memory\.high"):
        cgroup_settings(_resources({"memory.high": value}), _V2, "x")


@pytest.mark.parametrize(
    "label",
    [
        '{"unified": {"../../../tmp/canary": "OWNED"}}',
        '{"unified": {"memory.high": "1", "cgroup.procs": "1"}}',
        '{"unified": {"memory.high\\n": "1"}}',
        '{"unified": {"memory.high": "\\ud800"}}',
        '{"unified": ["memory.high"]}',
        '{"hugepages": {"2MB/../../x": 1}}',
        '{"hugepages": {"2MB": -1}}',
        '{"hugepages": {"2MB": 18446744073709551616}}',
        '{"hugepages": {"2MB": Infinity}}',
        '{"hugepages": {"2MB": NaN}}',
        "[" * 100_000,
        "null",
        "7",
    ],
)
def test_what_a_label_says_is_checked_as_a_request_is(label: str) -> None:
    assert CgroupSettings.from_label(label) == CgroupSettings()
