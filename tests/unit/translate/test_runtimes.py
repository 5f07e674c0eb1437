"""What the engine tells of its OCI runtimes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asupervisor.translate.runtimes import takes_recursive_read_only

FEATURES = "org.opencontainers.runtime-spec.features"


def runtime(features: Any) -> dict[str, Any]:
    return {"status": {FEATURES: features}}


INFO = {
    "DefaultRuntime": "runc",
    "Runtimes": {
        "runc": runtime(json.dumps({"mountOptions": ["ro", "rro"]})),
        "old": runtime(json.dumps({"mountOptions": ["ro"]})),
        "silent": {"path": "runsc"},
        "odd": runtime("{"),
        "odder": runtime(["rro"]),
        "none": None,
    },
}


@pytest.mark.parametrize(
    ("name", "can"),
    [
        ("", True),
        ("runc", True),
        ("old", False),
        ("silent", True),
        ("odd", True),
        ("odder", True),
        ("none", True),
        ("unknown", True),
    ],
)
def test_a_runtime_that_says_it_cannot_is_believed(name: str, can: bool) -> None:
    assert takes_recursive_read_only(INFO, name) is can


def test_no_information_is_no_refusal() -> None:
    assert takes_recursive_read_only({}, "")
