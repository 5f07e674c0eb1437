"""CPU rates out of samples."""

from __future__ import annotations

import time

import pytest

from asupervisor.stats.rate import CpuRate, monotonic_ns

S = 1_000_000_000


def test_over_the_newest_sample_that_is_a_second_old() -> None:
    rate = CpuRate(0)
    for second, cpu in ((100, 0), (110, 10 * S), (119, 19 * S)):
        rate.sample(second * S, cpu)
    assert rate.at(120 * S, 19 * S + S // 2) == S // 2
    assert rate.at(119 * S + S // 2, 19 * S + S // 2) == S * 9_500_000_000 // 9_500_000_000, (
        "19 s is too near, 110 s is taken"
    )


def test_the_first_answer_comes_from_the_start() -> None:
    rate = CpuRate(100 * S)
    assert rate.at(104 * S, 2 * S) == S // 2
    rate.sample(103 * S + S // 2, S)
    assert rate.at(104 * S, 2 * S) == S // 2, (
        "half a second says less than the four since its start"
    )


def test_an_old_container_seen_for_the_first_time() -> None:
    rate = CpuRate(S)
    assert rate.at(1001 * S, 100 * S) == S // 10, "its life's average, for want of anything better"
    rate.sample(1001 * S, 100 * S)
    assert rate.at(1001 * S + S // 2, 100 * S + S // 4) == S // 2, (
        "what it does now, over half a second"
    )


def test_nothing_to_compare_with() -> None:
    assert CpuRate(0).at(100 * S, S) is None
    assert CpuRate(200 * S).at(100 * S, S) is None, "a start in the future is not a start"


def test_a_counter_that_fell_starts_anew() -> None:
    rate = CpuRate(0)
    rate.sample(100 * S, 50 * S)
    rate.sample(110 * S, S)
    assert rate.at(112 * S, 2 * S) == S // 2
    assert rate.at(112 * S, S // 2) is None


def test_samples_in_quick_succession_do_not_push_out_the_useful_one() -> None:
    rate = CpuRate(0)
    rate.sample(100 * S, 0)
    for step in range(100):
        rate.sample(101 * S + step * 1000, 0)
    assert rate.at(101 * S + S // 10, S) == S * 10 // 11


def test_a_start_that_makes_more_than_every_core_of_it_is_no_start() -> None:
    rate = CpuRate(100 * S)
    assert rate.at(101 * S, 10_000 * S) is None
    rate.sample(101 * S, 10_000 * S)
    assert rate.at(103 * S, 10_001 * S) == S // 2


def test_the_clock_that_is_set_changes_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 500 * S)
    monkeypatch.setattr(time, "time_ns", lambda: 2_000 * S)
    assert monotonic_ns(0) == 0
    assert monotonic_ns(1_900 * S) == 400 * S
    assert monotonic_ns(1_000 * S) == 0, "before the node started"
    assert CpuRate(monotonic_ns(2_100 * S)).at(501 * S, S) is None, "a start in the future"
