"""What a plan for the engine depends on besides the request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine and its host are.

    Args:
        api_version: the negotiated one.
        cgroup_driver: ``cgroupfs`` or ``systemd``.
        default_runtime: the OCI runtime of a container that names none.
        security: what it confines containers by: ``apparmor``, ``selinux``, ``userns``, ….
        oom_floor: the lowest oom_score_adj that it can give; None for no limit.
        runtime_annotations: keys of annotations that the operator lets through to OCI runtimes.
    """

    api_version: tuple[int, int]
    cgroup_driver: str = "cgroupfs"
    default_runtime: str = ""
    security: frozenset[str] = frozenset()
    oom_floor: int | None = None
    runtime_annotations: tuple[str, ...] = ()
