"""The engine as the rest of the service sees it: its endpoints, its health, and its last answers to
``/info`` and ``/version``.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio.to_thread

from asupervisor.conditions import Reason
from asupervisor.engine.containers import ContainersApi
from asupervisor.engine.endpoint import diagnose, oom_score_floor
from asupervisor.engine.health import EngineHealth
from asupervisor.engine.images import ImagesApi
from asupervisor.engine.session import Document, EngineObserver, EngineSession
from asupervisor.engine.streams import StreamsApi
from asupervisor.engine.system import SystemApi
from asupervisor.oci import RUNTIME
from asupervisor.translate.documents import text
from asupervisor.translate.engine_facts import EngineFacts
from asupervisor.translate.images import uses_containerd_store


class EngineClient:
    """One engine. The constructor connects to nothing; :meth:`open` and :meth:`close` bracket its
    use.

    Attributes:
        containers, images, streams, system: the endpoints.
        health: whether it can be used now.
        info, version: the engine's last ``/info`` and ``/version`` answers; empty before the first.
        oom_floor: the lowest oom_score_adj that it can give, None for no limit.
    """

    def __init__(
        self,
        endpoint: str,
        timeout_s: float = 120.0,
        observer: EngineObserver = lambda operation, seconds, error: None,
        diagnose: Callable[[str], tuple[Reason, str]] = diagnose,
    ) -> None:
        self.endpoint = endpoint
        self.health = EngineHealth()
        self.session = EngineSession(endpoint, self.health, timeout_s, observer, diagnose)
        self.containers = ContainersApi(self.session)
        self.images = ImagesApi(self.session)
        self.streams = StreamsApi(self.session)
        self.system = SystemApi(self.session)
        self.info: Document = {}
        self.version: Document = {}
        self.oom_floor: int | None = None

    async def open(self) -> None:
        """Make the connection pool."""
        await self.session.open()

    async def close(self) -> None:
        """Close the connection pool."""
        await self.session.close()

    async def identify(self, timeout_s: float) -> None:
        """Ask version and info, choose the API version, notice what this engine cannot do.

        Args:
            timeout_s: deadline in seconds for each of the two questions.
        """
        self.version = await self.system.version(timeout_s)
        self.session.negotiate(self.version)
        self.info = await self.system.info(timeout_s, while_down=True)
        self.oom_floor = await anyio.to_thread.run_sync(oom_score_floor, self.endpoint)

    @property
    def api_version(self) -> tuple[int, int]:
        """The negotiated API version."""
        return self.session.api_version

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Names of the OCI runtimes that the engine has: the CRI's runtime handlers. Without the
        runtime that this service adds for the settings of plugins, which no pod may ask for.
        """
        return tuple(sorted({*(self.info.get("Runtimes") or {})} - {RUNTIME}))

    def has_security(self, name: str) -> bool:
        """Whether the engine confines containers by ``selinux``, ``apparmor``, ``seccomp``, …."""
        return name in self._security

    def facts(self, runtime_annotations: tuple[str, ...] = ()) -> EngineFacts:
        """What plans depend on.

        Args:
            runtime_annotations: keys of annotations that the operator lets through.
        """
        return EngineFacts(
            api_version=self.api_version,
            cgroup_driver=self.cgroup_driver,
            default_runtime=text(self.info, "DefaultRuntime"),
            security=self._security,
            oom_floor=self.oom_floor,
            runtime_annotations=runtime_annotations,
        )

    @property
    def _security(self) -> frozenset[str]:
        """The names of ``/info`` SecurityOptions."""
        return frozenset(
            option.split(",")[0].removeprefix("name=")
            for option in self.info.get("SecurityOptions") or []
        )

    @property
    def containerd_store(self) -> bool:
        """Whether the engine keeps its images in containerd."""
        return uses_containerd_store(self.info)

    @property
    def cgroup_driver(self) -> str:
        """``cgroupfs`` or ``systemd``; empty before the engine was asked."""
        return str(self.info.get("CgroupDriver", ""))

    @property
    def firewall(self) -> str:
        """What the engine makes its rules with: ``iptables``, ``nftables``, either with
        ``+firewalld``; empty before the engine was asked, and before API 1.49.
        """
        return text(self.info, "FirewallBackend", "Driver")
