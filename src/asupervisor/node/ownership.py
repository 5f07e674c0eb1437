"""Which of the engine's containers are pods': the one place that decides it, for the node state and
for code that is about to remove something.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator

from asupervisor.engine.session import Document
from asupervisor.errors import Internal
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.records import ContainerId, SandboxId, SandboxRecord
from asupervisor.node.store import NodeStore
from asupervisor.translate.documents import mapping, text, texts
from asupervisor.translate.labels import TYPE_LABEL, TYPE_SANDBOX
from asupervisor.translate.names import SANDBOX_CONTAINER_NAME, ContainerName, parse_container_name
from asupervisor.translate.provenance import Origin, Seal, may_be_a_pods

_logger = logging.getLogger(__name__)
_REMEMBERED = 1024


class Ownership:
    """Compares what a container says of itself with what is known of its sandbox.

    Args:
        seal: proves what this service made.
        store: knows the sandboxes that are there.
        checkpoints: know those that are not, or not yet.
    """

    def __init__(self, seal: Seal, store: NodeStore, checkpoints: CheckpointStore) -> None:
        self.seal = seal
        self._store = store
        self._checkpoints = checkpoints
        self._told: set[str] = set()

    def listed(self, summaries: Iterable[Document]) -> Iterator[tuple[Document, Origin | None]]:
        """Which of the containers that the engine lists have to be read, and what is believed of
        each so far. Sandboxes come first, since a container is compared with what is known of its
        sandbox: so the caller shows each one before it asks for the next.

        Args:
            summaries: ``GET /containers/json``, of those with a pod's labels.
        """
        waiting = deque(sorted(summaries, key=_is_container))
        while waiting:
            # Each is released once it was handled: on a full node they take ten megabytes.
            summary = waiting.popleft()
            names, labels = texts(summary, "Names"), mapping(summary, "Labels")
            name = next((name for name in names if parse_container_name(name) is not None), "")
            if name and may_be_a_pods([name], labels):
                told = {"Id": summary.get("Id"), "Name": name, "Config": {"Labels": labels}}
                yield summary, self.origin(told)
            elif not any(names):
                yield summary, None

    def origin(self, document: Document) -> Origin | None:
        """What is believed of a container, out of its inspect document; None for one that is not a
        pod's. A container whose sandbox is not known counts as a pod's, so that it can be removed.

        Raises:
            Internal: the document does not tell.
        """
        document = self.named(document)
        if not text(document, "Name") or not isinstance(document.get("Config"), dict):
            # That is no proof that it belongs to another program.
            raise Internal(
                f"the engine's answer about container {document.get('Id')} cannot be understood"
            )
        origin = self.seal.origin(document)
        if origin is None:
            self._tell(document, "contradict each other")
        elif self.holds(document, origin):
            return origin
        return None

    def holds(self, document: Document, origin: Origin) -> bool:
        """Whether what was believed of a container fits what is known of its sandbox by now."""
        fits = self._fits(origin)
        if not fits:
            self._tell(document, "name another's sandbox")
        return fits

    def named(self, document: Document) -> Document:
        """An inspect document with the name that its container was made under, where it was renamed
        since. An id cannot be chosen, so a container whose id is known, and whose seal fits that
        name, is the same one.
        """
        any_id, told = text(document, "Id"), text(document, "Name").removeprefix("/")
        known = (
            self._store.sandboxes.get(SandboxId(any_id))
            or self._store.containers.get(ContainerId(any_id))
            or self._store.unread.get(any_id)
        )
        kept = self._checkpoints.get(any_id)
        first = known.engine_name if known is not None else ""
        if not first and kept is not None:
            parts = (SANDBOX_CONTAINER_NAME, kept.name, kept.namespace, kept.uid, kept.attempt)
            first = str(ContainerName(*parts))
        if first in ("", told):
            return document
        renamed = {**document, "Name": f"/{first}"}
        origin = self.seal.origin(renamed)
        return renamed if origin is not None and origin.sealed else document

    def strangers(self, sandbox: SandboxRecord) -> list[ContainerId]:
        """Containers that counted as a sandbox's before it was known, and are not."""
        pod = sandbox.status.metadata
        found = []
        for container in self._store.containers_of(sandbox.id):
            name = parse_container_name(container.engine_name)
            if name is None or (name.pod_name, name.namespace, name.pod_uid) != (
                pod.name,
                pod.namespace,
                pod.uid,
            ):
                found.append(container.id)
        return found

    def _fits(self, origin: Origin) -> bool:
        known = self._store.containers.get(ContainerId(origin.sandbox_id)) or (
            self._store.sandboxes.get(SandboxId(origin.sandbox_id))
            or self._store.unread.get(origin.sandbox_id)
        )
        if isinstance(known, SandboxRecord):
            pod = known.status.metadata
            return origin.fits(pod.name, pod.namespace, pod.uid)
        if known is not None:
            return origin.sealed  # a container is not a sandbox
        kept = self._checkpoints.get(origin.sandbox_id)
        return kept is None or origin.fits(kept.name, kept.namespace, kept.uid)

    def _tell(self, document: Document, reason: str) -> None:
        """Log it, once for each container that claims to be a pod's: somebody may look for it."""
        any_id, name = text(document, "Id"), text(document, "Name")
        labels = mapping(document, "Config", "Labels")
        if any_id in self._told or not may_be_a_pods([name], labels):
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told.add(any_id)
        _logger.warning(
            "container %s (%s) is not used, since it is not a pod's: its name and labels %s",
            any_id[:12],
            name,
            reason,
        )


def _is_container(summary: Document) -> bool:
    return text(summary, "Labels", TYPE_LABEL) != TYPE_SANDBOX
