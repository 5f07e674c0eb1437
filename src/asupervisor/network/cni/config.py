"""Network configurations: what the operator (or the network's own installer) puts into the
configuration directory.

Source: CNI specification 1.1, section 1. A ``.conflist`` file holds a chain of plugins, a ``.conf``
or ``.json`` file one plugin; both become a :class:`NetworkList`. Every error names the file and the
field."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asupervisor.errors import FailedPrecondition
from asupervisor.host.beneath import read_followed

SUPPORTED_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""Of the specification, oldest first. A configuration without a version is 0.1.0."""

EXTENSIONS = (".conf", ".conflist", ".json")

_LONGEST_BYTES = 1 << 20
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")


class InvalidNetworkConfig(FailedPrecondition):
    """A network configuration that cannot be used; the message names the file, the field and what
    is wrong with it.
    """


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """One plugin of a chain.

    Args:
        type: name of its binary.
        document: the whole configuration object, unknown keys and all.
    """

    type: str
    document: Mapping[str, Any]

    @property
    def capabilities(self) -> frozenset[str]:
        """The capability arguments that this plugin wants in ``runtimeConfig``."""
        declared = self.document.get("capabilities")
        return (
            frozenset(key for key, wanted in declared.items() if wanted is True)
            if isinstance(declared, dict)
            else frozenset()
        )

    @property
    def uses_iptables(self) -> bool:
        """Whether it is one of the CNI project's plugins and makes rules with iptables, which is
        what they do unless their configuration says otherwise (their documentation: ``ipMasq`` and
        ``ipMasqBackend``, ``backend``). Of other plugins that is not known.
        """
        if self.type in ("bridge", "ptp"):
            masquerades = self.document.get("ipMasq") is True
            return masquerades and self.document.get("ipMasqBackend") != "nftables"
        if self.type in ("portmap", "firewall"):
            return self.document.get("backend") in (None, "", "iptables")
        return False


@dataclass(frozen=True, slots=True)
class NetworkList:
    """A network: a name, a version of the specification, and a chain of at least one plugin.

    Args:
        name: of the network.
        version: the specification version to speak with its plugins, one of
            :data:`SUPPORTED_VERSIONS`.
        plugins: in the order of ADD.
        source: the text of the list, as it is kept in the result cache.
        path: the file it came from, for messages.
        disable_check: never call CHECK.
        disable_gc: never call GC.
    """

    name: str
    version: str
    plugins: tuple[PluginConfig, ...]
    source: bytes
    path: str = ""
    disable_check: bool = False
    disable_gc: bool = False

    @property
    def capabilities(self) -> frozenset[str]:
        """Every capability that some plugin of the chain wants."""
        return frozenset().union(*(plugin.capabilities for plugin in self.plugins))

    def speaks(self, version: str) -> bool:
        """Whether the list's version is at least ``version``."""
        return SUPPORTED_VERSIONS.index(self.version) >= SUPPORTED_VERSIONS.index(version)


def config_files(directory: str) -> list[str]:
    """The paths of the configuration files in a directory, in the order in which they count.

    Raises:
        InvalidNetworkConfig: the directory exists and cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            names = [
                entry.name
                for entry in entries
                if os.path.splitext(entry.name)[1] in EXTENSIONS and not entry.is_dir()
            ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidNetworkConfig(f"{directory}: {error.strerror}") from error
    return [os.path.join(directory, name) for name in sorted(names)]


def load_file(path: str) -> NetworkList:
    """Read one configuration file, with the plugins of the folder named like the network where the
    list allows them.

    Raises:
        InvalidNetworkConfig: it cannot be read or used.
    """
    source = _read(path)
    document = _decode(source, path)
    if path.endswith(".conflist"):
        extra = _folder_plugins(document, path)
        if extra:  # the cached text must be whole
            listed = document.get("plugins", [])
            everything = (
                [*listed, *(plugin.document for plugin in extra)]
                if isinstance(listed, list)
                else listed
            )
            document = {**document, "plugins": everything, "loadOnlyInlinedPlugins": True}
            source = json.dumps(document).encode()
        return parse_list(document, source, path)
    if "type" not in document and "plugins" in document:
        raise InvalidNetworkConfig(
            f'{path}: no "type", but "plugins": a list of plugins belongs into a .conflist file'
        )
    plugin = _plugin(document, path, "")
    wrapped = {
        "cniVersion": document.get("cniVersion", ""),
        "name": document.get("name"),
        "plugins": [plugin.document],
    }
    return parse_list(wrapped, json.dumps(wrapped).encode(), path)


def load_bytes(source: bytes, origin: str) -> NetworkList:
    """Read a list from memory, such as the result cache keeps it.

    Args:
        source: JSON text.
        origin: where it was found, for messages.

    Raises:
        InvalidNetworkConfig: it cannot be used.
    """
    document = _decode(source, origin)
    if "plugins" not in document and "type" in document:  # libcni caches a lone plugin as it stands
        document = {
            "cniVersion": document.get("cniVersion", ""),
            "name": document.get("name"),
            "plugins": [document],
        }
    return parse_list(document, source, origin)


def parse_list(document: Mapping[str, Any], source: bytes, path: str) -> NetworkList:
    """Check a decoded list.

    Args:
        document: the list as an object.
        source: its text.
        path: where it came from, for messages.

    Raises:
        InvalidNetworkConfig: the message names the path and the field.
    """
    name = document.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidNetworkConfig(f'{path}: "name" is missing or no text')
    if not _NAME.fullmatch(name):
        raise InvalidNetworkConfig(
            f'{path}: "name": "{name}" must start with a letter or digit and go on with those, "_",'
            ' "." or "-"'
        )
    plugins: list[PluginConfig] = []
    listed = document.get("plugins", [])
    if not isinstance(listed, list):
        raise InvalidNetworkConfig(f'{path}: "plugins" is not a list')
    for index, entry in enumerate(listed):
        if not isinstance(entry, dict):
            raise InvalidNetworkConfig(f'{path}: "plugins[{index}]" is not an object')
        plugins.append(_plugin(entry, path, f"plugins[{index}]."))
    if "plugins" not in document and _flag(document, "loadOnlyInlinedPlugins", path):
        raise InvalidNetworkConfig(
            f'{path}: "loadOnlyInlinedPlugins" is true and there is no "plugins"'
        )
    if not plugins:
        raise InvalidNetworkConfig(f'{path}: "plugins" is missing or empty')
    return NetworkList(
        name=name,
        version=_version(document, path),
        plugins=tuple(plugins),
        source=source,
        path=path,
        disable_check=_flag(document, "disableCheck", path),
        disable_gc=_flag(document, "disableGC", path),
    )


def find_binary(plugin_type: str, directories: Sequence[str]) -> str | None:
    """The path of a plugin's binary: the first regular file of that name in the directories."""
    for directory in directories:
        path = os.path.join(directory, plugin_type)
        if os.path.isfile(path):
            return path
    return None


