"""CRI mounts as engine mounts, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.engine_facts import require_api

_PROPAGATION = {
    cri.PROPAGATION_PRIVATE: "rprivate",
    cri.PROPAGATION_HOST_TO_CONTAINER: "rslave",
    cri.PROPAGATION_BIDIRECTIONAL: "rshared",
}
_PROPAGATION_BACK = {
    "": cri.PROPAGATION_PRIVATE,
    "private": cri.PROPAGATION_PRIVATE,
    "rprivate": cri.PROPAGATION_PRIVATE,
    "slave": cri.PROPAGATION_HOST_TO_CONTAINER,
    "rslave": cri.PROPAGATION_HOST_TO_CONTAINER,
    "shared": cri.PROPAGATION_BIDIRECTIONAL,
    "rshared": cri.PROPAGATION_BIDIRECTIONAL,
}
IMAGE_MOUNTS_SINCE = (1, 48)
RECURSIVE_READ_ONLY_SINCE = (1, 44)
_SHORTEST_ID = 12
"""Hexadecimal digits of an image id that are enough to name one image."""


def engine_mounts(
    mounts: list[cri.Mount], api_version: tuple[int, int], selinux_enabled: bool, subject: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """HostConfig.Mounts and HostConfig.Binds; host paths must be resolved and checked by the
    caller, images be named by their id.

    The engine relabels files for SELinux only in its older form, Binds. A host without SELinux has
    nothing to relabel.

    Raises:
        InvalidArgument: a mount without a container path, or a combination that the CRI forbids.
        FailedPrecondition: what this engine's API cannot do yet; the message names the version that
            can.
    """
    entries, binds = [], []
    for mount in mounts:
        entry = _engine_mount(mount, api_version, subject)
        if mount.selinux_relabel and selinux_enabled and entry["Type"] == "bind":
            binds.append(_relabelled(mount, subject))
        else:
            entries.append(entry)
    _spell_apart(entries)
    return entries, binds


def _spell_apart(entries: list[dict[str, Any]]) -> None:
    """The engine identifies a container's image mounts by the text of their source, so a second
    mount of the same image needs another text.
    """
    taken: set[str] = set()
    for entry in entries:
        if entry["Type"] != "image":
            continue
        image_id = entry["Source"]
        digits = image_id.removeprefix("sha256:")
        spellings = (
            image_id,
            *(digits[:length] for length in range(len(digits), _SHORTEST_ID - 1, -1)),
        )
        entry["Source"] = next(
            (spelling for spelling in spellings if spelling not in taken), image_id
        )
        taken.add(entry["Source"])


def _relabelled(mount: cri.Mount, subject: str) -> str:
    where = f"{subject}: mount {mount.container_path}"
    if ":" in mount.host_path or ":" in mount.container_path:
        raise InvalidArgument(f"{where}: selinux_relabel is not possible for a path with a colon")
    if mount.recursive_read_only:
        raise FailedPrecondition(
            f"{where}: Docker Engine cannot relabel a recursive read-only mount"
        )
    # "z", shared: with "Z" the first container of a pod would lock the others out.
    propagation = (
        [_PROPAGATION[mount.propagation]] if mount.propagation != cri.PROPAGATION_PRIVATE else []
    )
    options = ["z", *propagation, *(["ro"] if mount.readonly else [])]
    return f"{mount.host_path}:{mount.container_path}:{','.join(options)}"


def _engine_mount(mount: cri.Mount, api_version: tuple[int, int], subject: str) -> dict[str, Any]:
    if not mount.container_path:
        raise InvalidArgument(f'{subject}: a mount of "{mount.host_path}" has no container_path')
    where = f"{subject}: mount {mount.container_path}"
    if mount.uidMappings or mount.gidMappings:
        raise InvalidArgument(
            f"{where}: id-mapped mounts need user namespaces, which Docker Engine does not give"
            " a pod"
        )
    if mount.mount_options:
        raise InvalidArgument(
            f"{where}: mount_options are not supported by Docker Engine"
            " (RuntimeFeatures.mount_options is false)"
        )
    if mount.HasField("image") and mount.image.image:
        return _engine_image(mount, api_version, where)
    return _engine_bind(mount, api_version, where)


def _engine_image(mount: cri.Mount, api_version: tuple[int, int], where: str) -> dict[str, Any]:
    if mount.host_path:
        raise InvalidArgument(f"{where}: has both an image and a host_path")
    if not mount.readonly:
        raise InvalidArgument(f"{where}: an image is mounted read-only; readonly must be set")
    if mount.propagation != cri.PROPAGATION_PRIVATE:
        raise InvalidArgument(f"{where}: an image is mounted with PROPAGATION_PRIVATE only")
    require_api(f"{where}: image volumes", IMAGE_MOUNTS_SINCE, "28", api_version)
    entry: dict[str, Any] = {
        "Type": "image",
        "Source": mount.image.image,
        "Target": mount.container_path,
        "ReadOnly": True,
    }
    if mount.image_sub_path:
        entry["ImageOptions"] = {"Subpath": mount.image_sub_path}
    return entry


def _engine_bind(mount: cri.Mount, api_version: tuple[int, int], where: str) -> dict[str, Any]:
    if not mount.host_path:
        raise InvalidArgument(f"{where}: has no host_path")
    if mount.image_sub_path:
        raise InvalidArgument(f"{where}: image_sub_path is given without an image")
    # Private is not asked for, since it is the engine's default. For a source that holds the
    # engine's data, such as /, the engine refuses private and takes slave as its default.
    bind: dict[str, Any] = {}
    if mount.propagation != cri.PROPAGATION_PRIVATE or mount.recursive_read_only:
        bind["Propagation"] = _PROPAGATION[mount.propagation]
    if mount.recursive_read_only:
        if not mount.readonly:
            raise InvalidArgument(f"{where}: recursive_read_only needs readonly")
        if mount.propagation != cri.PROPAGATION_PRIVATE:
            raise InvalidArgument(f"{where}: recursive_read_only needs PROPAGATION_PRIVATE")
        require_api(
            f"{where}: recursive read-only mounts", RECURSIVE_READ_ONLY_SINCE, "25", api_version
        )
        bind["ReadOnlyForceRecursive"] = True
    elif mount.readonly and api_version >= RECURSIVE_READ_ONLY_SINCE:
        # From this API on the engine makes read-only mounts recursive by itself; the CRI wants that
        # only where it is asked for.
        bind["ReadOnlyNonRecursive"] = True
    return {
        "Type": "bind",
        "Source": mount.host_path,
        "Target": mount.container_path,
        "ReadOnly": mount.readonly,
        "BindOptions": bind,
    }


def cri_mounts(
    document: dict[str, Any], image_id_of: Callable[[str], str] = lambda reference: ""
) -> list[cri.Mount]:
    """Mounts of a container as they are, out of its inspect document.

    HostConfig, what was asked for, shows recursion and image; Mounts, what is there, shows the
    rest. So a mount made by an image's VOLUME is left out, and a container made by a peer with
    ``Binds`` is read too.

    Args:
        document: the inspect document.
        image_id_of: the id of an image that is mounted, by its reference; empty where the node has
            it no more.
    """
    asked = {
        entry.get("Target"): entry
        for entry in (document.get("HostConfig") or {}).get("Mounts") or []
    }
    mounts = []
    for entry in document.get("Mounts") or []:
        target = entry.get("Destination", "")
        wanted = asked.pop(target, {})
        if entry.get("Type") == "bind":
            mounts.append(
                cri.Mount(
                    container_path=target,
                    host_path=entry.get("Source", ""),
                    readonly=not entry.get("RW", True),
                    propagation=_PROPAGATION_BACK.get(
                        entry.get("Propagation", ""), cri.PROPAGATION_PRIVATE
                    ),
                    recursive_read_only=bool(
                        (wanted.get("BindOptions") or {}).get("ReadOnlyForceRecursive")
                    ),
                )
            )
        elif entry.get("Type") == "image" or wanted.get("Type") == "image":
            mounts.append(
                _image_mount(
                    wanted or {"Target": target, "Source": entry.get("Source", "")}, image_id_of
                )
            )
    # An engine may list image mounts only as asked for, and not at all before the start.
    mounts += [
        _image_mount(entry, image_id_of) for entry in asked.values() if entry.get("Type") == "image"
    ]
    return mounts


def _image_mount(entry: dict[str, Any], image_id_of: Callable[[str], str]) -> cri.Mount:
    source = entry.get("Source", "")
    image_id = image_id_of(source)
    named = image_id or source
    return cri.Mount(
        container_path=entry.get("Target", ""),
        readonly=True,
        image=cri.ImageSpec(image=named, user_specified_image=named, image_ref=image_id),
        image_sub_path=(entry.get("ImageOptions") or {}).get("Subpath", ""),
    )
