"""Puts the files in place, removes them, and tells systemd.

Neither ends a pod: the service leaves its pods running when it stops."""

from __future__ import annotations

import grp
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from asupervisor.errors import ConfigError, FailedPrecondition, PermissionDenied
from asupervisor.host.atomic import write_file
from asupervisor.host.program import run_program
from asupervisor.installation.files import UNITS, File

_PACKAGED_UNITS = ("/usr/lib/systemd/system", "/lib/systemd/system")
_RUNS_SYSTEMD = "/run/systemd/system"
_GROUP = "docker"
"""The group of the socket unit; a machine without an engine does not have it yet."""


class Machine:
    """The machine on which the service is installed.

    Args:
        root: ``/``, or a directory with another machine's files; then nothing is started.
        deadline_s: seconds for each command of systemd.

    Raises:
        ConfigError: the directory is not absolute.
    """

    def __init__(self, root: str, deadline_s: float) -> None:
        if not os.path.isabs(root):
            raise ConfigError(f"--root {root} is not an absolute path")
        self.root = Path(root)
        self._live = self.root == Path("/")
        self._deadline_s = deadline_s

    def check(self) -> None:
        """Check that the service can be installed here.

        Raises:
            FailedPrecondition: systemd does not run here, or a package brings the service.
            PermissionDenied: we are not root.
        """
        if self._live and not os.path.isdir(_RUNS_SYSTEMD):
            raise FailedPrecondition(
                f"systemd does not run on this machine ({_RUNS_SYSTEMD} is not there): have its own"
                " supervisor run asupervisor in the foreground, or give --root"
            )
        if self._live and os.geteuid() != 0:
            raise PermissionDenied("only root can install a service; run this as root")
        for directory in _PACKAGED_UNITS:
            found = self._at(f"{directory}/{UNITS[1]}")
            if found.exists():
                raise FailedPrecondition(
                    f"{found} is there: a package of the distribution brings the service; use that,"
                    " or remove it first (apt remove asupervisor)"
                )

    async def install(self, files: Sequence[File]) -> list[str]:
        """Put the files in place, enable the units, and start or restart the service.

        Returns:
            What was done, a line each.

        Raises:
            FailedPrecondition: see :meth:`check`; or systemd refused.
            PermissionDenied: see :meth:`check`; or a file cannot be written.
        """
        self.check()
        done = [line for file in files for line in self._lay_down(file)]
        if self._live:
            await self._have_group()
            await self._systemctl("daemon-reload")
        await self._systemctl("enable", *UNITS)
        done.append(f"enabled {' and '.join(UNITS)}")
        if self._live:
            await self._systemctl("start", UNITS[0])
            await self._systemctl("restart", UNITS[1])
            done.append("started; systemctl status asupervisor shows it")
        return done

    async def uninstall(self, files: Sequence[File]) -> list[str]:
        """Stop and disable the units and remove the files; settings that were edited stay.

        Returns:
            What was done, a line each.

        Raises:
            FailedPrecondition: see :meth:`check`; or systemd refused.
            PermissionDenied: see :meth:`check`; or a file cannot be removed.
        """
        self.check()
        present = [file for file in files if self._at(file.path).is_file()]
        units = [name for name in UNITS if any(file.path.endswith(name) for file in present)]
        done = []
        if units:
            await self._systemctl("disable", *(["--now"] if self._live else []), *units)
            done.append(f"stopped and disabled {' and '.join(units)}; pods keep running")
        done += [line for file in present for line in self._remove(file)]
        if units and self._live:
            await self._systemctl("daemon-reload")
        return done or ["there is nothing to remove"]

    def _lay_down(self, file: File) -> Iterator[str]:
        path = self._at(file.path)
        try:
            before = path.read_bytes() if path.exists() else None
            if before == file.text.encode():
                return
            if before is not None and file.edited:
                yield f"left {path} as it is"
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, file.text.encode(), mode=0o644)
        except OSError as error:
            raise PermissionDenied(f"{path} cannot be written: {error.strerror}") from error
        yield f"wrote {path}"

    def _remove(self, file: File) -> Iterator[str]:
        path = self._at(file.path)
        try:
            if file.edited and path.read_bytes() != file.text.encode():
                yield f"left {path}, which was edited"
                return
            path.unlink()
        except OSError as error:
            raise PermissionDenied(f"{path} cannot be removed: {error.strerror}") from error
        yield f"removed {path}"

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    async def _have_group(self) -> None:
        try:
            grp.getgrnam(_GROUP)
        except KeyError:
            await self._run("groupadd", "--system", _GROUP)

    async def _systemctl(self, *words: str) -> None:
        await self._run("systemctl", *([] if self._live else [f"--root={self.root}"]), *words)

    async def _run(self, *command: str) -> None:
        # A PATH from su without a login has no sbin.
        environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
        finished = await run_program(
            ["/usr/bin/env", *command], environment=environment, deadline_s=self._deadline_s
        )
        if finished.returncode != 0:
            said = finished.stderr.decode(errors="replace").strip()
            raise FailedPrecondition(
                f"{' '.join(command)} failed ({finished.returncode}): {said}", subject=command[0]
            )
