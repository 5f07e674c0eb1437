"""The settings of the service on this node: those it runs with, else those it would start with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from asupervisor.addresses import RUNTIME_ENDPOINT
from asupervisor.cli.flags import parse_arguments
from asupervisor.config import Config
from asupervisor.engine.endpoint import socket_path
from asupervisor.errors import ConfigError
from asupervisor.host.beneath import read_followed
from asupervisor.host.peers import listener_process

ENVIRONMENT_FILE = "/etc/default/asupervisor"
"""What the unit asupervisor.service reads."""
_PREFIX = "ASUPERVISOR_"
_LONGEST_BYTES = 1 << 20


def settings(
    endpoint: str,
    flags: list[str],
    environment: Mapping[str, str],
    environment_file: str = ENVIRONMENT_FILE,
) -> Config:
    """The settings of the service.

    Args:
        endpoint: of the CRI, where the user named it; empty otherwise.
        flags: of the service; they win over everything else.
        environment: of this process.
        environment_file: what the unit reads; it may be missing.

    Raises:
        ConfigError: a value is malformed; the message names it.
    """
    told = {**_environment_file(environment_file), **environment}
    config = parse_arguments(flags, told)
    place = endpoint or _dialled(config)
    found = _running(place) or _running(f"unix://{config.root_directory}/cri.sock")
    if found is not None:
        arguments, its_environment = found
        config = parse_arguments([*arguments, *flags], its_environment or told)
    return replace(config, runtime_endpoint=endpoint or _dialled(config))


def _dialled(config: Config) -> str:
    """Where clients reach it: under ``fd://`` at systemd's socket, which has the usual path."""
    endpoint = config.runtime_endpoint
    if endpoint.startswith("/"):
        return f"unix://{endpoint}"
    return endpoint if endpoint.startswith("unix://") else RUNTIME_ENDPOINT


def _environment_file(path: str) -> dict[str, str]:
    try:
        lines = read_followed(path, _LONGEST_BYTES).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    found: dict[str, str] = {}
    for line in lines:
        name, is_setting, value = line.strip().partition("=")
        if is_setting and name.startswith(_PREFIX):
            try:
                found[name] = "".join(shlex.split(value)[:1])
            except ValueError as error:
                raise ConfigError(f"{path}: {name}: {error}") from error
    return found


def _running(endpoint: str) -> tuple[list[str], dict[str, str]] | None:
    """Flags and environment of the service that listens there; None where another program does."""
    path = socket_path(endpoint)
    pid = listener_process(path) if path is not None else None
    if not pid:
        return None
    process = Path(f"/proc/{pid}")
    try:
        words = _words(process / "cmdline")
    except OSError:
        return None
    names = [word.rpartition("/")[2] for word in words]
    if "asupervisor" not in names:
        return None
    try:
        pairs = (word.partition("=") for word in _words(process / "environ"))
        environment = {name: value for name, _, value in pairs}
    except OSError:  # it is another user's
        environment = {}
    return words[names.index("asupervisor") + 1 :], environment


def _words(path: Path) -> list[str]:
    return [word.decode(errors="replace") for word in path.read_bytes().split(b"\0")[:-1]]
