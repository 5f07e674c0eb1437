"""Clients of a CRI server: of this service's own, of containerd, of CRI-O. A public API, useful by
itself.

    async with RemoteRuntimeService.connect("unix:///run/containerd/containerd.sock") as runtime:
        for container in await runtime.list_containers():
            print(container.id)

Every method is one RPC with a deadline of its own (:mod:`asupervisor.remote.deadlines`) and raises
the errors of :mod:`asupervisor.errors`. Messages come from ``asupervisor.proto.cri``."""

from asupervisor.remote.images import RemoteImageService
from asupervisor.remote.runtime import RemoteRuntimeService

__all__ = ["RemoteImageService", "RemoteRuntimeService"]
