"""Limits that were changed beside the engine, as the sandbox's checkpoint keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.proto import cri
from asupervisor.translate.cgroup_files import CgroupSettings
from asupervisor.translate.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from asupervisor.translate.limits import Limits, changed_limits, with_changed_limits
from asupervisor.translate.resources import cri_resources

_HIGH = Limits(CgroupSettings({}, {"memory.high": "1"}))


def _reread(checkpoint: Checkpoint) -> Checkpoint:
    return decode_checkpoint(encode_checkpoint(checkpoint), "a file")


def test_a_later_change_adds_to_an_earlier_one_and_a_file_keeps_them() -> None:
    checkpoint = with_changed_limits(Checkpoint("web", "default"), "a", _HIGH, ["a"])
    second = Limits(CgroupSettings({"2MB": 4}, {"memory.high": "2", "pids.max": "3"}), -998)
    checkpoint = with_changed_limits(checkpoint, "a", second, ["a"])
    checkpoint = with_changed_limits(checkpoint, "a", Limits(CgroupSettings({"2MB": 6})), ["a"])
    assert changed_limits(_reread(checkpoint), "a") == Limits(
        CgroupSettings({"2MB": 6}, {"memory.high": "2", "pids.max": "3"}), -998
    )


def test_a_score_of_zero_is_a_change_too() -> None:
    zero = Limits(oom_score_adj=0)
    assert zero and (Limits(oom_score_adj=5) | zero).oom_score_adj == 0
    assert (
        changed_limits(
            _reread(with_changed_limits(Checkpoint("web", "default"), "a", zero, ["a"])), "a"
        )
        == zero
    )
    assert cri_resources({"OomScoreAdj": 200}, zero).oom_score_adj == 0


def test_limits_are_set_one_by_one() -> None:
    limits = Limits(CgroupSettings({"2MB": 6}, {"pids.max": "3", "memory.high": "2"}), 0)
    assert list(limits.each()) == [
        Limits(CgroupSettings({"2MB": 6})),
        Limits(CgroupSettings({}, {"memory.high": "2"})),
        Limits(CgroupSettings({}, {"pids.max": "3"})),
        Limits(oom_score_adj=0),
    ]


def test_each_container_has_its_own_and_one_that_is_gone_none() -> None:
    checkpoint = Checkpoint("web", "default", extra={"pid": "POD"})
    for name in ("a", "b"):
        checkpoint = with_changed_limits(checkpoint, name, _HIGH, ["a", "b"])
    assert changed_limits(checkpoint, "a") == changed_limits(checkpoint, "b") == _HIGH
    checkpoint = with_changed_limits(checkpoint, "c", _HIGH, ["b", "c"])
    assert (changed_limits(checkpoint, "a"), changed_limits(checkpoint, "b")) == (Limits(), _HIGH)
    assert checkpoint.extra["pid"] == "POD"


@pytest.mark.parametrize(
    "kept", [None, [], {"a": None}, {"a": {"hugepages": 5}}, {"a": {"oom_score_adj": "much"}}]
)
def test_what_is_damaged_is_nothing(kept: Any) -> None:
    assert not changed_limits(Checkpoint("web", "default", extra={"limits": kept}), "a")


def test_there_is_nothing_without_a_checkpoint() -> None:
    assert not changed_limits(None, "a")


def test_the_status_tells_what_was_changed_before_what_was_created() -> None:
    beside = Limits(CgroupSettings({"2MB": 6}, {"memory.high": "2"}), 300)
    told = cri_resources({"Memory": 5, "OomScoreAdj": 200}, beside)
    assert told == cri.LinuxContainerResources(
        memory_limit_in_bytes=5,
        oom_score_adj=300,
        hugepage_limits=[cri.HugepageLimit(page_size="2MB", limit=6)],
        unified={"memory.high": "2"},
    )
    assert cri_resources({"OomScoreAdj": 200}, Limits()).oom_score_adj == 200
