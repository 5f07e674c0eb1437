"""What a plan for the engine depends on besides the request."""

from __future__ import annotations

from dataclasses import dataclass

from asupervisor.errors import FailedPrecondition


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


def require_api(
    what: str, since: tuple[int, int], release: str, api_version: tuple[int, int]
) -> None:
    """Refuse what the engine's API is too old for.

    Args:
        what: names the object and what it asks for, in the plural.
        since: the first API version that has it.
        release: the first Docker release that speaks it.
        api_version: the engine's.

    Raises:
        FailedPrecondition: the engine is older.
    """
    if api_version < since:
        raise FailedPrecondition(
            f"{what} need Docker Engine API {since[0]}.{since[1]} (Docker {release}); this engine"
            f" speaks {api_version[0]}.{api_version[1]}"
        )
