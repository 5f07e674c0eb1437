"""Annotations reach a runtime where the engine can hand them on and somebody chose it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from asupervisor.dockershim.runtime_annotations import tell_runtime

KIND, ALLOWED = {"kind": "sandbox"}, {"run.oci.handler": "wasm"}


@pytest.mark.parametrize(
    ("version", "runtime", "told"),
    [
        ((1, 42), "runsc", None),
        ((1, 43), "runsc", KIND | ALLOWED),
        ((1, 43), "runc", ALLOWED),
        ((1, 43), None, ALLOWED),
    ],
)
def test_what_is_told_where(
    version: tuple[int, int], runtime: str | None, told: dict[str, str] | None
) -> None:
    engine = SimpleNamespace(api_version=version, info={"DefaultRuntime": "runc"})
    shim: Any = SimpleNamespace(engine=engine)
    host_config: dict[str, Any] = {} if runtime is None else {"Runtime": runtime}
    tell_runtime(shim, host_config, ALLOWED, KIND)
    assert host_config.get("Annotations") == told
