"""Combines what several plugins want, in the order in which they were asked.

Each plugin sees the container with the changes of those before it, and owns what it sets. Another
plugin may not set that, unless it removes it first: a key that begins with a dash is removed, and a
key that is removed and set in the same answer gets a new owner. Hooks and device rules of all
plugins are added up.

Source: NRI's documentation of container adjustment and containerd/nri, pkg/adaptation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.message import Message

from asupervisor.errors import FailedPrecondition
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api

_REMOVED = "-"
_RESOURCES: tuple[tuple[str, str, api.Field], ...] = (
    ("memory", "limit", api.MemLimit),
    ("memory", "reservation", api.MemReservation),
    ("memory", "swap", api.MemSwapLimit),
    ("memory", "kernel", api.MemKernelLimit),
    ("memory", "kernel_tcp", api.MemTCPLimit),
    ("memory", "swappiness", api.MemSwappiness),
    ("memory", "disable_oom_killer", api.MemDisableOomKiller),
    ("memory", "use_hierarchy", api.MemUseHierarchy),
    ("cpu", "shares", api.CPUShares),
    ("cpu", "quota", api.CPUQuota),
    ("cpu", "period", api.CPUPeriod),
    ("cpu", "realtime_runtime", api.CPURealtimeRuntime),
    ("cpu", "realtime_period", api.CPURealtimePeriod),
    ("cpu", "cpus", api.CPUSetCPUs),
    ("cpu", "mems", api.CPUSetMems),
    ("", "pids", api.PidsLimit),
    ("", "blockio_class", api.BlockioClass),
    ("", "rdt_class", api.RdtClass),
)
_SINGLE: tuple[tuple[str, api.Field], ...] = (
    ("cgroups_path", api.CgroupsPath),
    ("oom_score_adj", api.OomScoreAdj),
    ("io_priority", api.IoPriority),
    ("seccomp_policy", api.SeccompPolicy),
    ("scheduler", api.LinuxSched),
    ("memory_policy", api.MemoryPolicy),
)
_KEYED: tuple[tuple[str, str, api.Field], ...] = (
    ("", "annotations", api.Annotations),
    ("destination", "mounts", api.Mounts),
    ("key", "env", api.Env),
    ("type", "rlimits", api.Rlimits),
    ("path", "linux.devices", api.Devices),
    ("type", "linux.namespaces", api.Namespace),
    ("", "linux.sysctl", api.Sysctl),
    ("", "linux.net_devices", api.LinuxNetDevices),
)
"""The name of an element's key (empty for a map), the path of the collection in an adjustment and,
except for the environment, in a container, and the field under which its elements are owned.
"""


class Owners:
    """Which plugin set which field of which container."""

    def __init__(self) -> None:
        self.message = api.OwningPlugins()

    def claim(self, container_id: str, field: api.Field, plugin: str, key: str = "") -> None:
        """Note who sets something.

        Raises:
            FailedPrecondition: another plugin has set it.
        """
        of_container = self.message.owners[container_id]
        owners: Any = of_container.compound[field].owners if key else of_container.simple
        at: Any = key or field
        if at in owners:
            what = f"{api.Field.Name(field)} {key}".strip()
            raise FailedPrecondition(
                f"container {container_id[:12]}: the NRI plugins {owners[at]} and {plugin} both set"
                f" its {what}; one of them has to leave it to the other"
            )
        owners[at] = plugin

    def add(self, container_id: str, field: api.Field, plugin: str) -> None:
        """Note who adds to a field that several plugins may add to."""
        owners = self.message.owners[container_id].simple
        owners[field] = f"{owners[field]},{plugin}" if field in owners else plugin

    def release(self, container_id: str, field: api.Field, key: str = "") -> None:
        """Note that a field was removed, so that another plugin may set it."""
        of_container = self.message.owners[container_id]
        if key:
            of_container.compound[field].owners.pop(key, None)
        else:
            of_container.simple.pop(field, None)


class Updates:
    """Changes of other containers that plugins ask for.

    Args:
        owners: gets the owners.
        created: the container that is being created, which is adjusted and not updated.
        own: the container that is being updated, and to what.
    """

    def __init__(
        self, owners: Owners, created: str = "", own: tuple[str, api.LinuxResources] | None = None
    ) -> None:
        self._owners = owners
        self._created = created
        self._own = own
        self._by_id: dict[str, api.ContainerUpdate] = {}

    def add(self, plugin: str, updates: Iterable[api.ContainerUpdate]) -> None:
        """Take what one plugin asks for.

        Raises:
            FailedPrecondition: it is in conflict with what another asked for.
        """
        for update in updates:
            if update.container_id == self._created:
                raise FailedPrecondition(
                    f"NRI plugin {plugin} asks for an update of container {self._created[:12]}"
                    " while that is created; it is to adjust it"
                )
            known = self._by_id.get(update.container_id)
            merged = api.ContainerUpdate(container_id=update.container_id)
            if known is not None:
                merged.CopyFrom(known)
            elif self._own is not None and self._own[0] == update.container_id:
                merged.linux.resources.CopyFrom(self._own[1])
            merged.ignore_failure = update.ignore_failure and (
                known is None or known.ignore_failure
            )
            asked = update.linux.resources
            if asked.devices:
                raise FailedPrecondition(
                    f"NRI plugin {plugin} asks for other device rules of container"
                    f" {update.container_id[:12]}, which are set at the creation alone"
                )
            try:
                _merge_resources(
                    self._owners, update.container_id, plugin, asked, [merged.linux.resources]
                )
            except FailedPrecondition:
                if not update.ignore_failure:
                    raise
                continue
            self._by_id[update.container_id] = merged

    @property
    def of_others(self) -> list[api.ContainerUpdate]:
        """What is asked for of other containers."""
        own_id = self._own[0] if self._own is not None else ""
        return [update for id_, update in self._by_id.items() if id_ != own_id]

    @property
    def of_own(self) -> api.LinuxResources | None:
        """What the container that is updated is to get; None where no plugin touched it."""
        own = self._by_id.get(self._own[0]) if self._own is not None else None
        return own.linux.resources if own is not None else None


class Creation:
    """The adjustments of one container that is being created.

    Args:
        container: as it is to be created.

    Attributes:
        container: with the adjustments so far.
        owners: of what they set.
        updates: of other containers.
        evictions: containers that are to end.
    """

    def __init__(self, container: api.Container) -> None:
        self.container = api.Container()
        self.container.CopyFrom(container)
        self.owners = Owners()
        self.updates = Updates(self.owners, created=container.id)
        self.evictions: list[api.ContainerEviction] = []
        self._adjust = api.ContainerAdjustment()
        self._removed: dict[str, dict[str, None]] = {where: {} for _, where, _ in _KEYED}

    def add(self, plugin: str, response: api.CreateContainerResponse) -> None:
        """Take one plugin's answer.

        Raises:
            FailedPrecondition: it sets what another plugin has set.
        """
        asked = response.adjust
        container_id = self.container.id
        for key_name, where, field in _KEYED:
            self._add_keyed(plugin, asked, key_name, where, field)
        if args := list(asked.args):
            if args[0] == "":
                self.owners.release(container_id, api.Args)
                args = args[1:]
            self.owners.claim(container_id, api.Args, plugin)
            for target in (self._adjust.args, self.container.args):
                del target[:]
                target.extend(args)
        for device in asked.CDI_devices:
            self.owners.claim(container_id, api.CdiDevices, plugin, device.name)
            self._adjust.CDI_devices.add().CopyFrom(device)
        if asked.HasField("hooks") and asked.hooks.ListFields():
            self.owners.add(container_id, api.OciHooks, plugin)
            self._adjust.hooks.MergeFrom(asked.hooks)
            self.container.hooks.MergeFrom(asked.hooks)
        for name, field in _SINGLE:
            if _is_set(asked.linux, name):
                self.owners.claim(container_id, field, plugin)
                _copy(asked.linux, self._adjust.linux, name)
                if name in api.LinuxContainer.DESCRIPTOR.fields_by_name:
                    _copy(asked.linux, self.container.linux, name)
        self._add_rdt(plugin, asked.linux)
        both = [self._adjust.linux.resources, self.container.linux.resources]
        _merge_resources(self.owners, container_id, plugin, asked.linux.resources, both)
        for resources in both:
            resources.devices.extend(asked.linux.resources.devices)
        self.updates.add(plugin, response.update)
        self.evictions += response.evict

    @property
    def adjust(self) -> api.ContainerAdjustment:
        """The whole adjustment; a key that is only removed has its mark."""
        whole = api.ContainerAdjustment()
        whole.CopyFrom(self._adjust)
        for key_name, where, _ in _KEYED:
            for key in self._removed[where]:
                _put(_at(whole, where), key_name, _REMOVED + key, None)
        return whole

    def _add_keyed(
        self,
        plugin: str,
        asked: api.ContainerAdjustment,
        key_name: str,
        where: str,
        field: api.Field,
    ) -> None:
        chosen = [entry for entry in _entries(_at(asked, where), key_name) if entry[0]]
        gone = {key[1:]: None for key, _ in chosen if key.startswith(_REMOVED)}
        additions = _at(self._adjust, where)
        # A set, so that a thousand entries do not take a million comparisons.
        added = {key for key, _ in _entries(additions, key_name)}
        present = self._present(where, key_name)
        for key in gone:
            if field == api.Namespace:
                self.owners.claim(self.container.id, field, plugin, key)
            else:
                self.owners.release(self.container.id, field, key)
            if key in added:
                drop_keyed(additions, key_name, key)
            if key in present:
                self._drop_present(where, key_name, key)
            self._removed[where][key] = None
        for key, value in chosen:
            if key.startswith(_REMOVED):
                continue
            if not (field == api.Namespace and key in gone):
                self.owners.claim(self.container.id, field, plugin, key)
            self._removed[where].pop(key, None)
            if key in present and key not in gone:
                self._drop_present(where, key_name, key)
            _put(additions, key_name, key, value)
            if where == "env":
                self.container.env.append(f"{key}={value.value}")
            else:
                _put(_at(self.container, where), key_name, key, value)

    def _present(self, where: str, key_name: str) -> set[str]:
        if where == "env":
            return {entry.partition("=")[0] for entry in self.container.env}
        return {key for key, _ in _entries(_at(self.container, where), key_name)}

    def _drop_present(self, where: str, key_name: str, key: str) -> None:
        if where != "env":
            drop_keyed(_at(self.container, where), key_name, key)
            return
        kept = [entry for entry in self.container.env if entry.partition("=")[0] != key]
        del self.container.env[:]
        self.container.env.extend(kept)

    def _add_rdt(self, plugin: str, asked: api.LinuxContainerAdjustment) -> None:
        fields = (
            ("clos_id", api.RdtClosID),
            ("schemata", api.RdtSchemata),
            ("enable_monitoring", api.RdtEnableMonitoring),
        )
        if asked.rdt.remove:
            for _, field in fields:
                self.owners.release(self.container.id, field)
            self._adjust.linux.rdt.Clear()
            self._adjust.linux.rdt.remove = True
        for name, field in fields:
            if _is_set(asked.rdt, name):
                self.owners.claim(self.container.id, field, plugin)
                _copy(asked.rdt, self._adjust.linux.rdt, name)
                self._adjust.linux.rdt.remove = False


def _merge_resources(
    owners: Owners,
    container_id: str,
    plugin: str,
    asked: api.LinuxResources,
    targets: list[api.LinuxResources],
) -> None:
    for part, name, field in _RESOURCES:
        source: Any = getattr(asked, part) if part else asked
        if _is_set(source, name):
            owners.claim(container_id, field, plugin)
            for target in targets:
                _copy(source, getattr(target, part) if part else target, name)
    for limit in asked.hugepage_limits:
        owners.claim(container_id, api.HugepageLimits, plugin, limit.page_size)
        for target in targets:
            drop_keyed(target.hugepage_limits, "page_size", limit.page_size)
            _put(target.hugepage_limits, "page_size", limit.page_size, limit)
    for key, value in asked.unified.items():
        owners.claim(container_id, api.CgroupsUnified, plugin, key)
        for target in targets:
            target.unified[key] = value


def _is_set(message: Message, name: str) -> bool:
    return any(field.name == name for field, _ in message.ListFields())


def _copy(source: Message, target: Message, name: str) -> None:
    value = getattr(source, name)
    if isinstance(value, Message):
        getattr(target, name).CopyFrom(value)
    else:
        setattr(target, name, value)


def _at(message: Message, where: str) -> Any:
    value: Any = message
    for name in where.split("."):
        value = getattr(value, name)
    return value


def _entries(collection: Any, key_name: str) -> Iterator[tuple[str, Any]]:
    if not key_name:
        yield from [(key, collection[key]) for key in collection]
    else:
        yield from [(getattr(element, key_name), element) for element in collection]


def drop_keyed(collection: Any, key_name: str, key: str) -> None:
    """Remove the elements of a key from a repeated field; from a map if ``key_name`` is empty."""
    if not key_name:
        collection.pop(key, None)
        return
    for index in reversed(range(len(collection))):
        if getattr(collection[index], key_name) == key:
            del collection[index]


def _put(collection: Any, key_name: str, key: str, value: Any) -> None:
    """Add an element; the caller has removed one with the same key."""
    if key_name:
        element = collection.add()
        if value is not None:
            element.CopyFrom(value)
        setattr(element, key_name, key)
    elif isinstance(value, Message):
        collection[key].CopyFrom(value)
    elif value is None and isinstance(collection.GetEntryClass()().value, Message):
        collection[key].SetInParent()
    else:
        collection[key] = value or ""
