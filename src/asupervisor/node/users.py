"""The users that containers run as, read from their first processes: the engine resolves users, and
the process shows the result.
"""

from __future__ import annotations

from asupervisor.host.identity import process_identity
from asupervisor.node.records import ContainerRecord
from asupervisor.proto import cri


class ContainerUsers:
    """Remembers of each container what its first process was at the first look, which comes right
    after its start; later the process may have changed its ids.

    Args:
        local: whether the engine's containers run on this machine.
    """

    def __init__(self, local: bool) -> None:
        self._local = local
        self._known: dict[str, tuple[int, cri.ContainerUser]] = {}

    def settle(self, record: ContainerRecord) -> None:
        """A container is about to be shown in this state."""
        start = record.status.started_at
        known = self._known.get(record.id)
        if not (self._local and record.running and record.pid) or (known and known[0] == start):
            return
        identity = process_identity(record.pid, record.id)
        if identity is None:
            self._known.pop(record.id, None)
            return
        self._known[record.id] = (
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
