"""What plugins want and Docker Engine has no field for, in the form of the OCI runtime's document.

Source: OCI runtime-spec, config.md and config-linux.md; NRI's api.proto."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError

from asupervisor.errors import FailedPrecondition
from asupervisor.nri.merge import drop_keyed
from asupervisor.oci.adjust import merge
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api
from asupervisor.translate.runtimes import Wrapped

NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup")
DEVICE_TYPES = ("c", "u", "b", "p")
_HOOKS = {
    "prestart": "prestart",
    "create_runtime": "createRuntime",
    "create_container": "createContainer",
    "start_container": "startContainer",
    "poststart": "poststart",
    "poststop": "poststop",
}
_OPTIONAL = (("file_mode", "fileMode"), ("uid", "uid"), ("gid", "gid"))


class Foreign(Exception):
    """A document that was read is not one that this service wrote."""


class OciDocument:
    """Collects it for one container.

    Args:
        wrapped: the OCI runtime that changes documents.

    Attributes:
        content: see :func:`asupervisor.oci.adjust.merge`; empty where nothing needs it.
    """

    def __init__(self, wrapped: Wrapped) -> None:
        self._wrapped = wrapped
        self.content: dict[str, Any] = {}

    @property
    def runtime(self) -> str:
        """The real runtime, by its name or path."""
        return self._wrapped.program

    def carry(self, change: dict[str, Any], refusal: str, since: tuple[int, int] = (1, 0)) -> None:
        """Add something to the document.

        Args:
            change: what is to be set.
            refusal: names what it is, who wants it and why the engine cannot do it, for errors.
            since: the first version of the OCI runtime-spec that has it.

        Raises:
            FailedPrecondition: no document can be changed here, or the runtime does not know it,
                and would ignore it silently.
        """
        if self._wrapped.problem:
            raise FailedPrecondition(
                f"{refusal}; only an OCI runtime's document can carry it, and on this engine"
                f" {self._wrapped.problem}"
            )
        if since > self._wrapped.version:
            known = "{}.{}".format(*self._wrapped.version)
            raise FailedPrecondition(
                f"{refusal}, and the OCI runtime {self.runtime} knows the runtime-spec {known}, not"
                f" {since[0]}.{since[1]}, which has it: use Docker 25 or later, which tells the"
                " version, with a later runc"
            )
        merge(self.content, change)


@dataclass(frozen=True, slots=True)
class Part:
    """One adjustment that only the document can carry.

    Args:
        name: of the adjustment.
        fields: of NRI, by which its owner is found.
        change: what is to be set.
        since: the first version of the OCI runtime-spec that has it.
        lacks: the name of a required field that is not set; else empty.
    """

    name: str
    fields: tuple[api.Field, ...]
    change: dict[str, Any]
    since: tuple[int, int] = (1, 0)
    lacks: str = ""


def document_parts(adjust: api.ContainerAdjustment) -> Iterator[Part]:
    """Those that plugins want."""
    change: dict[str, Any]
    linux = adjust.linux
    if adjust.hooks.ListFields():
        hooks = {
            name: [_hook(one) for one in listed]
            for field, name in _HOOKS.items()
            if (listed := getattr(adjust.hooks, field))
        }
        yield Part("hooks", (api.OciHooks,), {"hooks": hooks})
    if linux.io_priority.ListFields():
        priority = {
            "class": _name(api.IOPrioClass, getattr(linux.io_priority, "class")),
            "priority": linux.io_priority.priority,
        }
        change = {"process": {"ioPriority": priority}}
        lacks = "class" if priority["class"] == "IOPRIO_CLASS_NONE" else ""
        yield Part("io_priority", (api.IoPriority,), change, (1, 1), lacks)
    if linux.scheduler.ListFields():
        change = {"process": {"scheduler": _scheduler(linux.scheduler)}}
        lacks = "policy" if linux.scheduler.policy == api.SCHED_NONE else ""
        yield Part("scheduler", (api.LinuxSched,), change, (1, 1), lacks)
    devices = {
        key: {"name": device.name} if device.name else {}
        for key, device in linux.net_devices.items()
        if not key.startswith("-")
    }
    if devices:
        change = {"linux": {"netDevices": devices}}
        yield Part("net_devices", (api.LinuxNetDevices,), change, (1, 3))
    if linux.memory_policy.ListFields():
        change = {"linux": {"memoryPolicy": _memory_policy(linux.memory_policy)}}
        yield Part("memory_policy", (api.MemoryPolicy,), change, (1, 3))
    rdt, since = _rdt(linux.rdt)
    if rdt:
        owned = (api.RdtClosID, api.RdtSchemata, api.RdtEnableMonitoring)
        yield Part("rdt", owned, {"linux": {"intelRdt": rdt}}, since)


def _name(kind: Any, number: int) -> str:
    """As the document has it; an unknown number is passed on, and the runtime refuses it."""
    return str(kind.Name(number)) if number in kind.values() else str(number)


def _hook(hook: api.Hook) -> dict[str, Any]:
    found: dict[str, Any] = {"path": hook.path, "args": list(hook.args), "env": list(hook.env)}
    if hook.HasField("timeout"):
        found["timeout"] = hook.timeout.value
    return found


def _scheduler(asked: api.LinuxScheduler) -> dict[str, Any]:
    return {
        "policy": _name(api.LinuxSchedulerPolicy, asked.policy),
        "flags": [_name(api.LinuxSchedulerFlag, flag) for flag in asked.flags],
        **{
            name: getattr(asked, name)
            for name in ("nice", "priority", "runtime", "deadline", "period")
        },
    }


def _memory_policy(asked: api.LinuxMemoryPolicy) -> dict[str, Any]:
    return {
        "mode": _name(api.MpolMode, asked.mode),
        "nodes": asked.nodes,
        "flags": [_name(api.MpolFlag, flag) for flag in asked.flags],
    }


def _rdt(asked: api.LinuxRdt) -> tuple[dict[str, Any], tuple[int, int]]:
    """A removal alone gives nothing: the engine's documents have no RDT."""
    found: dict[str, Any] = {}
    if asked.HasField("clos_id"):
        found["closID"] = asked.clos_id.value
    since = (1, 0)
    if asked.HasField("schemata"):
        found["schemata"], since = list(asked.schemata.value), (1, 3)
    if asked.HasField("enable_monitoring"):
        found["enableMonitoring"], since = asked.enable_monitoring.value, (1, 3)
    return found, since


