"""The runtime's script on disk, and the files of the containers that need it.

``<root>/oci/runtime`` is a shell script: a shell starts in a fraction of Python's time, and the
engine calls a runtime for each exec and signal too. ``<root>/oci/<id>`` exists as long as its
container, which the engine may start again. Its first line is the real runtime, so that a container
keeps its runtime when the engine gets another default."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio.to_thread

from asupervisor.errors import FailedPrecondition
from asupervisor.host.atomic import write_file
from asupervisor.oci import adjust

_logger = logging.getLogger(__name__)
_IS_ID = re.compile("[0-9a-f]{64}").fullmatch
_SCRIPT = """\
#!/bin/sh
# An OCI runtime that stands before the real one; asupervisor writes this file (docs/nri.md).
# No word of a tenant is among the arguments: commands are in files that the shim names.
runtime=runc create= file=
for word; do
  case $word in
  create) create=yes ;;
  *[!0-9a-f]* | '') ;;
  *) if [ -f {directory}/"$word" ]; then
    file={directory}/$word
    read -r runtime < "$file"
  fi ;;
  esac
done
[ "$create" ] || exec "$runtime" "$@"
exec {python} -I -S {adjust} "$file" "$@"
"""


def wrapper_path(root: str | Path) -> str:
    """The path of the script.

    Args:
        root: the service's root directory.
    """
    return str(Path(root).absolute() / "oci" / "runtime")


def install_wrapper(root: Path) -> OciFiles:
    """Write the script of this version of the service, and find the files of containers; blocks.

    Args:
        root: the service's root directory.

    Raises:
        FailedPrecondition: it cannot be written.
    """
    path = Path(wrapper_path(root))
    script = _SCRIPT.format(
        directory=shlex.quote(str(path.parent)),
        python=shlex.quote(sys.executable or "python3"),
        adjust=shlex.quote(os.path.abspath(adjust.__file__)),
    ).encode()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        if not path.exists() or path.read_bytes() != script:
            # Written by a rename, since the engine may be running it.
            write_file(path, script, mode=0o700)
        names = os.listdir(path.parent)
        for name in names:
            if name.startswith("."):  # left by a write that was interrupted
                (path.parent / name).unlink()
    except OSError as error:
        raise FailedPrecondition(
            f"--root-directory: {path.parent} cannot be used: {error}"
        ) from error
    return OciFiles(path, filter(_IS_ID, names))


class OciFiles:
    """The files of the containers.

    Args:
        path: of the script.
        ids: of the containers that have a file already.
    """

    def __init__(self, path: Path, ids: Iterable[str] = ()) -> None:
        self.path = str(path)
        self._directory = path.parent
        self._ids = set(ids)

    @property
    def ids(self) -> frozenset[str]:
        """The containers that have a file."""
        return frozenset(self._ids)

    async def write(self, container_id: str, runtime: str, change: dict[str, Any]) -> None:
        """Write what is to be changed in a container's document.

        Args:
            container_id: in full.
            runtime: name or path of the real runtime.
            change: see :func:`asupervisor.oci.adjust.merge`.

        Raises:
            FailedPrecondition: it cannot be written.
        """
        content = f"{runtime}\n{json.dumps(change)}\n".encode()
        self._ids.add(container_id)
        try:
            await anyio.to_thread.run_sync(write_file, self._directory / container_id, content)
        except OSError as error:
            raise FailedPrecondition(
                f"{self._directory / container_id} cannot be written: {error}", subject=container_id
            ) from error

    async def read(self, container_id: str) -> Any:
        """What :meth:`write` wrote for a container; empty if it wrote nothing, or the file cannot
        be read.
        """
        if container_id not in self._ids:
            return {}
        path = self._directory / container_id
        try:
            content = await anyio.to_thread.run_sync(path.read_bytes)
            return json.loads(content.partition(b"\n")[2])
        except (OSError, ValueError) as error:
            _logger.warning("%s cannot be read: %s", path, error)
            return {}

    async def remove(self, container_id: str) -> None:
        """Remove a container's file, if it has one. If that fails, it is logged, and tried again
        with the next sweep.
        """
        if container_id not in self._ids:
            return
        path = self._directory / container_id
        try:
            await anyio.to_thread.run_sync(lambda: path.unlink(missing_ok=True))
        except OSError as error:
            _logger.warning("%s, which is not needed any more, cannot be removed: %s", path, error)
            return
        self._ids.discard(container_id)
