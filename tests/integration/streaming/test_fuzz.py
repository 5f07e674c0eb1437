"""A short run of the fuzzer; ``python -m tests.harness.fuzz_streaming --seconds 600`` is the long
one.
"""

from __future__ import annotations

import anyio

from tests.harness.fuzz_streaming import fuzz


def test_hostile_clients_harm_nobody() -> None:
    report = anyio.run(fuzz, 4.0, 20260101)
    assert report.cases > 50
    assert len(report.answers) > 5