def missing_binaries(network: NetworkList, directories: Sequence[str]) -> list[str]:
    """One sentence for each plugin of the list whose binary is in none of the directories.

    The plugins that a plugin calls itself, such as one for addresses, are not checked, as in
    libcni.
    """
    missing = []
    where = ", ".join(directories) or "no directory at all"
    for index, plugin in enumerate(network.plugins):
        if find_binary(plugin.type, directories) is None:
            missing.append(
                f'{network.path}: "plugins[{index}].type": there is no plugin "{plugin.type}" in'
                f" {where}"
            )
    return missing


def _read(path: str) -> bytes:
    try:
        return read_followed(path, _LONGEST_BYTES)
    except OSError as error:
        raise InvalidNetworkConfig(f"{path}: {error.strerror}") from error


def _decode(source: bytes, path: str) -> dict[str, Any]:
    try:
        document = json.loads(source)
    except json.JSONDecodeError as error:
        raise InvalidNetworkConfig(
            f"{path}: invalid JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, a number too long, too deep
        raise InvalidNetworkConfig(f"{path}: no JSON text ({error})") from error
    if not isinstance(document, dict):
        raise InvalidNetworkConfig(f"{path}: no JSON object")
    return document


def _plugin(document: Mapping[str, Any], path: str, prefix: str) -> PluginConfig:
    kind = document.get("type")
    if not isinstance(kind, str) or not kind:
        raise InvalidNetworkConfig(f'{path}: "{prefix}type" is missing or no text')
    if "/" in kind or "\\" in kind or kind in (".", ".."):
        raise InvalidNetworkConfig(f'{path}: "{prefix}type": "{kind}" is not a file name')
    if not isinstance(document.get("capabilities", {}), dict):
        raise InvalidNetworkConfig(f'{path}: "{prefix}capabilities" is not an object')
    return PluginConfig(kind, document)


def _folder_plugins(document: Mapping[str, Any], path: str) -> list[PluginConfig]:
    """The plugins in ``<directory>/<network name>/*.conf`` (specification 1.1)."""
    name = document.get("name")
    if (
        not isinstance(name, str)
        or not _NAME.fullmatch(name)
        or _flag(document, "loadOnlyInlinedPlugins", path)
    ):
        return []
    plugins = []
    for file in config_files(os.path.join(os.path.dirname(path), name)):
        if file.endswith(".conf"):
            plugins.append(_plugin(_decode(_read(file), file), file, ""))
    return plugins


def _flag(document: Mapping[str, Any], key: str, path: str) -> bool:
    value = document.get(key, False)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise InvalidNetworkConfig(f'{path}: "{key}" is neither true nor false')
    return value


def _version(document: Mapping[str, Any], path: str) -> str:
    """The newest version that the list offers and we speak."""
    single = document.get("cniVersion", "")
    several = document.get("cniVersions", [])
    if not isinstance(single, str):
        raise InvalidNetworkConfig(f'{path}: "cniVersion" is not text')
    if not isinstance(several, list) or not all(isinstance(version, str) for version in several):
        raise InvalidNetworkConfig(f'{path}: "cniVersions" is not a list of texts')
    offered = [*several, single] if single else list(several)
    if not offered:
        return SUPPORTED_VERSIONS[0]
    spoken = [version for version in SUPPORTED_VERSIONS if version in offered]
    if not spoken:
        field = "cniVersions" if several else "cniVersion"
        raise InvalidNetworkConfig(
            f'{path}: "{field}": none of {", ".join(offered)} is supported'
            f" ({', '.join(SUPPORTED_VERSIONS)} are)"
        )
    return spoken[-1]
