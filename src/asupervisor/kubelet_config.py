"""kubelet's configuration, for the fields that it shares with this service: a file, and a directory
of drop-ins over it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

from asupervisor.errors import ConfigError
from asupervisor.host.beneath import read_followed

_LONGEST_BYTES = 1 << 20
_MOST_FILES = 256
_DROP_IN = ".conf"


def read_kubelet_configuration(path: str, directory: str = "") -> dict[str, Any]:
    """A ``KubeletConfiguration`` (kubelet.config.k8s.io/v1beta1), as YAML or JSON.

    Drop-ins are read as kubelet does it (``--config-dir``): files ``*.conf`` in the order of their
    names, each laid over what was read before. A field that is an object is laid over field by
    field, any other is replaced.

    Args:
        path: of the file; links are followed. Empty: there is none.
        directory: of the drop-ins; empty: there are none.

    Raises:
        OSError: one of them cannot be read, or is larger than 1 MiB.
        ConfigError: one is not a KubeletConfiguration.
    """
    document = _read(path) if path else {}
    for file in islice(_drop_ins(directory), _MOST_FILES) if directory else ():
        document = _laid_over(document, _read(file))
    return document


def _read(path: str) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(read_followed(path, _LONGEST_BYTES).decode())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or document.get("kind") != "KubeletConfiguration":
        raise ConfigError(f"{path} is not a KubeletConfiguration")
    return document


def _drop_ins(directory: str) -> Iterator[str]:
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _drop_ins(entry.path)
        elif entry.name.endswith(_DROP_IN):
            yield entry.path


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _laid_over(below[name], value)
        for name, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(name), dict)
    }
    return {**below, **above, **both}
