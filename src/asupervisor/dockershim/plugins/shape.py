"""What plugins want to change of a container, in the form that the engine takes.

What the CRI has a field for goes into the request, and so through every check of a request. What
only the engine has a field for goes into its body. The rest goes into the OCI runtime's document,
if the engine has the runtime that changes it. What is not possible is refused, and the error names
the adjustment, the plugin and what to do instead: nothing is dropped."""

from __future__ import annotations

import json
from typing import Any

from asupervisor.dockershim.plugins.devices import host_device
from asupervisor.dockershim.plugins.document import (
    DEVICE_TYPES,
    NAMESPACES,
    OciDocument,
    document_parts,
    oci_device,
    oci_mount,
    oci_namespace,
    oci_rules,
)
from asupervisor.dockershim.plugins.resources import engine_settings, with_resources
from asupervisor.errors import FailedPrecondition
from asupervisor.nri.merge import drop_keyed
from asupervisor.oci import RUNTIME
from asupervisor.proto import cri
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api
from asupervisor.translate.runtimes import Wrapped

_PROPAGATION = {
    "private": cri.PROPAGATION_PRIVATE,
    "rprivate": cri.PROPAGATION_PRIVATE,
    "slave": cri.PROPAGATION_HOST_TO_CONTAINER,
    "rslave": cri.PROPAGATION_HOST_TO_CONTAINER,
    "shared": cri.PROPAGATION_BIDIRECTIONAL,
    "rshared": cri.PROPAGATION_BIDIRECTIONAL,
}
_OF_ENGINE = (
    *("/proc", "/sys", "/sys/fs/cgroup", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"),
    *("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"),
)
_PLAIN_OPTIONS = ("", "bind", "rbind", "rw")
_MODES = {
    "pid": ("PidMode", ""),
    "ipc": ("IpcMode", "private"),
    "uts": ("UTSMode", ""),
    "cgroup": ("CgroupnsMode", "private"),
}
"""The engine's key, and its value for a namespace of the container's own."""
_UNLIMITED = (1 << 64) - 1
_ANNOTATIONS = 256 << 10
"""Characters of an object's annotations, keys included; Kubernetes takes as many bytes."""


class AdjustedShape:
    """The adjustments of one container.

    Args:
        adjust: what is wanted; a key that begins with a dash is to be removed.
        owners: who wants it.
        described: the container that was asked about, as it was to be.
        subject: names the container, for errors.
        wrapped: the OCI runtime that changes documents.
    """

    def __init__(
        self,
        adjust: api.ContainerAdjustment,
        owners: api.OwningPlugins,
        described: api.Container,
        subject: str,
        wrapped: Wrapped,
    ) -> None:
        self.described = described
        self._oci = OciDocument(wrapped)
        self._adjust = adjust
        self._owners = owners.owners[described.id]
        self._cgroups_path = described.linux.cgroups_path
        self._id = described.id
        self._subject = subject

    def request(self, request: cri.CreateContainerRequest) -> cri.CreateContainerRequest:
        """The request with what the CRI has a field for; see :class:`Shape`."""
        changed = cri.CreateContainerRequest()
        changed.CopyFrom(request)
        adjust, config = self._adjust, changed.config
        self._carry_whole()
        self._set_annotations(config)
        for entry in adjust.env:
            key = entry.key.removeprefix("-")
            drop_keyed(config.envs, "key", key)
            if key == entry.key:
                config.envs.add(key=key, value=entry.value.encode())
        if adjust.args:
            del config.args[:]
            del config.command[:]
            config.command.extend(adjust.args)
        self._set_mounts_and_devices(config)
        for cdi in adjust.CDI_devices:
            if all(cdi.name != known.name for known in config.CDI_devices):
                config.CDI_devices.add(name=cdi.name)
        resources = with_resources(config.linux.resources, adjust.linux.resources)
        if adjust.linux.HasField("oom_score_adj"):
            resources.oom_score_adj = adjust.linux.oom_score_adj.value
        if resources.ListFields():
            config.linux.resources.CopyFrom(resources)
        return changed

    def _set_annotations(self, config: cri.ContainerConfig) -> None:
        for key, value in sorted(self._adjust.annotations.items()):
            if key.startswith("-"):
                config.annotations.pop(key[1:], None)
            else:
                config.annotations[key] = value
        size = sum(len(key) + len(value) for key, value in config.annotations.items())
        if self._adjust.annotations and size > _ANNOTATIONS:
            raise FailedPrecondition(
                f"{self._subject}: with those of the NRI plugin {self._plugin(api.Annotations)} its"
                f" annotations have {size} characters, and {_ANNOTATIONS} are taken, as by"
                " Kubernetes; every list of containers carries them"
            )

    def _set_mounts_and_devices(self, config: cri.ContainerConfig) -> None:
        for mount in self._adjust.mounts:
            target = mount.destination.removeprefix("-")
            asked = any(one.container_path == target for one in config.mounts)
            if target in _OF_ENGINE and target != mount.destination and not asked:
                raise FailedPrecondition(
                    f"{self._subject}: the mount {target} that an NRI plugin wants away is Docker"
                    " Engine's own in every container; another can be set in its place"
                )
            drop_keyed(config.mounts, "container_path", target)
            if target == mount.destination and mount.type != "tmpfs":
                self._set_mount(config, mount)
        for device in self._adjust.linux.devices:
            path = device.path.removeprefix("-")
            drop_keyed(config.devices, "container_path", path)
            if path == device.path:
                self._set_device(config, device)

    def _set_device(self, config: cri.ContainerConfig, device: api.LinuxDevice) -> None:
        where = self._where("device", device.path, api.Devices)
        try:
            host_path = host_device(device, where)
        except FailedPrecondition as error:
            if device.type not in DEVICE_TYPES:
                raise
            self._oci.carry(oci_device(device), error.message)
        else:
            config.devices.add(container_path=device.path, host_path=host_path, permissions="rwm")

    def body(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with what only the engine has a field for; see :class:`Shape`."""
        adjust, linux = self._adjust, self._adjust.linux
        host_config: dict[str, Any] = {**body["HostConfig"]}
        changed = {**body, "HostConfig": host_config}
        # A name without a value removes a variable of the image.
        removed = [entry.key[1:] for entry in adjust.env if entry.key.startswith("-")]
        if removed:
            changed["Env"] = [*body["Env"], *removed]
        for mount in adjust.mounts:
            if mount.type == "tmpfs" and not mount.destination.startswith("-"):
                host_config.setdefault("Tmpfs", {})[mount.destination] = ",".join(mount.options)
        if adjust.rlimits:
            host_config["Ulimits"] = [self._rlimit(limit) for limit in adjust.rlimits]
        sysctls = {key: value for key, value in linux.sysctl.items() if not key.startswith("-")}
        if sysctls:
            host_config["Sysctls"] = sysctls
        if linux.HasField("seccomp_policy"):
            host_config["SecurityOpt"] = [
                *(one for one in host_config["SecurityOpt"] if not one.startswith("seccomp=")),
                f"seccomp={json.dumps(_seccomp(linux.seccomp_policy))}",
            ]
        for namespace in linux.namespaces:
            self._set_namespace(host_config, namespace)
        if linux.cgroups_path:
            host_config["CgroupParent"] = self._cgroup_parent(linux.cgroups_path)
        resources = api.LinuxResources()
        resources.CopyFrom(linux.resources)
        if not all(rule.allow for rule in resources.devices):
            refusal = "a device rule that denies: Docker Engine only adds what is allowed"
            self._oci.carry(oci_rules(resources.devices), f"{self._subject}: {refusal}")
            del resources.devices[:]
        host_config |= engine_settings(resources, self._subject, creating=True)
        if self._oci.content:
            host_config["Runtime"] = RUNTIME
        return changed

    @property
    def document(self) -> tuple[str, dict[str, Any]] | None:
        """The real OCI runtime and what its document is to have; see :class:`Shape`."""
        return (self._oci.runtime, self._oci.content) if self._oci.content else None

    def _carry_whole(self) -> None:
        """What the engine has no field for at all."""
        for part in document_parts(self._adjust):
            plugins = ", ".join(
                sorted({name for one in part.fields if (name := self._plugin(one))})
            )
            refusal = (
                f"{self._subject}: the adjustment {part.name} of the NRI plugin {plugins} cannot be"
                " made: "
            )
            if part.lacks:
                raise FailedPrecondition(f"{refusal}it has no {part.lacks}; set one")
            refusal += "Docker Engine has no field for it"
            self._oci.carry(part.change, refusal, part.since)

    def _plugin(self, field: api.Field, key: str = "") -> str:
        if key:
            return str(self._owners.compound[field].owners.get(key, ""))
        compound = self._owners.compound[field].owners.values()
        return str(self._owners.simple.get(field, "")) or ", ".join(sorted(set(compound)))

    def _where(self, what: str, name: str, field: api.Field) -> str:
        plugin = self._plugin(field, name) or "?"
        return f"{self._subject}: {what} {name}, which the NRI plugin {plugin} wants"

    def _set_mount(self, config: cri.ContainerConfig, mount: api.Mount) -> None:
        where = self._where("mount", mount.destination, api.Mounts)
        refusal = ""
        changed = cri.Mount(container_path=mount.destination, host_path=mount.source)
        if mount.type not in ("bind", "", "none"):
            refusal = f'Docker Engine mounts no file system of the type "{mount.type}" for it'
        for option in mount.options:
            if option == "ro":
                changed.readonly = True
            elif option in _PROPAGATION:
                changed.propagation = _PROPAGATION[option]
            elif option not in _PLAIN_OPTIONS:
                refusal = refusal or f'Docker Engine has no option "{option}" for a bind mount'
        if refusal:
            self._oci.carry(oci_mount(mount), f"{where}: {refusal}")
        else:
            config.mounts.append(changed)

    def _rlimit(self, limit: api.POSIXRlimit) -> dict[str, Any]:
        name = limit.type.upper().removeprefix("RLIMIT_").lower()
        return {
            "Name": name,
            "Soft": -1 if limit.soft == _UNLIMITED else limit.soft,
            "Hard": -1 if limit.hard == _UNLIMITED else limit.hard,
        }

    def _set_namespace(self, host_config: dict[str, Any], namespace: api.LinuxNamespace) -> None:
        kind = namespace.type.removeprefix("-")
        where = self._where("namespace", kind, api.Namespace)
        removed = kind != namespace.type
        if kind in _MODES and (removed or not namespace.path):
            key, own = _MODES[kind]
            host_config[key] = "host" if removed else own
        elif removed or kind not in NAMESPACES:
            raise FailedPrecondition(
                f"{where}: Docker Engine lets a pod's container have no other one; pid, ipc, uts"
                " and cgroup can be the host's or its own"
            )
        else:
            self._oci.carry(
                oci_namespace(namespace), f"{where}: Docker Engine gives a container no such one"
            )

    def _cgroup_parent(self, path: str) -> str:
        """The path of a container's cgroup is its parent's path and its own id."""
        separator = ":docker:" if ":" in self._cgroups_path else "/"
        parent, found, name = path.rpartition(separator)
        if not found or name != self._id or not parent:
            raise FailedPrecondition(
                f"{self._subject}: cgroups_path {path}, which the NRI plugin"
                f" {self._plugin(api.CgroupsPath)} wants, cannot be: Docker Engine names a"
                f" container's cgroup itself; only what stands before {separator}{self._id[:12]}…"
                " can be another"
            )
        return parent


def _seccomp(policy: api.LinuxSeccomp) -> dict[str, Any]:
    """As Docker Engine's profiles have it."""
    profile: dict[str, Any] = {
        "defaultAction": policy.default_action,
        "architectures": list(policy.architectures),
        "flags": list(policy.flags),
        "syscalls": [_syscall(one) for one in policy.syscalls],
    }
    if policy.HasField("default_errno"):
        profile["defaultErrnoRet"] = policy.default_errno.value
    if policy.listener_path:
        profile["listenerPath"] = policy.listener_path
        profile["listenerMetadata"] = policy.listener_metadata
    return profile


def _syscall(rule: api.LinuxSyscall) -> dict[str, Any]:
    found: dict[str, Any] = {
        "names": list(rule.names),
        "action": rule.action,
        "args": [
            {
                "index": argument.index,
                "value": argument.value,
                "valueTwo": argument.value_two,
                "op": argument.op,
            }
            for argument in rule.args
        ],
    }
    if rule.HasField("errno_ret"):
        found["errnoRet"] = rule.errno_ret.value
    return found
