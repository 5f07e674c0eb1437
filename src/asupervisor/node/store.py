"""What runs on this node, in memory: lists and statuses are answered from here, as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from asupervisor.errors import InvalidArgument, NotFound, Unavailable
from asupervisor.node.build import with_image
from asupervisor.node.build_image import without_names
from asupervisor.node.fitting import Fitting
from asupervisor.node.known import Known
from asupervisor.node.records import (
    ContainerId,
    ContainerRecord,
    ImageRecord,
    SandboxId,
    SandboxRecord,
)
from asupervisor.proto import cri
from asupervisor.translate.images import is_image_id, parse_reference, without_scheme

Record = TypeVar("Record", SandboxRecord, ContainerRecord)


@dataclass(frozen=True, slots=True)
class Change:
    """One sandbox or container as it was and as it is; None before it was made or after its
    removal.
    """

    kind: Literal["sandbox", "container"]
    before: SandboxRecord | ContainerRecord | None
    after: SandboxRecord | ContainerRecord | None


class NodeStore:
    """Sandboxes, containers and images by id. Only the event loop's thread uses it; a change is
    seen by the next call.

    Attributes:
        sandboxes, containers, images: the records; read them, change them only through the methods.
        unread: what the engine lists and could not be inspected so far, by id, as its summary shows
            it. It is in every list; a call for one of them by id is told that it is not known
            yet, and nothing is done to it.
        containers_known: whether sandboxes and containers were listed once.
        images_known: whether images were.
        lists: joins lists to messages that a client takes.
    """

    def __init__(self, lists: Fitting | None = None) -> None:
        self.containers_known = Known("containers")
        self.images_known = Known("images")
        self.lists = lists or Fitting()
        self.unread: dict[str, SandboxRecord | ContainerRecord] = {}
        self.sandboxes: dict[SandboxId, SandboxRecord] = {}
        self.containers: dict[ContainerId, ContainerRecord] = {}
        self.images: dict[str, ImageRecord] = {}
        self._by_sandbox: dict[str, dict[ContainerId, ContainerRecord]] = {}
        self._by_reference: dict[str, ImageRecord] = {}
        self._sandbox_bytes: bytes | None = None
        self._container_bytes: bytes | None = None
        self._image_bytes: bytes | None = None
        self._listeners: list[Callable[[Change], None]] = []
        self._concealed: set[str] = set()

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call the listener, which must not wait, with every change, in order. Returns a function
        that ends that.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            listener(change)

    def put_unread(self, record: SandboxRecord | ContainerRecord) -> None:
        """Show what the engine lists until it is read; what was read once stays as it is."""
        if record.id not in self.sandboxes and record.id not in self.containers:
            self.unread[record.id] = record
            self._sandbox_bytes = self._container_bytes = None

    def put_sandbox(self, record: SandboxRecord) -> None:
        """Add or replace a sandbox; one that is the same as before is not told."""
        self.unread.pop(record.id, None)
        before = self.sandboxes.get(record.id)
        if record == before:
            return
        self.sandboxes[record.id] = record
        self._sandbox_bytes = None
        self._tell(Change("sandbox", before, record))

    @contextmanager
    def concealing(self, name: str) -> Iterator[None]:
        """Hide what is being made until the block ends: it is in no list, a call for such a
        container by its id does not find it, and its change is reported only at the end.

        Args:
            name: the engine's name of it, or that name without its last part.
        """
        self._concealed.add(name)
        try:
            yield
        finally:
            self._concealed.discard(name)
            self._sandbox_bytes = self._container_bytes = None
            for record in tuple(self.containers.values()):
                if record.engine_name == name or record.engine_name.startswith(f"{name}_"):
                    self._tell(Change("container", None, record))

    def conceals(self, record: SandboxRecord | ContainerRecord) -> bool:
        """Whether something is being made and not to be shown yet."""
        return bool(self._concealed) and any(
            record.engine_name == name or record.engine_name.startswith(f"{name}_")
            for name in self._concealed
        )

    def put_container(self, record: ContainerRecord) -> None:
        """Add or replace a container; one that is the same as before is no change."""
        self.unread.pop(record.id, None)
        before = self.containers.get(record.id)
        if before is not None and before.image_ref not in ("", record.image_ref):
            # Its labels do not have its image_ref, and the names of its image have changed since.
            record = with_image(
                replace(record, image_ref=before.image_ref), self.images.get(record.status.image_id)
            )
        if record == before:
            return
        self.containers[record.id] = record
        self._by_sandbox.setdefault(record.sandbox_id, {})[record.id] = record
        self._container_bytes = None
        if not self.conceals(record):
            self._tell(Change("container", before, record))

    def remove(self, any_id: str) -> None:
        """Forget a sandbox or container; one that is not known is fine."""
        unread = self.unread.pop(any_id, None)
        if unread is not None:
            self._sandbox_bytes = self._container_bytes = None
            kind: Literal["sandbox", "container"] = (
                "sandbox" if isinstance(unread, SandboxRecord) else "container"
            )
            self._tell(Change(kind, unread, None))
        sandbox = self.sandboxes.pop(SandboxId(any_id), None)
        if sandbox is not None:
            self._sandbox_bytes = None
            self._tell(Change("sandbox", sandbox, None))
        container = self.containers.pop(ContainerId(any_id), None)
        if container is not None:
            siblings = self._by_sandbox[container.sandbox_id]
            siblings.pop(container.id)
            if not siblings:
                del self._by_sandbox[container.sandbox_id]
            self._container_bytes = None
            if not self.conceals(container):
                self._tell(Change("container", container, None))

    def replace_images(self, records: Iterable[ImageRecord]) -> None:
        """Replace all images; containers whose image changed its names are changed too."""
        before, self.images = self.images, {record.id: record for record in records}
        self._by_reference = {
            name: record
            for record in self.images.values()
            for name in (*record.image.repo_tags, *record.image.repo_digests)
        }
        self._image_bytes = None
        for container in tuple(self.containers.values()):
            image_id = container.status.image_id
            old, new = before.get(image_id), self.images.get(image_id)
            if (old.item_bytes if old else None) != (new.item_bytes if new else None):
                self.put_container(with_image(container, new))

    def put_image(self, record: ImageRecord) -> list[ImageRecord]:
        """Add or replace an image. A name has one holder: those that had one of its names lose it,
        and are returned as they are then.
        """
        names = {*record.image.repo_tags, *record.image.repo_digests}
        holders = {
            holder.id: without_names(holder, names)
            for name in names
            if (holder := self._by_reference.get(name)) is not None and holder.id != record.id
        }
        self.replace_images({**self.images, **holders, record.id: record}.values())
        return list(holders.values())

    def remove_image(self, image_id: str) -> None:
        """Forget an image; one that is not known is fine."""
        self.replace_images(record for id_, record in self.images.items() if id_ != image_id)

    def containers_of(self, sandbox_id: str) -> list[ContainerRecord]:
        """Every container of a sandbox, the newest first: with events on, kubelet takes the first
        of a name for the one that counts.
        """
        return sorted(
            self._by_sandbox.get(sandbox_id, {}).values(),
            key=lambda record: record.status.created_at,
            reverse=True,
        )

    def unread_of(self, sandbox_id: str) -> list[ContainerRecord]:
        """The containers of a sandbox that the engine lists and that could not be inspected so far:
        what is known of each is its summary.
        """
        return [
            record
            for record in self.unread.values()
            if isinstance(record, ContainerRecord) and record.sandbox_id == sandbox_id
        ]

    def whole(self, sandbox_id: str) -> bool:
        """Whether everything that the engine lists of a pod was read; its events wait for that."""
        return not self.unread or (sandbox_id not in self.unread and not self.unread_of(sandbox_id))

    def absent(self, any_id: str) -> bool:
        """Whether a sandbox or container is not in here at all. Once the containers are known, the
        engine does not have such a one.
        """
        return (
            any_id not in self.unread
            and SandboxId(any_id) not in self.sandboxes
            and ContainerId(any_id) not in self.containers
        )

    def sandbox(self, id_or_prefix: str) -> SandboxRecord:
        """A sandbox by its id or an unambiguous prefix of it.

        Raises:
            NotFound: there is none.
            InvalidArgument: the prefix is empty or fits several.
            Unavailable: it is there and could not be read from the engine so far.
        """
        found = self.sandboxes.get(SandboxId(id_or_prefix))
        return found or self._read(_by_prefix("pod sandbox", id_or_prefix, self._all_sandboxes()))

    def container(self, id_or_prefix: str) -> ContainerRecord:
        """A container by its id or an unambiguous prefix of it.

        Raises:
            NotFound: there is none.
            InvalidArgument: the prefix is empty or fits several.
            Unavailable: it is there and could not be read from the engine so far.
        """
        found = self.containers.get(ContainerId(id_or_prefix))
        if found is not None and self.conceals(found):
            found = None
        return found or self._read(_by_prefix("container", id_or_prefix, self._all_containers()))

    def _read(self, record: Record) -> Record:
        if record.id in self.unread:
            raise Unavailable(
                f"{record.id[:12]} is on this node and could not be read from Docker Engine yet;"
                " try again",
                subject=record.id,
            )
        return record

    def _all_sandboxes(self) -> list[SandboxRecord]:
        unread = [one for one in self.unread.values() if isinstance(one, SandboxRecord)]
        return self._shown([*self.sandboxes.values(), *unread])

    def _all_containers(self) -> list[ContainerRecord]:
        unread = [one for one in self.unread.values() if isinstance(one, ContainerRecord)]
        return self._shown([*self.containers.values(), *unread])

    def _shown(self, records: list[Record]) -> list[Record]:
        if not self._concealed:
            return records
        return [record for record in records if not self.conceals(record)]

    def image(self, reference: str) -> ImageRecord | None:
        """An image by id, unambiguous id prefix, tag, digest or a status' image_ref, in any
        spelling; None when the node has none of it.
        """
        reference = without_scheme(reference)
        found = self.images.get(reference) or self._by_reference.get(reference)
        if found is not None:
            return found
        if is_image_id(reference):
            return self.images.get(f"sha256:{reference.removeprefix('sha256:')}")
        try:
            named = self._by_reference.get(parse_reference(reference).name)
        except InvalidArgument:
            named = None
        if named is not None:
            return named
        prefix = reference.removeprefix("sha256:")
        if len(prefix) >= 4 and all(digit in "0123456789abcdef" for digit in prefix):
            fitting = [
                record
                for record in self.images.values()
                if record.id.startswith(f"sha256:{prefix}")
            ]
            if len(fitting) == 1:
                return fitting[0]
        return None

    def usable_image(self, reference: str) -> ImageRecord | None:
        """The same, but None too where the engine has no content of it for this node's platform."""
        record = self.image(reference)
        return record if record is not None and record.usable else None

    def list_sandboxes(self) -> bytes:
        """A whole ListPodSandboxResponse."""
        if self._sandbox_bytes is None:
            items = [record.item_bytes for record in self._all_sandboxes()]
            self._sandbox_bytes = self.lists.join(items, cri.PodSandbox)
        return self._sandbox_bytes

    def list_containers(self) -> bytes:
        """A whole ListContainersResponse."""
        if self._container_bytes is None:
            items = [record.item_bytes for record in self._all_containers()]
            self._container_bytes = self.lists.join(items, cri.Container)
        return self._container_bytes

    def list_images(self) -> bytes:
        """A whole ListImagesResponse."""
        if self._image_bytes is None:
            self._image_bytes = b"".join([record.item_bytes for record in self.images.values()])
        return self._image_bytes

    def select_sandboxes(
        self, id_prefix: str = "", state: int | None = None, labels: Mapping[str, str] | None = None
    ) -> list[SandboxRecord]:
        """Sandboxes that meet every condition given (CRI PodSandboxFilter)."""
        return [
            record
            for record in _fitting(self._all_sandboxes(), id_prefix)
            if (state is None or record.status.state == state)
            and _has_labels(record.status.labels, labels)
        ]

    def select_containers(
        self,
        id_prefix: str = "",
        state: int | None = None,
        sandbox_prefix: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> list[ContainerRecord]:
        """Containers that meet every condition given (CRI ContainerFilter)."""
        if sandbox_prefix in self._by_sandbox:
            candidates: Iterable[ContainerRecord] = (
                *self._by_sandbox[sandbox_prefix].values(),
                *self.unread_of(sandbox_prefix),
            )
        else:
            candidates = (
                record
                for record in self._all_containers()
                if record.sandbox_id.startswith(sandbox_prefix)
            )
        return [
            record
            for record in _fitting(candidates, id_prefix)
            if not self.conceals(record)
            and (state is None or record.status.state == state)
            and _has_labels(record.status.labels, labels)
        ]


def _fitting(records: Iterable[Record], id_prefix: str) -> Iterable[Record]:
    return (
        (record for record in records if record.id.startswith(id_prefix)) if id_prefix else records
    )


def _has_labels(labels: Mapping[str, str], wanted: Mapping[str, str] | None) -> bool:
    return not wanted or all(labels.get(key) == value for key, value in wanted.items())


def _by_prefix(what: str, prefix: str, records: Iterable[Record]) -> Record:
    if not prefix:
        raise InvalidArgument(f"the {what} id is empty")
    found = [record for record in records if record.id.startswith(prefix)]
    if not found:
        raise NotFound(f"{what} {prefix} does not exist", subject=prefix)
    if len(found) > 1:
        raise InvalidArgument(
            f"{what} id {prefix} is ambiguous: {len(found)} of them begin with it", subject=prefix
        )
    return found[0]
