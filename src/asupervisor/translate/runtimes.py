"""What the engine's OCI runtimes can do, as ``/info`` tells since API 1.44: each runtime's own
``features`` document (OCI runtime-spec, features.md)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from asupervisor.translate.documents import sequence, text

_FEATURES = "org.opencontainers.runtime-spec.features"


def takes_recursive_read_only(info: Any, runtime: str) -> bool:
    """Whether a runtime mounts recursively read-only; one that tells nothing of itself is taken to,
    as the engine does where it cannot ask.

    Args:
        info: the engine's ``/info``.
        runtime: its name there; empty for the engine's default.
    """
    name = runtime or text(info, "DefaultRuntime")
    return _recursive_read_only(text(info, "Runtimes", name, "status", _FEATURES))


@lru_cache(maxsize=64)
def _recursive_read_only(features: str) -> bool:
    try:
        document = orjson.loads(features) if features else None
    except orjson.JSONDecodeError:
        return True
    options = sequence(document, "mountOptions")
    return not options or "rro" in options
