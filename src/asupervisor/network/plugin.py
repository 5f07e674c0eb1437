"""What every pod network must do: the interface that the dockershim knows.

A plugin is told everything by value and never calls back. It owns the addresses, host ports and
interfaces of every pod that it set up, from :meth:`NetworkPlugin.set_up` until a
:meth:`NetworkPlugin.tear_down` that succeeded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from anyio.abc import TaskStatus

from asupervisor.conditions import Holds, Reason
from asupervisor.host.netns import HeldNamespace

Gone = Callable[[str], bool]
"""Whether a sandbox, by its id, is known to be gone."""


@dataclass(frozen=True, slots=True)
class PortMapping:
    """One port of the host that leads to one port of a pod (CRI PortMapping).

    Args:
        protocol: ``tcp``, ``udp`` or ``sctp``.
        container_port: 1 to 65535.
        host_port: 1 to 65535; a mapping without one is not handed to a plugin.
        host_ip: the host address to listen on; empty means all of them.
    """

    protocol: str
    container_port: int
    host_port: int
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """A pod as its network sees it.

    Args:
        sandbox_id: the engine's id of the sandbox container, 64 hex digits.
        name: the pod's name.
        namespace: the pod's Kubernetes namespace.
        uid: the pod's uid.
        netns: path of its network namespace (``/proc/<pid>/ns/net``); empty when it is gone, as it
            may be on tear-down.
        held: the same namespace by a descriptor, which its owner keeps open while it waits; for a
            tear-down during which the processes of the namespace end.
        port_mappings: the host ports that it asked for.
        annotations: the pod's annotations, exactly as CRI gave them.
        dns_servers, dns_searches, dns_options: the pod's CRI DNSConfig.
    """

    sandbox_id: str
    name: str
    namespace: str
    uid: str
    netns: str = ""
    held: HeldNamespace | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    dns_servers: tuple[str, ...] = ()
    dns_searches: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """What RuntimeStatus' NetworkReady condition says.

    Args:
        ready: whether pods can be set up now.
        message: what is missing and what the operator may do; empty when ready.
    """

    ready: bool
    message: str = ""

    @property
    def condition(self) -> tuple[Reason | Holds, str]:
        """Reason and message; empty when ready."""
        return ("", "") if self.ready else (Reason.NETWORK_NOT_READY, self.message)


class NetworkPlugin(Protocol):
    """One pod network. Constructors do no I/O; :meth:`run` does all of it."""

    name: str
    """As ``--network-plugin`` names it."""
    engine_network_mode: str
    """The engine NetworkMode of a sandbox that is not on the host's network: ``none``, or
    ``default`` under no-op.
    """
    engine_publishes_ports: bool
    """Whether the engine publishes the host ports (no-op); then plugins do not see them."""

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Initialise, call ``task_status.started()``, then serve until cancelled."""

    def status(self) -> NetworkStatus:
        """The present state, from memory."""

    def check(self, pod: PodNetwork) -> None:
        """Refuse, before anything is created for it, what cannot be set up.

        Raises:
            FailedPrecondition: a host port is held by another pod; the message names both.
            Unavailable: the network is not ready; the message is that of :meth:`status`.
        """

    async def set_up(self, pod: PodNetwork) -> tuple[str, ...]:
        """Give the pod its network. All or nothing: what failed is undone, or stays known for a
        later tear-down.

        Returns:
            Every address of the pod, the primary one first, both families; empty where the engine
            gives them (no-op).

        Raises:
            ServiceError: with the plugin's own words.
        """

    async def tear_down(self, pod: PodNetwork) -> None:
        """Take away what :meth:`set_up` gave; repeatable; works with an empty ``netns``."""

    async def addresses(self, pod: PodNetwork) -> tuple[str, ...]:
        """Addresses of a pod that was set up by an earlier process; empty where not found."""

    async def update_pod_cidr(self, pod_cidr: str) -> None:
        """A pod CIDR from UpdateRuntimeConfig; the first one wins, later ones are logged."""

    def iptables_users(self) -> tuple[str, ...]:
        """What of it makes rules with iptables, by name; none as long as that is not known."""

    async def reconcile(self, living: Collection[PodNetwork], gone: Gone | None = None) -> None:
        """After start-up and after the engine came back: release what belongs to no living pod,
        rebuild what does.

        Args:
            living: the pods that live, and those of which it is not known.
            gone: asked again, under the pod's own lock, right before anything of it is released: a
                pod may have been set up since ``living`` was made. None stands for all that
                ``living`` does not name.
        """
