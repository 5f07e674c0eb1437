"""What each verb gets: the other packages, each by its own interface. Verbs are functions, and no
state is kept for them here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from asupervisor.conditions import Conditions
from asupervisor.config import Config
from asupervisor.dockershim.container.outputs import OutputBudget
from asupervisor.dockershim.hooks import Hooks
from asupervisor.dockershim.image.files import ImageFiles
from asupervisor.dockershim.image.pause import PauseImage
from asupervisor.dockershim.image.pulls import Pulls
from asupervisor.dockershim.operations import Operations
from asupervisor.engine.client import EngineClient
from asupervisor.host.cdi import CdiFiles
from asupervisor.host.lanes import Lane
from asupervisor.locks import KeyedLock
from asupervisor.logs.service import LogService
from asupervisor.network.plugin import NetworkPlugin
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.events import EventHub
from asupervisor.node.feed import Feed
from asupervisor.node.orphans import Orphans
from asupervisor.node.store import NodeStore
from asupervisor.oci.wrapper import OciFiles
from asupervisor.stats.service import Stats
from asupervisor.streaming.server import StreamingService

StepObserver = Callable[[str], Awaitable[None]]
"""Called with each step of a change, as ``verb.step``, right after the step; a test raises an error
in it to try the rollback.
"""


async def no_observer(step: str) -> None:
    """Does nothing."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """Threads for paths of the node that may hang, because of a dead file server or a tenant. Work
    on our own disk, such as checkpoints, uses other threads.
    """

    host_paths: Lane = field(
        default_factory=lambda: Lane("look at this host path", width=64, deadline_s=10.0)
    )
    """What pods mount, and devices."""
    log_files: Lane = field(
        default_factory=lambda: Lane("use this log file", width=32, deadline_s=10.0)
    )
    """The pods' log directories, and what is in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shim:
    """The collaborators of every verb."""

    config: Config
    engine: EngineClient
    store: NodeStore
    events: EventHub
    stats: Stats
    logs: LogService
    feed: Feed
    checkpoints: CheckpointStore
    orphans: Orphans
    network: NetworkPlugin
    operations: Operations
    pause: PauseImage
    pulls: Pulls
    image_files: ImageFiles
    streaming: StreamingService
    outputs: OutputBudget = field(default_factory=OutputBudget)
    on_step: StepObserver = no_observer
    lanes: Lanes = field(default_factory=Lanes)
    cdi: CdiFiles = field(default_factory=CdiFiles)
    conditions: Conditions = field(default_factory=Conditions)
    hooks: Hooks = field(default_factory=Hooks)
    oci: OciFiles
    changing: KeyedLock = field(default_factory=KeyedLock)
    """Held by id while a container's resources are changed."""
