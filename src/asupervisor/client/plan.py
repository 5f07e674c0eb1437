"""The plan of a pod, made of CRI configurations: from a program's arguments here, from a manifest
in :mod:`asupervisor.client.manifest`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypedDict

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri

if TYPE_CHECKING:
    from asupervisor.client.manifest.actions import Action, Probe
    from asupervisor.client.manifest.pull_secrets import Keyring

CPU_PERIOD_US = 100_000
CPU_SHARES_OF_ONE = 1024
LEAST_CPU_SHARES = 2
LEAST_CPU_QUOTA_US = 1000
_ID_DIGITS = 10
PullPolicy = Literal["IfNotPresent", "Always", "Never"]
RestartPolicy = Literal["Always", "OnFailure", "Never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A directory or file of the node, seen in the container.

    Args:
        source: its path on the server's node.
        target: its path in the container.
        read_only: whether the container cannot write there.
    """

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Limits of a container; None is no limit.

    Args:
        cpu_cores: processor time, in cores: 0.5 is half of one.
        memory_bytes: a container that needs more is killed by the kernel.
        pids: processes and threads; needs cgroup v2 on the node.
    """

    cpu_cores: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None

    def fill(self, linux: cri.LinuxContainerResources) -> None:
        """Write them into the CRI's message."""
        if self.cpu_cores is not None:
            linux.cpu_shares = max(LEAST_CPU_SHARES, int(self.cpu_cores * CPU_SHARES_OF_ONE))
            linux.cpu_period = CPU_PERIOD_US
            linux.cpu_quota = max(LEAST_CPU_QUOTA_US, int(self.cpu_cores * CPU_PERIOD_US))
        if self.memory_bytes is not None:
            linux.memory_limit_in_bytes = self.memory_bytes
        if self.pids is not None:
            linux.unified["pids.max"] = str(self.pids)


class PodOptions(TypedDict, total=False):
    """What a pod of one container may be given; all of it may be left out.

    Attributes:
        name: of the pod; otherwise a random one.
        namespace: otherwise ``default``.
        args: after the command; with an empty command, after the image's entrypoint.
        env: environment variables.
        working_dir: otherwise the image's.
        resources: limits.
        mounts: of directories and files of the node.
        user: a number, a name that the image knows, or ``"UID:GID"``; otherwise the image's user.
        read_only: whether the container's root file system is read-only.
        network: ``"pod"``, one of its own, or ``"host"``, the node's.
        drop: capabilities to take away; ``("ALL",)`` for every one.
        no_new_privileges: no program gets more rights than its caller, set-uid ones included.
        runtime_handler: such as one for gVisor or Kata; otherwise the server's default.
        labels: of the pod.
        annotations: of the pod.
        stdin: whether the container gets a standard input, for :meth:`Container.attach`.
        terminal: whether the container gets a terminal.
        pull: when the image is fetched; otherwise ``"IfNotPresent"``.
    """

    name: str
    namespace: str
    args: Sequence[str]
    env: Mapping[str, str]
    working_dir: str
    resources: Resources
    mounts: Sequence[Mount]
    user: int | str
    read_only: bool
    network: Literal["pod", "host"]
    drop: Sequence[str]
    no_new_privileges: bool
    runtime_handler: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    stdin: bool
    terminal: bool
    pull: PullPolicy


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """A directory that is empty at first and is removed with its pod.

    Args:
        in_memory: on a tmpfs.
        size_bytes: its limit; None for none. It is enforced only in memory.
    """

    in_memory: bool = False
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class HostPath:
    """A path of the node.

    Args:
        path: absolute.
        type: as the Kubernetes API has it, ``DirectoryOrCreate`` and so on; empty for no check.
    """

    path: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """A file in a volume."""

    content: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Files:
    """Files that containers can read.

    Args:
        files: by path in the volume.
        in_memory: on a tmpfs, since they are secret.
    """

    files: Mapping[str, File]
    in_memory: bool = False


@dataclass(frozen=True, slots=True)
class ImageVolume:
    """The files of an image."""

    reference: str
    pull_policy: PullPolicy


