"""What ADD returned, kept on disk in libcni's format, so that a later DEL, ours or another
runtime's, can hand it back.

Files: ``<directory>/<network>-<container id>-<interface>``, JSON of kind ``cniCacheV1``, as libcni
writes them below ``<cache dir>/results``."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread

from asupervisor.errors import Internal
from asupervisor.host.atomic import write_file
from asupervisor.network.cni.execute import Attachment

log = logging.getLogger(__name__)

_KIND = "cniCacheV1"


@dataclass(frozen=True, slots=True)
class Cached:
    """One attachment as it is cached.

    Args:
        network: name of its network.
        attachment: the interface, with the arguments of its ADD.
        config: text of the network list at that time.
        result: what ADD returned; None while it has not.
    """

    network: str
    attachment: Attachment
    config: bytes
    result: Mapping[str, Any] | None


class ResultCache:
    """The cache files of one directory; made when the first one is written.

    Args:
        directory: where the files are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def write(self, cached: Cached) -> None:
        """Write one attachment's file, durably, whole or not at all.

        Raises:
            Internal: the file system refuses.
        """
        attachment = cached.attachment
        document: dict[str, Any] = {
            "kind": _KIND,
            "containerId": attachment.container_id,
            "config": base64.b64encode(cached.config).decode(),
            "ifName": attachment.interface,
            "networkName": cached.network,
        }
        if attachment.netns:
            document["netns"] = attachment.netns
        if attachment.arguments:
            document["cniArgs"] = [list(pair) for pair in attachment.arguments]
        if attachment.capability_arguments:
            document["capabilityArgs"] = dict(attachment.capability_arguments)
        if cached.result is not None:
            document["result"] = cached.result
        path = self._path(cached.network, attachment.container_id, attachment.interface)
        try:
            await anyio.to_thread.run_sync(
                self._write, path, json.dumps(document).encode(), attachment.container_id
            )
        except OSError as error:
            raise Internal(
                f"cannot write the CNI result {path}: {error.strerror}",
                subject=attachment.container_id,
            ) from error

    def _write(self, path: Path, content: bytes, container_id: str) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path, content, aside=self._aside(container_id))

    def find(self, container_id: str) -> list[Cached]:
        """Every cached attachment of a container, in any network."""
        return self._read(lambda name: f"-{container_id}-" in name, container_id)

    def everything(self) -> list[Cached]:
        """Every cached attachment. Files that cannot be read are logged and left alone."""
        return self._read(lambda name: True, None)

    def remove(self, network: str, container_id: str, interface: str) -> None:
        """Remove one attachment's file, if it is there, and the temporary file of a write
        that was killed.

        Raises:
            Internal: the file system refuses.
        """
        path = self._path(network, container_id, interface)
        for file in (path, self._aside(container_id)):
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise Internal(
                    f"cannot remove the CNI result {file}: {error.strerror}", subject=container_id
                ) from error

    def _path(self, network: str, container_id: str, interface: str) -> Path:
        return self._directory / f"{network}-{container_id}-{interface}"

    def _aside(self, container_id: str) -> Path:
        """Beside the directory of results, where libcni does not look."""
        return self._directory.parent / f".asupervisor-{container_id}"

    def _read(self, wanted: Callable[[str], bool], container_id: str | None) -> list[Cached]:
        try:
            names = sorted(
                name
                for name in os.listdir(self._directory)
                if not name.startswith(".") and wanted(name)
            )
        except FileNotFoundError:
            return []
        except OSError as error:
            log.error("cannot read the CNI results in %s: %s", self._directory, error.strerror)
            return []
        found = []
        for name in names:
            path = self._directory / name
            try:
                cached = _parse(json.loads(path.read_bytes()))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
                log.warning("the CNI result %s is not readable: %s", path, error)
                continue
            if container_id is None or cached.attachment.container_id == container_id:
                found.append(cached)
        return found


def _parse(document: Any) -> Cached:
    if not isinstance(document, dict) or document.get("kind") != _KIND:
        raise ValueError(f"not of kind {_KIND}")
    result = document.get("result")
    return Cached(
        network=str(document["networkName"]),
        attachment=Attachment(
            container_id=str(document["containerId"]),
            netns=str(document.get("netns", "")),
            interface=str(document["ifName"]),
            arguments=tuple((str(key), str(value)) for key, value in document.get("cniArgs") or ()),
            capability_arguments=dict(document.get("capabilityArgs") or {}),
        ),
        config=base64.b64decode(document.get("config") or b""),
        result=result if isinstance(result, dict) else None,
    )
