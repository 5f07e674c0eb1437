"""Which start of a sandbox's process its network was made for.

A network plugin works on a namespace, and that ends with the process. A restart of the
sandbox container with ``docker`` gives a process in a new namespace with nothing but ``lo``: such a
sandbox is not ready, whatever was set up for it before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from asupervisor.host.processes import network_namespace
from asupervisor.translate.checkpoint import Checkpoint

MADE_FOR = "network_made_for"
"""In this service's part of the checkpoint: the start time, as the engine writes it, of the process
that the network was made for.
"""
RELEASING = "network_releasing"
"""In this service's part of the checkpoint: the release of the network has begun, and what is left
of it is not known.
"""
RELEASED = "network_released"
"""In this service's part of the checkpoint: the network was torn down."""
_IN_EVERY_NAMESPACE = frozenset(
    {
        "lo",
        "tunl0",
        "sit0",
        "ip6tnl0",
        "ip6gre0",
        "gre0",
        "gretap0",
        "erspan0",
        "ip_vti0",
        "ip6_vti0",
    }
)
"""Interfaces that the kernel makes itself, the tunnels where their modules are loaded."""


class SandboxNetworks:
    """Decides whether a sandbox still has the network that was made for it.

    Args:
        local: whether the engine's containers run on this machine.
    """

    def __init__(self, local: bool) -> None:
        self._local = local
        self._first_seen: dict[str, str] = {}
        self._ending: set[str] = set()

    def lost(self, document: dict[str, Any], checkpoint: Checkpoint | None) -> bool:
        """Whether a sandbox that runs has lost its network.

        Of a peer's sandbox it is not recorded which start its network was made for. When it is
        first seen, its network counts as intact if its namespace has an interface; the start that
        it has then is remembered.

        Args:
            document: its inspect document.
            checkpoint: what was kept of it.
        """
        state, any_id = document["State"], str(document["Id"])
        # Under the no-op plugin the engine connects the sandbox at each start itself.
        plugged = document["HostConfig"].get("NetworkMode") == "none"
        if not plugged or not state.get("Running"):
            return False
        started = str(state.get("StartedAt") or "")
        if checkpoint is not None:
            if checkpoint.extra.get(RELEASED) or checkpoint.extra.get(RELEASING):
                return True
            if not checkpoint.complete:
                return False
            if MADE_FOR in checkpoint.extra:
                return bool(checkpoint.extra[MADE_FOR] != started)
        if any_id not in self._first_seen:
            bare = self._local and _is_bare(int(state.get("Pid") or 0), any_id)
            self._first_seen[any_id] = "" if bare else started
        return self._first_seen[any_id] != started

    def is_ending(self, document: dict[str, Any], checkpoint: Checkpoint | None) -> bool:
        """Whether a sandbox has lost its network to StopPodSandbox, which ends its process too.

        Args:
            document: its inspect document.
            checkpoint: what was kept of it.
        """
        if document["Id"] in self._ending:
            return True
        extra = checkpoint.extra if checkpoint is not None else {}
        started = str(document["State"].get("StartedAt") or "")
        return bool(extra.get(RELEASED)) and extra.get(MADE_FOR) == started

    def forget(self, sandbox_id: str) -> None:
        """A sandbox is gone."""
        self._first_seen.pop(sandbox_id, None)
        self._ending.discard(sandbox_id)

    def ending(self, sandbox_id: str) -> None:
        """A sandbox is being stopped: its network goes while its process may run."""
        self._ending.add(sandbox_id)


def _is_bare(pid: int, sandbox_id: str) -> bool:
    """Whether a sandbox has only the interfaces of every namespace; False where that cannot be
    seen.
    """
    namespace = network_namespace(pid, sandbox_id)
    if not namespace:
        return False
    try:
        # A process in the namespace may have named an interface by any bytes.
        lines = Path(namespace).parents[1].joinpath("net/dev").read_bytes().split(b"\n")[2:-1]
    except OSError:
        return False
    names = {os.fsdecode(line.partition(b":")[0].strip()) for line in lines}
    return bool(names) and names <= _IN_EVERY_NAMESPACE
