"""kubelet's configuration file, for the fields that it shares with this service."""

from __future__ import annotations

from typing import Any

from asupervisor.errors import ConfigError
from asupervisor.host.beneath import read_followed

_LONGEST_BYTES = 1 << 20


def read_kubelet_configuration(path: str) -> dict[str, Any]:
    """A ``KubeletConfiguration`` (kubelet.config.k8s.io/v1beta1), as YAML or JSON.

    Args:
        path: of the file; links are followed.

    Raises:
        OSError: it cannot be read, or is larger than 1 MiB.
        ConfigError: it is something else.
    """
    import yaml

    try:
        document = yaml.safe_load(read_followed(path, _LONGEST_BYTES).decode())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or document.get("kind") != "KubeletConfiguration":
        raise ConfigError(f"{path} is not a KubeletConfiguration")
    return document
