"""Makes what the verbs work with, out of every package below; nothing here waits or starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anyio.abc import TaskGroup

from asupervisor.conditions import Conditions
from asupervisor.config import EMBEDDED_PAUSE_IMAGE, Config
from asupervisor.dockershim.image.files import ImageFiles
from asupervisor.dockershim.image.pause import PauseImage, pinned_references
from asupervisor.dockershim.image.pulls import Pulls
from asupervisor.dockershim.operations import Operations
from asupervisor.dockershim.shim import Shim, StepObserver
from asupervisor.dockershim.streaming.backend import EngineBackend
from asupervisor.engine.client import EngineClient
from asupervisor.errors import ConfigError, InvalidArgument
from asupervisor.logs.service import LogService
from asupervisor.metrics import Metrics
from asupervisor.network.plugin import NetworkPlugin
from asupervisor.node.checkpoints import CheckpointStore
from asupervisor.node.events import EventHub
from asupervisor.node.feed import Feed
from asupervisor.node.fitting import Fitting
from asupervisor.node.images import ImageFeed, pinned_matcher
from asupervisor.node.logs import ContainerLogs
from asupervisor.node.orphans import Orphans
from asupervisor.node.ownership import Ownership
from asupervisor.node.store import NodeStore
from asupervisor.node.subjects import feed_stats
from asupervisor.oci.wrapper import OciFiles
from asupervisor.stats.layers import WritableLayers
from asupervisor.stats.service import Stats
from asupervisor.streaming.server import StreamingService
from asupervisor.translate.images import parse_reference
from asupervisor.translate.provenance import Seal


@dataclass(frozen=True, slots=True)
class Ground:
    """What was started before, and ends after what is made here.

    Args:
        tasks: where changes and readings run.
        engine: the client of Docker Engine, opened.
        network: the pods' network.
        checkpoints: of the sandboxes, loaded.
        seal: seals labels.
        oci: the files of containers whose OCI documents are changed.
    """

    tasks: TaskGroup
    engine: EngineClient
    network: NetworkPlugin
    checkpoints: CheckpointStore
    seal: Seal
    oci: OciFiles


def make_shim(  # long: each collaborator once
    config: Config, metrics: Metrics, ground: Ground, conditions: Conditions, on_step: StepObserver
) -> Shim:
    """The collaborators of the verbs.

    Args:
        config: the settings.
        metrics: gets their figures.
        ground: what they need.
        conditions: for Status.
        on_step: see :class:`Shim`.

    Raises:
        ConfigError: the pause image is not a reference.
    """
    tasks, engine = ground.tasks, ground.engine
    store = NodeStore(Fitting(shortened=metrics.shortened.add))
    stats = Stats(WritableLayers(walked=metrics.writable_layer_walks.add))
    feed_stats(store, stats)
    metrics.sandboxes.follow(lambda: len(store.sandboxes))
    metrics.containers.follow(lambda: len(store.containers))
    events = EventHub(
        store,
        on_subscribers=metrics.event_subscribers.set,
        on_dropped=metrics.event_subscribers_dropped.add,
    )
    if config.pod_infra_container_image != EMBEDDED_PAUSE_IMAGE:
        try:
            parse_reference(config.pod_infra_container_image)
        except InvalidArgument as error:
            raise ConfigError(f"--pod-infra-container-image: {error}") from error
    pause_reference = config.pod_infra_container_image
    images = ImageFeed(engine, store, tasks, pinned_matcher(pinned_references(pause_reference)))
    pulls = Pulls(tasks, engine, images, store, config.image_pull_progress_deadline_s)
    logs = LogService(
        Path(config.root_directory) / "logs",
        log_format=config.container_log_format,
        engine_endpoint=engine.endpoint,
        on_written=metrics.log_bytes.add,
        on_lag=metrics.log_lag_bytes.set,
        on_restart=metrics.log_pump_restarts.add,
        on_unreadable=lambda container_id: feed.mark(container_id),
    )
    feed = Feed(
        engine,
        store,
        ground.checkpoints,
        tasks,
        images,
        on_event=metrics.event_applied,
        on_resync=lambda seconds: metrics.resyncs.add(),
        logs=ContainerLogs(logs),
        ownership=Ownership(ground.seal, store, ground.checkpoints),
    )
    operations = Operations(tasks)
    return Shim(
        config=config,
        engine=engine,
        store=store,
        events=events,
        stats=stats,
        logs=logs,
        feed=feed,
        checkpoints=ground.checkpoints,
        orphans=Orphans(Path(config.root_directory), engine),
        network=ground.network,
        operations=operations,
        image_files=ImageFiles(engine, operations),
        pause=PauseImage(pause_reference, engine, store, images, pulls),
        pulls=pulls,
        streaming=StreamingService(
            config.streaming, EngineBackend(engine, store), observe=metrics.streaming_session
        ),
        on_step=on_step,
        oci=ground.oci,
        conditions=conditions,
    )
