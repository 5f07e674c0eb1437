"""Where the server is, if nobody names it: the environment, crictl's file, the usual place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asupervisor.addresses import RUNTIME_ENDPOINT
from asupervisor.errors import ConfigError

ENDPOINT_VARIABLES = ("ASUPERVISOR_ENDPOINT", "CONTAINER_RUNTIME_ENDPOINT")
"""Environment variables that name the endpoint, the first one that is set wins; the second is
crictl's.
"""
IMAGE_VARIABLE = "IMAGE_SERVICE_ENDPOINT"
"""crictl's variable for the address of the image service, if it is another server."""
CRICTL_VARIABLE = "CRI_CONFIG_FILE"
CRICTL_FILE = "/etc/crictl.yaml"
TIMEOUT_S = 120.0
"""The default of kubelet's runtime request timeout."""
_LONGEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server is reached.

    Args:
        endpoint: of the runtime service.
        image_endpoint: of the image service; empty where it is the same.
        timeout_s: deadline of a call in seconds; None for the default.
    """

    endpoint: str
    image_endpoint: str = ""
    timeout_s: float | None = None


def find_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings where the caller names none: ``$ASUPERVISOR_ENDPOINT``, else
    ``$CONTAINER_RUNTIME_ENDPOINT``, else crictl's file (``$CRI_CONFIG_FILE``, else
    ``/etc/crictl.yaml``), else this project's service.

    Args:
        environment: ``os.environ`` where None.

    Raises:
        ConfigError: crictl's file cannot be read or is malformed.
    """
    told = os.environ if environment is None else environment
    endpoint = next((told[name] for name in ENDPOINT_VARIABLES if told.get(name)), "")
    images = told.get(IMAGE_VARIABLE, "")
    if endpoint:
        return Settings(endpoint, images)
    file = _crictl(told.get(CRICTL_VARIABLE, ""))
    return Settings(
        _text(file, "runtime-endpoint") or RUNTIME_ENDPOINT,
        images or (_text(file, "image-endpoint") if _text(file, "runtime-endpoint") else ""),
        _seconds(file),
    )


def _crictl(named: str) -> Mapping[str, Any]:
    from asupervisor.host.beneath import read_followed

    path = os.path.abspath(named or CRICTL_FILE)
    try:
        text = read_followed(path, _LONGEST_BYTES)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not named:
            return {}
        raise ConfigError(f"{path} cannot be read: {error.strerror}", subject=path) from error
    import yaml

    try:
        document = yaml.safe_load(text) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: it must be a mapping, as crictl config writes it")
    return {**document, "path": path}


def _text(file: Mapping[str, Any], name: str) -> str:
    value = file.get(name) or ""
    if not isinstance(value, str):
        raise ConfigError(f"{file['path']}: {name} must be a text")
    return value


def _seconds(file: Mapping[str, Any]) -> float | None:
    value = file.get("timeout") or 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{file['path']}: timeout must be a whole number of seconds")
    return float(value) or None
