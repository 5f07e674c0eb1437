"""What the engine tells of its OCI runtimes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from asupervisor.oci import RUNTIME
from asupervisor.translate.runtimes import (
    Wrapped,
    takes_recursive_read_only,
    wrapped_runtime,
)

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


PATH = "/root/oci/runtime"


def told(
    default: str = "runc",
    version: str = "1.3.0",
    runtimes: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    features = {FEATURES: json.dumps({"ociVersionMax": version})}
    known = {"runc": {"path": "runc"}, RUNTIME: {"path": PATH, "status": features}}
    return {"DefaultRuntime": default, "Runtimes": {**known, **runtimes}}


def test_the_runtime_that_changes_documents_stands_before_the_default() -> None:
    assert wrapped_runtime(told(), PATH) == Wrapped("runc", (1, 3))
    assert wrapped_runtime(told(), PATH, "runc") == Wrapped("runc", (1, 3))
    other = told("crun", runtimes={"crun": {"path": "/usr/bin/crun"}})
    assert wrapped_runtime(other, PATH).program == "/usr/bin/crun"
    assert wrapped_runtime(told(version="1.0.2-dev"), PATH).version == (1, 0)
    for odd in ("", "1", "x.y", "1.²"):
        assert wrapped_runtime(told(version=odd), PATH).version == (1, 0)
    silent = told(runtimes={RUNTIME: {"path": PATH}})
    assert wrapped_runtime(silent, PATH) == Wrapped("runc", (1, 0))


@pytest.mark.parametrize(
    ("info", "handler", "words"),
    [
        ({}, "", f'add "{RUNTIME}": {{"path": "{PATH}"}} to "runtimes"'),
        (told(runtimes={RUNTIME: {"path": "/else"}}), "", "is /else"),
        (told(), "kata", "handler kata"),
        (told("runsc", runtimes={"runsc": {"runtimeType": "io.containerd.runsc.v1"}}), "", "runsc"),
        (
            told("x", runtimes={"x": {"path": "/x", "runtimeArgs": ["--y"]}}),
            "",
            "without arguments",
        ),
        (told(RUNTIME), "", f"default runtime {RUNTIME}"),
    ],
)
def test_where_it_cannot_stand(info: Any, handler: str, words: str) -> None:
    wrapped = wrapped_runtime(info, PATH, handler)
    assert words in wrapped.problem and not wrapped.program
