"""What of annotations reaches the OCI runtime."""

from __future__ import annotations

import pytest

from asupervisor.proto import cri
from asupervisor.translate.annotations import (
    allowed_annotations,
    container_annotations,
    sandbox_annotations,
)

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