def describe_carried(container: api.Container, content: Any) -> None:
    """Add what a container's OCI document has: its inspect document does not show that.

    Args:
        container: as the inspect document shows it.
        content: see :attr:`OciDocument.content`.

    Raises:
        Foreign: this module did not write it.
    """
    try:
        _describe(container, content)
    except (AttributeError, KeyError, TypeError, ValueError, ParseError) as error:
        raise Foreign(f"{type(error).__name__}: {error}") from error


def _describe(container: api.Container, content: Any) -> None:
    linux = content.get("linux", {})
    keyed: tuple[tuple[Any, str, list[Any]], ...] = (
        (container.mounts, "destination", [api.Mount(**one) for one in content.get("mounts", ())]),
        (container.linux.devices, "path", [_device(one) for one in linux.get("devices", ())]),
        (
            container.linux.namespaces,
            "type",
            [api.LinuxNamespace(**one) for one in linux.get("namespaces", ())],
        ),
    )
    for where, key, entries in keyed:
        for entry in entries:
            drop_keyed(where, key, getattr(entry, key))
            where.append(entry)
    for field, name in _HOOKS.items():
        for hook in content.get("hooks", {}).get(name, ()):
            of_stage = getattr(container.hooks, field).add(
                path=hook["path"], args=hook["args"], env=hook["env"]
            )
            if "timeout" in hook:
                of_stage.timeout.value = hook["timeout"]
    kept = {**content.get("process", {}), "netDevices": linux.get("netDevices", {})}
    ParseDict(kept, container.linux)


def _device(found: Any) -> api.LinuxDevice:
    device = api.LinuxDevice(**{name: found[name] for name in ("path", "type", "major", "minor")})
    for name, key in _OPTIONAL:
        if key in found:
            getattr(device, name).value = found[key]
    return device


def oci_mount(mount: api.Mount) -> dict[str, Any]:
    """A mount in the document."""
    found = {
        "destination": mount.destination,
        "type": mount.type,
        "source": mount.source,
        "options": list(mount.options),
    }
    return {"mounts": [found]}


def oci_device(device: api.LinuxDevice) -> dict[str, Any]:
    """A device in the document, with the right to use it."""
    numbers = {"type": device.type, "major": device.major, "minor": device.minor}
    found: dict[str, Any] = {"path": device.path, **numbers}
    for name, key in _OPTIONAL:
        if device.HasField(name):
            found[key] = getattr(device, name).value
    rule = {"allow": True, **numbers, "access": "rwm"}
    rules = [rule] if device.type != "p" else []
    return {"linux": {"devices": [found], "resources": {"devices": rules}}}


def oci_rules(rules: Iterable[api.LinuxDeviceCgroup]) -> dict[str, Any]:
    """Rules of devices in the document, after those of the engine."""
    listed = []
    for rule in rules:
        found: dict[str, Any] = {"allow": rule.allow, "access": rule.access or "rwm"}
        if rule.type:
            found["type"] = rule.type
        for name in ("major", "minor"):
            if rule.HasField(name):
                found[name] = getattr(rule, name).value
        listed.append(found)
    return {"linux": {"resources": {"devices": listed}}}


def oci_namespace(namespace: api.LinuxNamespace) -> dict[str, Any]:
    """A namespace in the document, in the place of the engine's."""
    found = {"type": namespace.type, **({"path": namespace.path} if namespace.path else {})}
    return {"linux": {"namespaces": [found]}}
