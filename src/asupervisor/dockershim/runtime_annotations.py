"""What the OCI runtime is told of a sandbox or container by annotations."""

from __future__ import annotations

from collections.abc import Mapping

from asupervisor.dockershim.shim import Shim
from asupervisor.engine.session import Document
from asupervisor.translate.annotations import ANNOTATIONS_SINCE
from asupervisor.translate.documents import text


def tell_runtime(
    shim: Shim, host_config: Document, allowed: Mapping[str, str], kind: Mapping[str, str]
) -> None:
    """Put annotations into a ``HostConfig``, where the engine can hand them on.

    Args:
        allowed: what the operator lets through.
        kind: what it is; told only to a runtime that was chosen for the pod, since the engine's
            default one keeps no pods together.
    """
    if shim.engine.api_version < ANNOTATIONS_SINCE:
        return
    default = text(shim.engine.info, "DefaultRuntime")
    chosen = text(host_config, "Runtime") not in ("", default)
    annotations = {**allowed, **(kind if chosen else {})}
    if annotations:
        host_config["Annotations"] = annotations
