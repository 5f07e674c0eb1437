"""The users that containers run as, read from their first processes: the engine resolves users, and
the process shows the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asupervisor.host.identity import process_identity
from asupervisor.proto import cri
from asupervisor.translate.documents import INT32_MAX, text, whole


class ContainerUsers:
    """Remembers the ids of each container's first process as they were right after its start; later
    the process may change them.

    Args:
        local: whether the engine's containers run on this machine.
    """

    def __init__(self, local: bool) -> None:
        self._local = local
        self._known: dict[str, tuple[str, cri.ContainerUser]] = {}

    def settle(self, document: Mapping[str, Any]) -> None:
        """A container is about to be shown as its inspect document tells."""
        container_id, start = text(document, "Id"), text(document, "State", "StartedAt")
        pid = whole(document, "State", "Pid", low=0, high=INT32_MAX)
        known = self._known.get(container_id)
        if not self._local or not pid or (known and known[0] == start):
            return
        identity = process_identity(pid, container_id)
        if identity is None:
            self._known.pop(container_id, None)
            return
        self._known[container_id] = (
            start,
            cri.ContainerUser(
                linux=cri.LinuxContainerUser(
                    uid=identity.uid,
                    gid=identity.gid,
                    supplemental_groups=sorted({identity.gid, *identity.groups}),
                )
            ),
        )

    def of(self, container_id: str) -> cri.ContainerUser | None:
        """The user that a container runs as or ran as last; None where it could not be read."""
        known = self._known.get(container_id)
        return known[1] if known else None

    def forget(self, container_id: str) -> None:
        """A container is gone."""
        self._known.pop(container_id, None)
