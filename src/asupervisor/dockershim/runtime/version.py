"""Version."""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.proto import cri

_KUBELET_API_VERSION = "0.1.0"
_RUNTIME_NAME = "docker"


def version_bytes(shim: Shim, api_version: str) -> bytes:
    """A whole VersionResponse for the service that was called, ``v1`` or ``v1alpha2``."""
    return cri.VersionResponse(
        version=_KUBELET_API_VERSION,
        runtime_name=_RUNTIME_NAME,
        runtime_version=str(shim.engine.version.get("Version") or "unknown"),
        runtime_api_version=api_version,
    ).SerializeToString()
