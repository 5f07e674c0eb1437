"""The node's iptables: finds which of its two backends is used, and makes changes as a whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass

from asupervisor.errors import FailedPrecondition, Internal
from asupervisor.host.program import run_program

_DEADLINE_S = 30.0
_LOCK_WAIT_S = 5
_SEARCH = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"))
_HINTS = (":KUBE-IPTABLES-HINT ", ":KUBE-KUBELET-CANARY ")
"""Chains that kubelet makes in the mangle table to show the backend (KEP 3178)."""


@dataclass(frozen=True, slots=True)
class _Command:
    restore: str
    save: str


class Iptables:
    """iptables and ip6tables of one backend.

    Args:
        backend: ``nft`` or ``legacy``; empty means the one in which kubelet left its hint, else the
            node's default.
    """

    def __init__(self, backend: str = "") -> None:
        self.backend = backend
        self._commands: dict[int, _Command] = {}

    async def detect(self, families: Collection[int]) -> None:
        """Settle on a backend.

        Args:
            families: 4, 6 or both: those that will be asked for.

        Raises:
            FailedPrecondition: the node has no iptables of one of the families.
        """
        backend = self.backend
        if not backend:
            for candidate in ("nft", "legacy"):
                save = _which(f"iptables-{candidate}-save")
                if save is not None and await _has_hint(save):
                    backend = candidate
                    break
        infix = f"-{backend}" if backend else ""
        for family, program in ((4, "iptables"), (6, "ip6tables")):
            restore, save = _which(f"{program}{infix}-restore"), _which(f"{program}{infix}-save")
            if family not in families:
                continue
            if restore is None or save is None:
                raise FailedPrecondition(
                    f"{program}{infix}-restore or {program}{infix}-save is missing; install"
                    " iptables"
                )
            self._commands[family] = _Command(restore, save)
        self.backend = backend

    async def save(self, family: int) -> dict[str, list[str]]:
        """The present rules of family 4 or 6.

        Returns:
            For each table, the lines of ``iptables-save``: ``:CHAIN policy`` and ``-A CHAIN …``.

        Raises:
            ServiceError: iptables fails.
        """
        tables: dict[str, list[str]] = {}
        lines: list[str] = []
        for line in (await _run([self._commands[family].save])).splitlines():
            if line.startswith("*"):
                lines = tables.setdefault(line[1:].strip(), [])
            elif line.startswith((":", "-A ")):
                lines.append(line)
        return tables

    async def restore(self, family: int, text: str) -> None:
        """Apply a change to each of its tables, wholly or not at all. What the text does not name
        stays as it is.

        Args:
            family: 4 or 6.
            text: input of ``iptables-restore --noflush``; a chain that it declares is emptied
                first.

        Raises:
            ServiceError: iptables refuses; the message has what it says.
        """
        command = [self._commands[family].restore, "-w", str(_LOCK_WAIT_S), "--noflush"]
        await _run(command, text.encode())


async def _run(command: list[str], stdin: bytes = b"") -> str:
    finished = await run_program(command, stdin=stdin, deadline_s=_DEADLINE_S)
    if finished.returncode != 0:
        raise Internal(
            f"{command[0]} exited with status {finished.returncode}:"
            f" {finished.stderr.decode(errors='replace').strip()}"
        )
    return finished.stdout.decode(errors="replace")


async def _has_hint(save: str) -> bool:
    finished = await run_program([save, "-t", "mangle"], deadline_s=_DEADLINE_S)
    return any(
        line.startswith(_HINTS) for line in finished.stdout.decode(errors="replace").splitlines()
    )


def _which(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_SEARCH)
