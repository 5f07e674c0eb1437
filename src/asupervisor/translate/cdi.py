"""The environment that CDI devices bring (Container Device Interface, SPEC.md).

The engine puts a device's edits into the document for the OCI runtime alone, so its environment
reaches a container's first process and no command that is run in it later. Here only the
environment is read from the specifications; the engine does the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from asupervisor.errors import InvalidArgument
from asupervisor.translate.documents import at, sequence, text

_NAME = re.compile(r"([A-Za-z][\w.-]*/[A-Za-z][\w.-]*)=([A-Za-z0-9][\w.:-]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class CdiSpec:
    """One specification.

    Args:
        kind: ``vendor.com/class``.
        environment: ``KEY=value`` that each of its devices brings.
        devices: what each of them brings besides, by its name.
    """

    kind: str
    environment: tuple[str, ...]
    devices: dict[str, tuple[str, ...]]


def cdi_spec(document: Any) -> CdiSpec:
    """A specification's environment out of a file's content, whatever it holds."""
    return CdiSpec(
        text(document, "kind"),
        _environment(document),
        {text(device, "name"): _environment(device) for device in sequence(document, "devices")},
    )


def cdi_environment(
    names: Iterable[str], directories: Sequence[Sequence[CdiSpec]], subject: str
) -> tuple[list[str], list[str]]:
    """What devices bring, in their order; what all devices of a specification bring, once.

    Args:
        names: ``vendor.com/class=device``.
        directories: the specifications of each directory; one in a later directory wins over one in
            an earlier.
        subject: names the container in errors.

    Returns:
        The environment, and the devices that no specification has, or several of equal rank.

    Raises:
        InvalidArgument: a name is not the name of a device.
    """
    environment: list[str] = []
    unknown: list[str] = []
    used: list[CdiSpec] = []
    for name in names:
        found = _NAME.fullmatch(name)
        if found is None:
            raise InvalidArgument(
                f'{subject}: "{name}" is not the name of a CDI device, such as'
                " vendor.com/class=device"
            )
        spec = _holder(found[1], found[2], directories)
        if spec is None:
            unknown.append(name)
            continue
        if all(spec is not known for known in used):
            used.append(spec)
            environment += spec.environment
        environment += spec.devices[found[2]]
    return environment, unknown


def with_environment(entries: Iterable[str], others: Iterable[str]) -> list[str]:
    """An environment in which ``others`` replace what has the same key; one entry for each key."""
    merged = {entry.partition("=")[0]: entry for entry in (*entries, *others)}
    return list(merged.values())


def _holder(kind: str, device: str, directories: Sequence[Sequence[CdiSpec]]) -> CdiSpec | None:
    for specs in reversed(directories):
        holders = [spec for spec in specs if spec.kind == kind and device in spec.devices]
        if holders:
            return holders[0] if len(holders) == 1 else None
    return None


def _environment(document: Any) -> tuple[str, ...]:
    return tuple(
        entry
        for entry in sequence(at(document, "containerEdits"), "env")
        if isinstance(entry, str) and entry.find("=") > 0 and "\0" not in entry
    )
