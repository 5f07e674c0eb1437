"""What the stats are about: containers and sandboxes as this package is told of them, by value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SandboxSubject:
    """One sandbox.

    Args:
        sandbox_id: the engine's id of its container.
        pid: of its first process, as this process sees it; 0 when it does not run.
        attributes: what CRI answers about it beside the figures, a PodSandboxAttributes encoded as
            field 1, as every answer has it.
        namespace, pod_name: the pod's, for the metrics' labels.
        started_at_ns: Unix time of its start in nanoseconds; 0 when unknown.
        own_network: it has a network namespace of its own; without one its counters would be the
            machine's.
        name: the engine's name of its container, for the metrics' ``name`` label.
        image: the pause image, for the metrics' ``image`` label.
        own_cgroup: CRI gave the pod a cgroup parent, so that the cgroup above the sandbox's is the
            pod's. Without, a pod's figures are the sums over its containers.
    """

    sandbox_id: str
    pid: int
    attributes: bytes
    namespace: str = ""
    pod_name: str = ""
    started_at_ns: int = 0
    name: str = ""
    image: str = ""
    own_network: bool = True
    own_cgroup: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSubject:
    """One container.

    Args:
        container_id: the engine's id.
        sandbox_id: of the sandbox that it is in.
        pid: of its first process, as this process sees it; 0 when it does not run.
        attributes: what CRI answers about it beside the figures, a ContainerAttributes encoded as
            field 1, as every answer has it.
        container_name: within its pod, for the metrics' ``container`` label.
        started_at_ns: Unix time of its start in nanoseconds; 0 when unknown.
        name: the engine's name of it, for the metrics' ``name`` label.
        image: the image reference as the user gave it, for the metrics' ``image`` label.
        writable_layer: the directory that holds what the container wrote (UpperDir of overlay2);
            empty when unknown.
        mounted: the engine's directory of the sandbox, with the files that it mounts; empty when
            unknown.
    """

    container_id: str
    sandbox_id: str
    pid: int
    attributes: bytes
    container_name: str = ""
    started_at_ns: int = 0
    name: str = ""
    image: str = ""
    writable_layer: str = ""
    mounted: str = ""


@dataclass(frozen=True, slots=True)
class LayerUsage:
    """What a walk over a writable layer found.

    Args:
        time_ns: Unix time of the walk's end, nanoseconds.
        used_bytes: disk space, counted once for files with several names.
        inodes: files and directories, the layer's own root not among them.
        complete: False where the walk had to leave something out.
    """

    time_ns: int
    used_bytes: int
    inodes: int
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ImageFilesystem:
    """Where the engine keeps images and containers, and what they take.

    Args:
        time_ns: Unix time of the figures, nanoseconds.
        mountpoint: a directory on the file system; kubelet finds the device by it.
        used_bytes: of images.
        inodes_used: of the whole file system: no engine counts those of its images.
    """

    time_ns: int = 0
    mountpoint: str = ""
    used_bytes: int = 0
    inodes_used: int = 0
