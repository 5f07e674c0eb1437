"""Version."""

from __future__ import annotations

from functools import lru_cache

from asupervisor.proto import cri

_KUBELET_API_VERSION = "0.1.0"
_RUNTIME_NAME = "docker"


@lru_cache(maxsize=4)
def version_bytes(engine_version: str, api_version: str) -> bytes:
    """A whole VersionResponse for the service that was called, ``v1`` or ``v1alpha2``."""
    return cri.VersionResponse(
        version=_KUBELET_API_VERSION,
        runtime_name=_RUNTIME_NAME,
        runtime_version=engine_version,
        runtime_api_version=api_version,
    ).SerializeToString()
