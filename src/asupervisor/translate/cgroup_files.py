"""Limits for which the engine API has no field: huge pages and cgroup v2 keys. They are written to
the container's cgroup files.

That happens right after its start, since the cgroup comes with the first process; until then they
are kept in a label."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.proto import cri

_KEY = re.compile(r"[a-z][a-z0-9_]*(?:\.[A-Za-z0-9_]+)+", re.ASCII)
"""``controller.key``: one component of a path. Files of the cgroup itself, such as
``cgroup.procs``, move and end processes; of those only ``cgroup.max.*`` are limits.
"""
_VALUE = re.compile(r"[\t\n -~]{0,4096}")
_PAGE_SIZE = re.compile(r"[0-9]{1,9}[KMG]B")
_MAX_BYTES = (1 << 64) - 1


def _is_key(key: str) -> bool:
    return _KEY.fullmatch(key) is not None and (
        not key.startswith("cgroup.") or key.startswith("cgroup.max.")
    )


@dataclass(frozen=True, slots=True)
class CgroupFeatures:
    """What the node's cgroups can do.

    Args:
        v2: whether it has cgroup v2 alone.
        controllers: the names of its controllers, such as ``memory`` and ``hugetlb``.
        local: whether the engine's containers are on this machine, so that their files can be
            written.
    """

    v2: bool = False
    controllers: frozenset[str] = frozenset()
    local: bool = True


@dataclass(frozen=True, slots=True)
class CgroupSettings:
    """What to write.

    Args:
        hugepages: bytes by page size (``2MB``).
        unified: content by cgroup v2 file.
    """

    hugepages: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.hugepages or self.unified)

    def __or__(self, later: CgroupSettings) -> CgroupSettings:
        """These, changed by later ones."""
        return CgroupSettings(
            {**self.hugepages, **later.hugepages}, {**self.unified, **later.unified}
        )

    def document(self) -> dict[str, Any]:
        """As JSON has them."""
        return {"hugepages": dict(self.hugepages), "unified": dict(self.unified)}

    @classmethod
    def from_document(cls, content: Any) -> CgroupSettings:
        """Out of :meth:`document`; nothing where it is damaged, or has what a request may not have
        either.
        """
        try:
            settings = cls(
                {str(size): int(limit) for size, limit in content.get("hugepages", {}).items()},
                {str(key): str(value) for key, value in content.get("unified", {}).items()},
            )
        except (ValueError, TypeError, AttributeError, OverflowError):
            return cls()
        sound = all(
            _PAGE_SIZE.fullmatch(size) and 0 <= limit <= _MAX_BYTES
            for size, limit in settings.hugepages.items()
        ) and all(_is_key(key) and _VALUE.fullmatch(text) for key, text in settings.unified.items())
        return settings if sound else cls()

    def label(self) -> str:
        """As the label keeps them."""
        return json.dumps(self.document(), sort_keys=True)

    @classmethod
    def from_label(cls, text: str) -> CgroupSettings:
        """Out of the label; nothing where there is none or it is damaged."""
        try:
            return cls.from_document(json.loads(text) if text else {})
        except (ValueError, RecursionError):
            return cls()


def cgroup_settings(
    resources: cri.LinuxContainerResources, features: CgroupFeatures, subject: str
) -> CgroupSettings:
    """What is to be written for these resources.

    On a node that cannot limit huge pages, a limit of 0 is passed over: kubelet sends it for every
    page size of the node.

    Raises:
        InvalidArgument: a malformed page size or key.
        FailedPrecondition: this node cannot limit that.
    """
    hugepages: dict[str, int] = {}
    for entry in resources.hugepage_limits:
        if not _PAGE_SIZE.fullmatch(entry.page_size):
            raise InvalidArgument(
                f'{subject}: "{entry.page_size}" is not a huge page size such as 2MB'
            )
        if "hugetlb" in features.controllers and features.local:
            hugepages[entry.page_size] = entry.limit
        elif entry.limit:
            raise FailedPrecondition(
                f"{subject}: huge pages of {entry.page_size} cannot be limited:"
                f" {_reason('hugetlb', features)}"
            )
    for key, value in resources.unified.items():
        if not _is_key(key):
            raise InvalidArgument(f'{subject}: "{key}" is not the name of a limit of cgroup v2')
        if not _VALUE.fullmatch(value):
            raise InvalidArgument(
                f"{subject}: the value of the cgroup v2 key {key} is longer than 4096 characters,"
                " or has others than printable ASCII"
            )
    # Refused here: when they are written, the container runs already.
    usable = {*features.controllers, "cgroup"} if features.v2 and features.local else set()
    refused = sorted(key for key in resources.unified if key.partition(".")[0] not in usable)
    if refused:
        what = refused[0].partition(".")[0] if features.v2 else "v2"
        raise FailedPrecondition(
            f"{subject}: the cgroup v2 keys {', '.join(refused)} cannot be set:"
            f" {_reason(what, features)}"
        )
    return CgroupSettings(hugepages, dict(resources.unified))


def _reason(what: str, features: CgroupFeatures) -> str:
    if not features.local:
        return "Docker Engine runs on another machine"
    return "this node runs cgroup v1" if what == "v2" else f"this node has no {what} controller"


def cgroup_writes(settings: CgroupSettings, v1_hugetlb: str, v2: str) -> list[tuple[str, str, str]]:
    """Directory, file and content of each write.

    Args:
        settings: what to write.
        v1_hugetlb: directory of the container in the v1 hugetlb hierarchy; empty under cgroup v2.
        v2: its directory in the unified hierarchy; empty under cgroup v1.
    """
    writes = []
    for size, limit in sorted(settings.hugepages.items()):
        if v1_hugetlb:
            writes.append((v1_hugetlb, f"hugetlb.{size}.limit_in_bytes", str(limit)))
        else:
            writes.append((v2, f"hugetlb.{size}.max", str(limit)))
    writes += [(v2, key, value) for key, value in sorted(settings.unified.items())]
    return writes
