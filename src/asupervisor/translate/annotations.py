"""Annotations for the OCI runtime: ``HostConfig.Annotations``, engine API 1.43.

A runtime that keeps a pod together (gVisor, Kata) is told what a container is and to which sandbox
it belongs, under the names of containerd's CRI plugin. Annotations of a pod's author reach a
runtime only where the operator allows the key, since runtimes obey some annotations; other CRI
servers do the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asupervisor.proto import cri
from asupervisor.translate.engine_facts import EngineFacts

ANNOTATIONS_SINCE = (1, 43)
_PREFIX = "io.kubernetes.cri."


def runtime_annotations(
    facts: EngineFacts, runtime: str, kind: Mapping[str, str], *given: Mapping[str, str]
) -> dict[str, Any]:
    """``Annotations`` of a ``HostConfig``, where there are any and the engine can hand them on.

    Args:
        facts: of the engine, and what the operator lets through.
        runtime: the OCI runtime; empty for the engine's default one.
        kind: what the container is; told only to a runtime that was chosen for the pod, since the
            engine's default one keeps no pods together.
        given: annotations of the pod, then of the container; later ones win.
    """
    if facts.api_version < ANNOTATIONS_SINCE:
        return {}
    chosen = runtime not in ("", facts.default_runtime)
    annotations = {
        **allowed_annotations(facts.runtime_annotations, *given),
        **(kind if chosen else {}),
    }
    return {"Annotations": annotations} if annotations else {}


def allowed_annotations(patterns: Sequence[str], *given: Mapping[str, str]) -> dict[str, str]:
    """What of several annotations is allowed.

    Args:
        patterns: keys, or beginnings of keys followed by ``*``.
        given: a pod's, then a container's; later ones win.
    """
    merged = {key: value for annotations in given for key, value in annotations.items()}
    return {key: value for key, value in merged.items() if _matches(key, patterns)}


def sandbox_annotations(metadata: cri.PodSandboxMetadata) -> dict[str, str]:
    """What a runtime is told of a sandbox."""
    return {
        f"{_PREFIX}container-type": "sandbox",
        f"{_PREFIX}sandbox-name": metadata.name,
        f"{_PREFIX}sandbox-namespace": metadata.namespace,
        f"{_PREFIX}sandbox-uid": metadata.uid,
    }


def container_annotations(
    name: str, sandbox_id: str, metadata: cri.PodSandboxMetadata
) -> dict[str, str]:
    """What a runtime is told of a container.

    Args:
        name: of the container.
        sandbox_id: of its sandbox.
        metadata: of its sandbox.
    """
    return {
        **sandbox_annotations(metadata),
        f"{_PREFIX}container-type": "container",
        f"{_PREFIX}container-name": name,
        f"{_PREFIX}sandbox-id": sandbox_id,
    }


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(
        key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern
        for pattern in patterns
    )
