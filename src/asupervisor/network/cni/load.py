"""Which network configuration a node uses: the first valid one in its directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from asupervisor.errors import FailedPrecondition, ServiceError
from asupervisor.network.cni.chain import supported_versions
from asupervisor.network.cni.config import (
    EXTENSIONS,
    InvalidNetworkConfig,
    NetworkList,
    config_files,
    find_binary,
    load_file,
    missing_binaries,
)

log = logging.getLogger(__name__)

_VERSION_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a directory holds.

    Args:
        network: the first valid configuration; None where there is none.
        problems: one sentence for each configuration before it that cannot be used.
    """

    network: NetworkList | None
    problems: tuple[str, ...]


class Loader:
    """Reads a configuration directory, again and again; remembers which versions each binary
    speaks.

    Args:
        conf_dir: where the configurations are.
        bin_dirs: where the plugins are.
    """

    def __init__(self, conf_dir: str, bin_dirs: Sequence[str]) -> None:
        self._conf_dir = conf_dir
        self._bin_dirs = tuple(bin_dirs)
        self._versions: dict[tuple[str, int, int, int], tuple[str, ...] | None] = {}

    async def load(self) -> Loaded:
        """Look at the files in order and stop at the first valid one.

        A configuration is valid when it is well formed, its binaries exist and can be executed, and
        none of them says that it does not speak the configuration's version. A binary that answers
        VERSION wrongly is accepted; if it does not work, ADD fails."""
        problems: list[str] = []
        try:
            files = config_files(self._conf_dir)
        except InvalidNetworkConfig as error:
            return Loaded(None, (error.message,))
        if not files:
            return Loaded(None, (self._nothing(),))
        for path in files:
            try:
                network = load_file(path)
            except InvalidNetworkConfig as error:
                problems.append(error.message)
                continue
            wrong = missing_binaries(network, self._bin_dirs) or await self._unsupported(network)
            if not wrong:
                return Loaded(network, tuple(problems))
            problems.extend(wrong)
        return Loaded(None, tuple(problems))

    def _nothing(self) -> str:
        names = ", ".join(f"*{extension}" for extension in EXTENSIONS)
        there = "" if os.path.isdir(self._conf_dir) else " (there is no such directory)"
        return (
            f"no network configuration ({names}) in {self._conf_dir}{there}; install the cluster's"
            " network"
        )

    async def _unsupported(self, network: NetworkList) -> list[str]:
        wrong = []
        for index, plugin in enumerate(network.plugins):
            path = find_binary(plugin.type, self._bin_dirs)
            if path is None:
                continue  # removed since a moment ago: ADD will say so
            try:
                status = os.stat(path)
                key = (path, status.st_ino, status.st_mtime_ns, status.st_size)
                if key not in self._versions:
                    self._versions[key] = await self._ask(plugin.type, network.version)
                versions = self._versions[key]
            except (OSError, FailedPrecondition) as error:
                wrong.append(f'{network.path}: "plugins[{index}].type": {error}')
                continue
            if versions is not None and network.version not in versions:
                wrong.append(
                    f'{network.path}: "cniVersion": plugin "{plugin.type}" does not support'
                    f" {network.version}, only {', '.join(versions)}"
                )
        return wrong

    async def _ask(self, plugin_type: str, version: str) -> tuple[str, ...] | None:
        try:
            return await supported_versions(
                plugin_type, self._bin_dirs, version, _VERSION_DEADLINE_S
            )
        except FailedPrecondition as error:
            if error.__cause__ is not None:  # it cannot be executed at all
                raise
            log.warning("%s; used all the same", error)
        except ServiceError as error:
            log.warning("%s; used all the same", error)
        return None
