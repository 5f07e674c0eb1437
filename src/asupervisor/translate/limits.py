"""What UpdateContainerResources changed without the engine: kept in the sandbox's checkpoint, so
that the status shows it also after a restart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from asupervisor.translate.cgroup_files import CgroupSettings
from asupervisor.translate.checkpoint import Checkpoint
from asupervisor.translate.documents import at, whole

_KEY = "limits"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a container that the engine does not know, or knows only as they were at the
    creation.

    Args:
        cgroup: written to its cgroup files.
        oom_score_adj: of its first process; None stands for what the engine gave it.
    """

    cgroup: CgroupSettings = field(default_factory=CgroupSettings)
    oom_score_adj: int | None = None

    def __bool__(self) -> bool:
        return bool(self.cgroup) or self.oom_score_adj is not None

    def __or__(self, later: Limits) -> Limits:
        """These, changed by later ones."""
        return Limits(
            self.cgroup | later.cgroup,
            self.oom_score_adj if later.oom_score_adj is None else later.oom_score_adj,
        )

    def each(self) -> Iterator[Limits]:
        """One at a time, in the order of their names."""
        for size, limit in sorted(self.cgroup.hugepages.items()):
            yield Limits(CgroupSettings(hugepages={size: limit}))
        for key, value in sorted(self.cgroup.unified.items()):
            yield Limits(CgroupSettings(unified={key: value}))
        if self.oom_score_adj is not None:
            yield Limits(oom_score_adj=self.oom_score_adj)


def changed_limits(checkpoint: Checkpoint | None, container_id: str) -> Limits:
    """What was changed of a container; nothing where nothing was, or it could not be kept."""
    content = at(checkpoint.extra, _KEY, container_id) if checkpoint is not None else None
    known = isinstance(at(content, "oom_score_adj"), int)
    score = whole(content, "oom_score_adj", low=-1000, high=1000) if known else None
    return Limits(CgroupSettings.from_document(content or {}), score)


def with_changed_limits(
    checkpoint: Checkpoint, container_id: str, limits: Limits, containers: Collection[str]
) -> Checkpoint:
    """A sandbox's checkpoint with a change added to the earlier ones of a container.

    Args:
        checkpoint: as it is.
        container_id: whose limits they are.
        limits: what was changed.
        containers: that the sandbox has; what is kept of others is dropped.
    """
    changed = changed_limits(checkpoint, container_id) | limits
    kept = {
        other: _document(changed_limits(checkpoint, other))
        for other in containers
        if changed_limits(checkpoint, other)
    }
    return replace(
        checkpoint, extra={**checkpoint.extra, _KEY: {**kept, container_id: _document(changed)}}
    )


def _document(limits: Limits) -> dict[str, Any]:
    return {**limits.cgroup.document(), "oom_score_adj": limits.oom_score_adj}
