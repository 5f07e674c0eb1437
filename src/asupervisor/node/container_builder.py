"""Builds a container's record out of its inspect document and of what the engine does not know. It
is built once for each reading, and again only if the latter changed before the record is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from asupervisor.engine.session import Document
from asupervisor.node.build import container_record
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.logs import ContainerLogs
from asupervisor.node.records import ContainerRecord, ImageRecord
from asupervisor.node.store import NodeStore
from asupervisor.node.users import ContainerUsers
from asupervisor.translate.documents import text
from asupervisor.translate.limits import Limits, changed_limits
from asupervisor.translate.provenance import Origin


class Built(NamedTuple):
    """A container's record, and what it was built of besides the engine's document.

    Attributes:
        record: as the node state shows it.
        images: of the node, as they were then.
        note: what its status says of its log.
        changed: its limits that were changed without the engine.
    """

    record: ContainerRecord
    images: Mapping[str, ImageRecord]
    note: str
    changed: Limits


class ContainerBuilder:
    """Builds containers' records.

    Args:
        store: has the images.
        checkpoints: have the changed limits.
        logs: know which logs cannot be read.
        users: know the users that containers run as.
    """

    def __init__(
        self,
        store: NodeStore,
        checkpoints: CheckpointStore,
        logs: ContainerLogs,
        users: ContainerUsers,
    ) -> None:
        self._store = store
        self._checkpoints = checkpoints
        self._logs = logs
        self._users = users

    def build(self, document: Document, origin: Origin) -> Built:
        """A record as of now."""
        container_id, images = text(document, "Id"), self._store.images
        self._users.settle(document)
        note, changed = self._beside(container_id, origin)
        user = self._users.of(container_id)
        record = container_record(document, self._store.image, note, changed, user, origin)
        return Built(record, images, note, changed)

    def renewed(self, built: Built, document: Document, origin: Origin) -> Built:
        """The same, built again where what the engine does not tell has changed since."""
        beside = self._beside(built.record.id, origin)
        same = built.images is self._store.images and (built.note, built.changed) == beside
        return built if same else self.build(document, origin)

    def forget(self, container_id: str) -> None:
        """A container is gone."""
        self._users.forget(container_id)

    def _beside(self, container_id: str, origin: Origin) -> tuple[str, Limits]:
        changed = changed_limits(self._checkpoints.get(origin.sandbox_id), container_id)
        return self._logs.note(container_id), changed
