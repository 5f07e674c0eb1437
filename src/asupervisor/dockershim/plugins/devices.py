"""Finds the host's device that a plugin gives by its numbers: Docker Engine wants a path."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from asupervisor.errors import FailedPrecondition
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api

_KINDS = {"c": ("char", stat.S_ISCHR), "u": ("char", stat.S_ISCHR), "b": ("block", stat.S_ISBLK)}
_SYSFS = Path("/sys/dev")


def host_device(device: api.LinuxDevice, where: str) -> str:
    """The path of a device on the host.

    Args:
        device: as the plugin wants it.
        where: names container and plugin, for errors.

    Raises:
        FailedPrecondition: the host has no such device, or one of another mode or owner than
            wanted, which Docker Engine would keep.
    """
    if device.type not in _KINDS:
        raise FailedPrecondition(f'{where}: "{device.type}" is not a type of device: c or b')
    directory, is_kind = _KINDS[device.type]
    for path in (device.path, *_named(directory, device.major, device.minor)):
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            continue
        numbers = (os.major(status.st_rdev), os.minor(status.st_rdev))
        if not is_kind(status.st_mode) or numbers != (device.major, device.minor):
            continue
        for name, wanted, there in (
            ("file_mode", device.file_mode, status.st_mode & 0o7777),
            ("uid", device.uid, status.st_uid),
            ("gid", device.gid, status.st_gid),
        ):
            if device.HasField(name) and _bits(name, wanted.value) != there:
                raise FailedPrecondition(
                    f"{where}: Docker Engine gives a device the {name} that {path} has on the host"
                    f" ({there:o} in octal digits), and not {wanted.value:o}"
                )
        return path
    raise FailedPrecondition(
        f"{where}: the host has no device file of the type {device.type} with the numbers"
        f" {device.major}:{device.minor}, and Docker Engine is told a device by its path"
    )


def _bits(name: str, value: int) -> int:
    return value & 0o7777 if name == "file_mode" else value


def _named(directory: str, major: int, minor: int) -> list[str]:
    try:
        lines = (_SYSFS / directory / f"{major}:{minor}" / "uevent").read_text().splitlines()
    except (OSError, ValueError):
        return []
    return [f"/dev/{line[8:]}" for line in lines if line.startswith("DEVNAME=")]