Volume = EmptyDir | HostPath | Files | ImageVolume


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A volume seen in a container.

    Args:
        volume: its name.
        sub_path: what of it; empty for all.
        mount: where and how.
        place: where it is in the manifest, for errors.
    """

    volume: str
    sub_path: str
    mount: cri.Mount
    place: str


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """The plan of a container.

    Args:
        config: its configuration, without the mounts of its volumes.
        pull_policy: when its image is fetched.
        mounts: its volumes.
        not_as_root: refuse to start it as user 0.
        restart: when it is started again after its end.
        probes: by kind: ``startup``, ``liveness``, ``readiness``.
        post_start: done once it runs; if it fails, the container is killed.
    """

    config: cri.ContainerConfig
    pull_policy: PullPolicy
    mounts: tuple[VolumeMount, ...] = ()
    not_as_root: bool = False
    restart: RestartPolicy = "Never"
    probes: Mapping[str, Probe] = field(default_factory=dict)
    post_start: Action | None = None

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return self.config.metadata.name


@dataclass(frozen=True, slots=True)
class PodPlan:
    """The plan of a pod; the log directory is set when the pod is made.

    Args:
        sandbox: its configuration.
        runtime_handler: empty for the server's default.
        containers: in the order in which they start.
        init_containers: before these, one after the other; one with the restart policy ``Always``
            is a sidecar, which only has to be started.
        volumes: by name.
        fs_group: owner of what the volumes hold; None for root.
        hosts: lines for ``/etc/hosts``.
        keyring: of the registries; None for none.
    """

    sandbox: cri.PodSandboxConfig
    runtime_handler: str
    containers: tuple[ContainerPlan, ...]
    init_containers: tuple[ContainerPlan, ...] = ()
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    fs_group: int | None = None
    hosts: tuple[str, ...] = ()
    keyring: Keyring | None = None

    @property
    def images(self) -> list[tuple[str, PullPolicy]]:
        """All that must be on the node, and when each is fetched."""
        volumes = self.volumes.values()
        return [
            *(
                (each.config.image.image, each.pull_policy)
                for each in (*self.init_containers, *self.containers)
            ),
            *(
                (each.reference, each.pull_policy)
                for each in volumes
                if isinstance(each, ImageVolume)
            ),
        ]

    @property
    def needs_life(self) -> bool:
        """Whether more has to be done than to start its containers one after the other."""
        hooks = any(each.post_start for each in self.containers)
        return hooks or bool(self.init_containers) or self.needs_keeping

    @property
    def needs_keeping(self) -> bool:
        """Whether something has to be done for it after the start: probes, restarts."""
        return any(each.probes or each.restart != "Never" for each in self.containers) or any(
            each.restart == "Always" for each in self.init_containers
        )


def identity(name: str, namespace: str, uid: str) -> dict[str, str]:
    """The labels by which kubelet and its tools know a pod."""
    return {
        "io.kubernetes.pod.name": name,
        "io.kubernetes.pod.namespace": namespace,
        "io.kubernetes.pod.uid": uid,
    }


def pod_plan(  # long: one field after the other
    image: str, command: Sequence[str], options: PodOptions
) -> PodPlan:
    """A pod of one container, ``main``.

    Args:
        image: its reference.
        command: program and arguments, without a shell; empty for the image's own.
        options: everything else.

    Raises:
        InvalidArgument: an option is unknown or malformed; it is named.
    """
    # Imported here, so that the verbs that only list do not pay for it.
    import secrets
    import uuid

    if unknown := set(options) - set(PodOptions.__annotations__):
        raise InvalidArgument(f"a pod has no option {', '.join(sorted(unknown))}")
    name = options.get("name") or f"pod-{secrets.token_hex(6)}"
    namespace, uid = options.get("namespace", "default"), str(uuid.uuid4())
    if (network := options.get("network", "pod")) not in ("pod", "host"):
        raise InvalidArgument(f'network: "{network}" is neither "pod" nor "host"')
    namespaces = cri.NamespaceOption(
        network=cri.NODE if network == "host" else cri.POD, pid=cri.CONTAINER
    )
    known = identity(name, namespace, uid)
    sandbox = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name=name, uid=uid, namespace=namespace),
        hostname="" if network == "host" else name[:63].rstrip("-."),
        labels={**options.get("labels", {}), **known},
        annotations=options.get("annotations", {}),
        linux=cri.LinuxPodSandboxConfig(
            security_context=cri.LinuxSandboxSecurityContext(namespace_options=namespaces)
        ),
    )
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name="main"),
        image=cri.ImageSpec(image=image, user_specified_image=image),
        command=_words("command", command),
        args=_words("args", options.get("args", ())),
        envs=[
            cri.KeyValue(key=key, value=value.encode())
            for key, value in options.get("env", {}).items()
        ],
        working_dir=options.get("working_dir", ""),
        log_path="main/0.log",
        labels={**known, "io.kubernetes.container.name": "main"},
        mounts=[
            cri.Mount(host_path=each.source, container_path=each.target, readonly=each.read_only)
            for each in options.get("mounts", ())
        ],
        stdin=options.get("stdin", False),
        tty=options.get("terminal", False),
    )
    options.get("resources", Resources()).fill(config.linux.resources)
    security = config.linux.security_context
    security.namespace_options.CopyFrom(namespaces)
    security.readonly_rootfs = options.get("read_only", False)
    security.no_new_privs = options.get("no_new_privileges", False)
    security.capabilities.drop_capabilities.extend(_words("drop", options.get("drop", ())))
    if "user" in options:
        _set_user(options["user"], security)
    plan = ContainerPlan(config, options.get("pull", "IfNotPresent"))
    return PodPlan(sandbox, options.get("runtime_handler", ""), (plan,))


def _words(name: str, words: Sequence[str]) -> list[str]:
    if isinstance(words, str):
        raise InvalidArgument(f"{name} is a list of words, not one text")
    return list(words)


def _set_user(user: int | str, security: cri.LinuxContainerSecurityContext) -> None:
    name, colon, group = str(user).partition(":")
    is_number = name.isascii() and name.isdecimal()
    if (colon and not (is_number and group.isascii() and group.isdecimal())) or (
        is_number and max(len(name), len(group)) > _ID_DIGITS
    ):
        raise InvalidArgument(f'user: "{user}" is neither a name, a UID nor UID:GID')
    if is_number:
        security.run_as_user.value = int(name)
    else:
        security.run_as_username = name
    if group:
        security.run_as_group.value = int(group)
