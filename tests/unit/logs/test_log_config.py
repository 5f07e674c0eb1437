"""How much of a log the engine is told to keep."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.translate.logs import MAX_FILE, MAX_SIZE, engine_log_config

_BOUNDED = {"Type": "json-file", "Config": {"max-size": MAX_SIZE, "max-file": MAX_FILE}}


@pytest.mark.parametrize(
    ("default", "log_format", "expected"),
    [
        ({"Type": "json-file", "Config": {}}, "cri", _BOUNDED),
        ({"Type": "json-file", "Config": None}, "cri", _BOUNDED),
        ({"Type": "json-file", "Config": {"max-size": "5m"}}, "cri", None),
        (
            {"Type": "json-file", "Config": {"max-file": "9"}},
            "cri",
            {"Type": "json-file", "Config": {"max-size": MAX_SIZE}},
        ),
        ({"Type": "json-file", "Config": {}}, "docker", None),
        ({"Type": "journald", "Config": {}}, "cri", None),
        ({}, "cri", None),
    ],
)
def test_the_operator_wins(
    default: dict[str, Any], log_format: str, expected: dict[str, Any] | None
) -> None:
    assert engine_log_config(default, log_format) == expected
