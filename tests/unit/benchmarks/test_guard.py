"""The guard compares what two runs say in terms of their own floor."""

from __future__ import annotations

from benchmarks.lives import STEPS, Pod
from benchmarks.pod_life import FLOOR, OURS, Lives, Results, ratios, worse


def _lives(*each_ms: float) -> Lives:
    pods = [Pod(0, 0.0, dict.fromkeys(STEPS, each)) for each in each_ms]
    return Lives([pods])


def test_a_ratio_is_that_of_the_medians() -> None:
    results = Results({4: {OURS: _lives(1, 2, 90), "other": _lives(5), FLOOR: _lives(4)}})
    assert ratios(results) == {
        "to a started container, 4 at a time": 0.5,
        "stop to nothing left, 4 at a time": 0.5,
    }


def test_worse_by_more_than_a_fifth_is_told() -> None:
    before = {"one": 1.0, "another": 0.5, "not measured now": 1.0}
    assert worse({"one": 1.2, "another": 0.1, "new": 9.0}, before) == []
    assert worse({"one": 1.21, "another": 0.61}, before) == [
        "one: 1.21 of the floor, and was 1.00",
        "another: 0.61 of the floor, and was 0.50",
    ]
