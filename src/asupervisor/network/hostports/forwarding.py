"""Host ports of kubenet's pods: keeps claims, sockets and iptables rules consistent."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Mapping, Sequence

import anyio

from asupervisor.errors import FailedPrecondition, ServiceError
from asupervisor.host.program import run_program
from asupervisor.network.hostports.claims import HostPortClaims
from asupervisor.network.hostports.iptables import Iptables
from asupervisor.network.hostports.rules import (
    Layout,
    Published,
    chain_name,
    intact,
    restore_text,
    restored,
)
from asupervisor.network.hostports.sockets import HostPortSockets
from asupervisor.network.plugin import PodNetwork

log = logging.getLogger(__name__)

_CONNTRACK_DEADLINE_S = 5.0


class HostPortForwarding:
    """Leads the node's ports to pods and masquerades what pods send, in one change for each address
    family.

    Args:
        iptables: the node's.
    """

    def __init__(self, iptables: Iptables) -> None:
        self._iptables = iptables
        self._claims = HostPortClaims()
        self._sockets = HostPortSockets()
        self._published: dict[str, Published] = {}
        self._layout: Layout | None = None
        self._withdrawn: set[str] = set()
        self._rebuilt = False
        self._tables: dict[int, dict[str, list[str]]] = {}
        self._lock = anyio.Lock()
        self._wanted = 0
        self._applied = 0

    @property
    def families(self) -> frozenset[int]:
        """4, 6 or both: those of the pod CIDR."""
        return (
            frozenset(subnet.version for subnet in self._layout.subnets)
            if self._layout
            else frozenset()
        )

    async def lay_out(self, layout: Layout) -> None:
        """Write the rules that do not depend on pods. Host ports of pods unknown so far stay until
        :meth:`rebuild`.

        Raises:
            ServiceError: iptables fails.
        """
        await self._iptables.detect({subnet.version for subnet in layout.subnets})
        self._layout = layout
        self._tables.clear()
        await self._change()

    def check(self, pod: PodNetwork) -> None:
        """Refuse a pod whose host ports another pod or process has.

        Raises:
            FailedPrecondition: the message names the port and who has it.
        """
        self._claims.check(pod)
        self._sockets.probe(pod, self.families)

    def take(self, pod: PodNetwork) -> None:
        """Take a pod's host ports before anything is created for it.

        Raises:
            FailedPrecondition: as :meth:`check`; nothing is taken then.
        """
        self._claims.claim(pod)
        try:
            self._sockets.hold(pod, self.families)
        except FailedPrecondition:
            self._claims.release(pod.sandbox_id)
            raise

    async def publish(self, pod: PodNetwork, addresses: tuple[str, ...]) -> None:
        """Lead a pod's host ports to its addresses.

        Raises:
            ServiceError: iptables fails; :meth:`withdraw` undoes what there is.
        """
        if pod.port_mappings:
            self._published[pod.sandbox_id] = Published(pod, addresses)
            await self._change()
            await self._forget_udp(pod)

    async def withdraw(self, sandbox_id: str) -> None:
        """Take a pod's host ports back; repeatable.

        Raises:
            ServiceError: iptables fails; nothing is given back then.
        """
        entry = self._published.pop(sandbox_id, None)
        if entry is not None:
            self._withdrawn.update(
                chain_name(sandbox_id, mapping) for mapping in entry.pod.port_mappings
            )
            try:
                await self._change()
            except ServiceError:
                self._published[sandbox_id] = entry
                raise
            await self._forget_udp(entry.pod)
        self._sockets.release(sandbox_id)
        self._claims.release(sandbox_id)

    async def rebuild(self, living: Mapping[str, Published]) -> None:
        """Make the host ports those of the living pods and of those set up by this process; remove
        all others'.

        Args:
            living: by sandbox id.

        Raises:
            ServiceError: iptables fails.
        """
        for sandbox_id, entry in living.items():
            if not entry.pod.port_mappings or sandbox_id in self._published:
                continue
            try:
                self.take(entry.pod)
            except FailedPrecondition as error:  # it is alive, so it keeps its rules
                log.warning("%s", error)
            self._published[sandbox_id] = entry
        self._rebuilt = True
        self._tables.clear()
        await self._change()

    async def repair(self) -> None:
        """Write the rules again if they were flushed.

        Raises:
            ServiceError: iptables fails.
        """
        flushed = False
        async with self._lock:
            if self._layout is None:
                return
            entries = list(self._published.values())
            for family in sorted(self.families):
                flushed = flushed or not intact(family, entries, await self._iptables.save(family))
            # A change waits for the lock, or failed: both write everything.
            behind = self._wanted != self._applied
        if flushed and not behind:
            log.warning("iptables rules of pods were missing; they are written again")
        if flushed or behind:
            self._tables.clear()
            await self._change()

    def close(self) -> None:
        """Close the sockets; the rules stay for the pods that go on."""
        self._sockets.close()

    async def _change(self) -> None:
        """Bring the kernel's rules to the present state; changes that come together become one."""
        self._wanted += 1
        mine = self._wanted
        async with self._lock:
            if self._applied >= mine or self._layout is None:
                return
            covers, withdrawn = self._wanted, frozenset(self._withdrawn)
            failures: list[ServiceError] = []
            async with anyio.create_task_group() as group:
                for family in self.families:
                    group.start_soon(self._write, family, withdrawn, failures)
            if failures:
                raise failures[0]
            self._applied = covers
            self._withdrawn -= withdrawn

    async def _write(
        self, family: int, withdrawn: Collection[str], failures: list[ServiceError]
    ) -> None:
        """Restore one family. The tables are read once, then remembered; when a restore fails,
        they were changed meanwhile: read again.
        """
        layout, entries, rebuilt = self._layout, list(self._published.values()), self._rebuilt
        assert layout is not None

        async def write(present: Mapping[str, Sequence[str]]) -> None:
            text = restore_text(
                family,
                layout,
                entries,
                present,
                removable=lambda chain: rebuilt or chain in withdrawn,
            )
            await self._iptables.restore(family, text)
            self._tables[family] = restored(present, text)

        remembered = self._tables.pop(family, None)
        if remembered is not None:
            try:
                await write(remembered)
                return
            except ServiceError as error:
                log.info("%s; reading the rules again", error)
        try:
            await write(await self._iptables.save(family))
        except ServiceError as error:
            failures.append(error)

    async def _forget_udp(self, pod: PodNetwork) -> None:
        """Have the kernel forget UDP flows to a pod's host ports: otherwise they go on to where
        they went before.
        """
        ports: Collection[int] = {
            mapping.host_port for mapping in pod.port_mappings if mapping.protocol == "udp"
        }
        conntrack = shutil.which("conntrack")
        if conntrack is None:
            return
        for port in ports:
            for family in self.families:
                command = [conntrack, "-D", "-f", f"ipv{family}", "-p", "udp", "--dport", str(port)]
                try:
                    await run_program(command, deadline_s=_CONNTRACK_DEADLINE_S)
                except ServiceError as error:
                    log.warning("%s", error)
