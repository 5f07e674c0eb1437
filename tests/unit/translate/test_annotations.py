"""What of annotations reaches the OCI runtime."""

from __future__ import annotations

import pytest

from asupervisor.proto import cri
from asupervisor.translate.annotations import (
    allowed_annotations,
    container_annotations,
    runtime_annotations,
    sandbox_annotations,
)
from asupervisor.translate.engine_facts import EngineFacts

POD = {"run.oci.handler": "krun", "org.systemd.property.X": "1", "note": "pod"}
CONTAINER = {"run.oci.handler": "wasm", "dev.gvisor.a": "b"}


@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        ((), {}),
        (("run.oci.handler",), {"run.oci.handler": "wasm"}),
        (("run.oci.*", "dev.*"), {"run.oci.handler": "wasm", "dev.gvisor.a": "b"}),
        (("run.oci",), {}),
        (("*",), {**POD, **CONTAINER}),
    ],
)
def test_only_what_the_operator_allows_reaches_a_runtime(
    patterns: tuple[str, ...], told: dict[str, str]
) -> None:
    assert allowed_annotations(patterns, POD, CONTAINER) == told


def test_a_runtime_that_keeps_pods_together_is_told_what_belongs_where() -> None:
    metadata = cri.PodSandboxMetadata(name="web", namespace="default", uid="u1")
    assert sandbox_annotations(metadata)["io.kubernetes.cri.container-type"] == "sandbox"
    told = container_annotations("main", "a" * 64, metadata)
    assert told["io.kubernetes.cri.container-type"] == "container"
    assert told["io.kubernetes.cri.sandbox-id"] == "a" * 64
    assert told["io.kubernetes.cri.container-name"] == "main"


@pytest.mark.parametrize(
    ("version", "runtime", "told"),
    [
        ((1, 42), "runsc", {}),
        ((1, 43), "runsc", {"kind": "sandbox", "run.oci.handler": "wasm"}),
        ((1, 43), "runc", {"run.oci.handler": "wasm"}),
        ((1, 43), "", {"run.oci.handler": "wasm"}),
    ],
)
def test_a_runtime_is_told_where_the_engine_can_and_somebody_chose_it(
    version: tuple[int, int], runtime: str, told: dict[str, str]
) -> None:
    facts = EngineFacts(
        api_version=version, default_runtime="runc", runtime_annotations=("run.oci.handler",)
    )
    given = {"run.oci.handler": "wasm", "of the author": "x"}
    found = runtime_annotations(facts, runtime, {"kind": "sandbox"}, given)
    assert found == ({"Annotations": told} if told else {})


def test_without_annotations_the_engine_is_told_of_none() -> None:
    assert runtime_annotations(EngineFacts(api_version=(1, 43)), "", {"kind": "sandbox"}) == {}
