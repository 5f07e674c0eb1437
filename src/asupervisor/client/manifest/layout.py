"""A pod's volumes on the node: a directory for each pod, and what is in it.

Containers may write to a volume that another one has, so a path in it (``subPath``) is held by a
descriptor, without following a link, and mounted from there."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from asupervisor.client.plan import (
    ContainerPlan,
    EmptyDir,
    File,
    Files,
    HostPath,
    ImageVolume,
    PodPlan,
)
from asupervisor.errors import FailedPrecondition
from asupervisor.host.beneath import HeldDirectory, remove_tree
from asupervisor.host.mounting import mount_bind, mount_tmpfs, mounts_below, unmount_below
from asupervisor.proto import cri

_KINDS: dict[str, tuple[str, Callable[[int], bool]]] = {
    "Directory": ("a directory", stat.S_ISDIR),
    "DirectoryOrCreate": ("a directory", stat.S_ISDIR),
    "File": ("a file", stat.S_ISREG),
    "FileOrCreate": ("a file", stat.S_ISREG),
    "Socket": ("a socket", stat.S_ISSOCK),
    "CharDevice": ("a character device", stat.S_ISCHR),
    "BlockDevice": ("a block device", stat.S_ISBLK),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """The volumes of one pod; every method does blocking I/O.

    Args:
        plan: of the pod.
        path: the pod's own directory; it need not exist.
    """

    plan: PodPlan
    path: str

    def make(self) -> None:
        """Make what is missing, and check the paths of the node.

        Raises:
            FailedPrecondition: a path is not what its type says, or cannot be made.
        """
        self._hold()
        for name, volume in self.plan.volumes.items():
            place = f"{self.path}/volumes/{name}"
            try:
                if isinstance(volume, HostPath):
                    _check_host_path(volume)
                elif isinstance(volume, EmptyDir):
                    self._empty_dir(place, volume)
                elif isinstance(volume, Files):
                    self._files(place, volume)
            except OSError as error:
                raise FailedPrecondition(
                    f'volume "{name}" cannot be made: {error}', subject=place
                ) from error

    def mounts(self, container: ContainerPlan) -> list[cri.Mount]:
        """The mounts of a container's volumes, in the order of its manifest.

        Raises:
            FailedPrecondition: a path in a volume leads outside, or is neither directory nor file.
        """
        found = []
        for index, each in enumerate(container.mounts):
            volume, mount = self.plan.volumes[each.volume], cri.Mount()
            mount.CopyFrom(each.mount)
            if isinstance(volume, ImageVolume):
                mount.image.image = mount.image.user_specified_image = volume.reference
                mount.image_sub_path, mount.readonly = each.sub_path, True
            else:
                if isinstance(volume, HostPath):
                    mount.host_path = volume.path
                else:
                    mount.host_path = f"{self.path}/volumes/{each.volume}"
                mount.readonly = mount.readonly or isinstance(volume, Files)
                if each.sub_path:
                    name = f"{container.config.metadata.name}-{index}"
                    mount.host_path = self._sub_path(mount.host_path, each.sub_path, name)
            found.append(mount)
        if self.plan.hosts and all(mount.container_path != "/etc/hosts" for mount in found):
            found.append(cri.Mount(host_path=f"{self.path}/hosts", container_path="/etc/hosts"))
        return found

    def write_hosts(self, addresses: Sequence[str]) -> None:
        """Write ``/etc/hosts`` with the aliases of the manifest, if there are any.

        Args:
            addresses: of the pod; empty for a pod in the node's network.
        """
        if not self.plan.hosts:
            return
        hostname = self.plan.sandbox.hostname or socket.gethostname()
        own = (f"{address}\t{hostname}" for address in addresses)
        lines = ("127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost", *own, *self.plan.hosts)
        self._hold()
        Path(self.path, "hosts").write_text("\n".join(lines) + "\n")

    def _hold(self) -> None:
        """Make the pod's directory, readable by root only."""
        try:
            os.makedirs(self.path, exist_ok=True)
            os.chmod(self.path, 0o700)
        except OSError as error:
            raise FailedPrecondition(
                f"{self.path} cannot be made: {error.strerror}; volumes need root",
                subject=self.path,
            ) from error

    def _empty_dir(self, place: str, volume: EmptyDir) -> None:
        os.makedirs(place, 0o700, exist_ok=True)
        if volume.in_memory and place not in mounts_below(self.path):
            mount_tmpfs(place, volume.size_bytes, 0o777)
        group = self.plan.fs_group
        os.chmod(place, 0o777 if group is None else 0o2777)
        if group is not None:
            os.chown(place, 0, group)

    def _files(self, place: str, volume: Files) -> None:
        os.makedirs(place, 0o700, exist_ok=True)
        if volume.in_memory and place not in mounts_below(self.path):
            mount_tmpfs(place, None, 0o755)
        os.chmod(place, 0o755)
        for path, file in volume.files.items():
            self._write(f"{place}/{path}", file)

    def _write(self, path: str, file: File) -> None:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        with open(path, "xb") as out:
            out.write(file.content)
            if self.plan.fs_group is not None:
                os.fchown(out.fileno(), 0, self.plan.fs_group)
            mode = file.mode if self.plan.fs_group is None else file.mode | 0o440
            os.fchmod(out.fileno(), mode)

    def _sub_path(self, volume: str, sub_path: str, name: str) -> str:
        """Mount a path in a volume at a place of ours; a missing directory is made."""
        place = f"{self.path}/paths/{name}"
        if place in mounts_below(self.path):
            return place
        *above, last = sub_path.split("/")
        try:
            with ExitStack() as stack:
                held = stack.enter_context(HeldDirectory.at(volume))
                if above:
                    held = stack.enter_context(held.below("/".join(above), make=0o755))
                found = held.status(last)
                if found is not None and stat.S_ISREG(found.st_mode):
                    descriptor = held.open(last, os.O_RDONLY)
                    stack.callback(os.close, descriptor)
                    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
                    open(place, "ab").close()
                else:
                    descriptor = stack.enter_context(held.below(last, make=0o755)).descriptor
                    os.makedirs(place, 0o700, exist_ok=True)
                mount_bind(descriptor, place)
        except OSError as error:
            raise FailedPrecondition(
                f'subPath "{sub_path}" cannot be mounted: {error}', subject=volume
            ) from error
        return place


def remove_layout(path: str) -> None:
    """Remove a pod's directory with all mounts in it; if it is missing, that is a success.

    Raises:
        FailedPrecondition: something is left.
    """
    if not path or not os.path.isdir(path):
        return
    try:
        unmount_below(path)
        if left := mounts_below(path):
            raise FailedPrecondition(f"{left[0]} is still mounted", subject=path)
        remove_tree(path)
    except OSError as error:
        raise FailedPrecondition(f"{path} cannot be removed: {error}", subject=path) from error


def _check_host_path(volume: HostPath) -> None:
    """Links are followed: the author of the manifest may name any path of the node."""
    if volume.type == "DirectoryOrCreate":
        os.makedirs(volume.path, 0o755, exist_ok=True)
    elif volume.type == "FileOrCreate" and not os.path.exists(volume.path):
        os.close(os.open(volume.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    if volume.type:
        words, is_one = _KINDS[volume.type]
        if not is_one(os.stat(volume.path).st_mode):
            raise FailedPrecondition(f"{volume.path} is not {words}", subject=volume.path)
