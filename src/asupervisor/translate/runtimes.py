"""What the engine's OCI runtimes can do, as ``/info`` tells since API 1.44: each runtime's own
``features`` document (OCI runtime-spec, features.md)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from asupervisor.oci import RUNTIME
from asupervisor.translate.documents import sequence, text

_FEATURES = "org.opencontainers.runtime-spec.features"


def takes_recursive_read_only(info: Any, runtime: str) -> bool:
    """Whether a runtime can mount recursively read-only; one without a features document counts as
    able to, as for the engine.

    Args:
        info: the engine's ``/info``.
        runtime: its name there; empty for the engine's default.
    """
    name = runtime or text(info, "DefaultRuntime")
    return _recursive_read_only(text(info, "Runtimes", name, "status", _FEATURES))


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The OCI runtime that stands before the real one (:mod:`asupervisor.oci`).

    Args:
        program: the real one, by its name or path.
        version: up to which it knows the OCI runtime-spec; (1, 0) where the engine does not tell.
        problem: why it cannot be used, and what to do; empty where it can.
    """

    program: str = ""
    version: tuple[int, int] = (1, 0)
    problem: str = ""


def wrapped_runtime(info: Any, path: str, handler: str = "") -> Wrapped:
    """Whether containers of a pod can be given the runtime that stands before the real one.

    Args:
        info: the engine's ``/info``.
        path: of the wrapper.
        handler: the pod's runtime; empty for the engine's default.
    """
    default = text(info, "DefaultRuntime")
    program = text(info, "Runtimes", default, "path")
    configured = text(info, "Runtimes", RUNTIME, "path")
    if configured != path:
        found = f"its {RUNTIME} is {configured}" if configured else f"it has no runtime {RUNTIME}"
        return Wrapped(
            problem=f'{found}: add "{RUNTIME}": {{"path": "{path}"}} to "runtimes" in the engine\'s'
            " daemon.json, reload the engine and restart this service"
        )
    if handler not in ("", default):
        return Wrapped(
            problem=f"the pod has the runtime handler {handler}, before which {RUNTIME} cannot"
            " stand: run the pod without that handler, or without the plugin"
        )
    if program in ("", path) or sequence(info, "Runtimes", default, "runtimeArgs"):
        return Wrapped(
            problem=f"{RUNTIME} cannot stand before its default runtime {default}: make one that is"
            ' a program without arguments "default-runtime" in daemon.json, such as runc'
        )
    return Wrapped(program, _spec_version(text(info, "Runtimes", RUNTIME, "status", _FEATURES)))


@lru_cache(maxsize=64)
def _spec_version(features: str) -> tuple[int, int]:
    try:
        major, minor, *_ = text(orjson.loads(features), "ociVersionMax").split(".")
        return int(major), int(minor)
    except ValueError:
        return (1, 0)


@lru_cache(maxsize=64)
def _recursive_read_only(features: str) -> bool:
    try:
        document = orjson.loads(features) if features else None
    except orjson.JSONDecodeError:
        return True
    options = sequence(document, "mountOptions")
    return not options or "rro" in options
