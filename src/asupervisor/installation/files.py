"""The files of an installation, as text; nothing here touches the machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from asupervisor.errors import ConfigError

UNITS = ("asupervisor.socket", "asupervisor.service")
"""In the order of their start."""
DEFAULTS = "/etc/default/asupervisor"
"""The settings that the unit reads."""
_PACKAGED = "/usr/bin/asupervisor"
"""The path in the unit file: that of the Debian package."""
_PLAIN = re.compile(r"/[A-Za-z0-9/._+-]+")


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    Args:
        path: absolute.
        text: its content.
        edited: the administrator edits it, so an existing one is not changed.
    """

    path: str
    text: str
    edited: bool = False


def unit(name: str, executable: str) -> str:
    """A unit file.

    Args:
        name: such as ``asupervisor.service``.
        executable: absolute path of the service's command.

    Raises:
        ConfigError: the path has characters with a meaning for systemd.
    """
    if not _PLAIN.fullmatch(executable):
        raise ConfigError(
            f"{executable} cannot be used in a unit file; install into a directory of letters,"
            " digits, dots and dashes"
        )
    return _own(f"systemd/{name}").replace(f"ExecStart={_PACKAGED} ", f"ExecStart={executable} ")


def installed_files(
    executable: str, manual: Mapping[str, str], completion: str
) -> tuple[File, ...]:
    """Every file that ``asupervisor install`` puts in place.

    Args:
        executable: absolute path of the service's command.
        manual: pages by their file name.
        completion: for bash.

    Raises:
        ConfigError: the path cannot be used in a unit file.
    """
    share = "/usr/local/share"
    return (
        *(File(f"/etc/systemd/system/{name}", unit(name, executable)) for name in UNITS),
        File(DEFAULTS, defaults(), edited=True),
        *(
            File(f"{share}/man/man{name.rpartition('.')[2]}/{name}", text)
            for name, text in manual.items()
        ),
        File(f"{share}/bash-completion/completions/asupervisor", completion),
        File(f"{share}/doc/asupervisor/managed-engine.conf", _own("systemd/managed-engine.conf")),
    )


def defaults() -> str:
    """The settings file of a new installation: comments only."""
    return _own("asupervisor.default")


def _own(name: str) -> str:
    return resources.files("asupervisor.installation").joinpath(name).read_text()
