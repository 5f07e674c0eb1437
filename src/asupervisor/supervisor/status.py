"""What the status page shows, taken from the parts of the service."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from asupervisor import __version__
from asupervisor.conditions import Condition, Conditions
from asupervisor.config import Config
from asupervisor.dockershim.shim import Shim
from asupervisor.figures import ENGINE_BOUNDS_S, RPC_BOUNDS_S
from asupervisor.metrics import Metrics
from asupervisor.node.records import ContainerRecord, SandboxRecord
from asupervisor.node.store import NodeStore
from asupervisor.observability.page.view import Calls, Container, Finding, Image, Pod, Totals, View
from asupervisor.proto import cri
from asupervisor.supervisor.journal import Journal

MOST_ROWS = 300
"""Most pods, and most images, that are shown; of the images the largest."""
_OWN_LABELS = "io.kubernetes."
_MOST_LABELS = 20


class Service(Protocol):
    """What :func:`view` needs; the supervisor has all of it."""

    metrics: Metrics
    conditions: Conditions
    config: Config
    shim: Shim | None

    @property
    def summary(self) -> str:
        """One line about what is served."""


def view(service: Service, journal: Journal, started: float) -> View:
    """The node now, from memory.

    Args:
        service: without a shim (it starts later than the page), no pods are shown.
        journal: of events and problems.
        started: Unix time in seconds.
    """
    metrics, shim = service.metrics, service.shim
    from asupervisor.doctor.reasons import remedy

    def with_remedy(one: Condition) -> tuple[Condition, str]:
        return one, "" if one.ready else remedy(one.reason)

    calls, failed = metrics.calls()
    figures = View(
        node=platform.node(),
        version=__version__,
        summary=service.summary,
        now=time.time(),
        started=started,
        conditions=tuple(map(with_remedy, service.conditions.look())),
        calls=tuple(_rpc_calls(metrics)),
        operations=tuple(_engine_calls(metrics)),
        totals=Totals(
            time.monotonic(),
            calls,
            failed,
            sum(figures.latency.sum_s for _, figures in metrics.methods()),
        ),
        events=journal.events,
        troubles=journal.troubles,
    )
    return figures if shim is None else _with_node(figures, service.config, shim)


def _with_node(figures: View, config: Config, shim: Shim) -> View:
    store, disk = shim.store, shim.stats.image_filesystem
    sandboxes = sorted(
        store.select_sandboxes(),
        key=lambda one: (one.status.metadata.namespace, one.status.metadata.name),
    )
    used = Counter(record.status.image_id for record in store.containers.values())
    images = sorted(store.images.values(), key=lambda one: -one.image.size)
    return replace(
        figures,
        pods=tuple(_pod(store, record) for record in sandboxes[:MOST_ROWS]),
        pod_count=len(sandboxes),
        images=tuple(
            Image(
                tuple(one.image.repo_tags) or tuple(one.image.repo_digests) or (one.id,),
                one.image.size,
                one.image.pinned,
                used[one.id],
            )
            for one in images[:MOST_ROWS]
        ),
        image_count=len(images),
        images_bytes=disk.used_bytes,
        images_at=disk.mountpoint,
        network=_network(config, shim, sandboxes),
    )


def _pod(store: NodeStore, record: SandboxRecord) -> Pod:
    status = record.status
    network = status.network
    return Pod(
        namespace=status.metadata.namespace,
        name=status.metadata.name,
        id=record.id,
        state="Ready" if record.ready else "NotReady",
        ready=record.ready,
        addresses=tuple(filter(None, (network.ip, *(one.ip for one in network.additional_ips)))),
        since=status.created_at / 1e9,
        labels=_labels(status.labels),
        containers=tuple(map(_container, store.containers_of(record.id))),
    )


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    own = [key for key in labels if not key.startswith(_OWN_LABELS)]
    return {key: labels[key] for key in sorted(own)[:_MOST_LABELS]}


def _container(record: ContainerRecord) -> Container:
    status = record.status
    state = cri.ContainerState.Name(status.state).removeprefix("CONTAINER_").capitalize()
    return Container(
        status.metadata.name,
        state,
        status.image.user_specified_image or status.image.image,
        status.metadata.attempt,
    )


def _network(config: Config, shim: Shim, sandboxes: Iterable[SandboxRecord]) -> dict[str, str]:
    running = [record for record in sandboxes if record.pid]
    host = sum(record.host_network for record in running)
    found = {
        "plugin": shim.network.name or "no-op",
        "pods with addresses of their own": str(len(running) - host),
        "pods on the host's network": str(host),
        "pod CIDR (--pod-cidr)": config.network.pod_cidr,
    }
    if shim.network.name == "cni":
        found["configuration in"] = config.network.cni_conf_dir
        found["plugins in"] = ", ".join(config.network.cni_bin_dirs)
    return {name: value for name, value in found.items() if value}


def _rpc_calls(metrics: Metrics) -> Iterable[Calls]:
    for name, figures in metrics.methods():
        count = sum(figures.codes.values())
        if count or figures.in_flight:
            yield Calls(
                name,
                count,
                count - figures.codes["OK"],
                figures.in_flight,
                RPC_BOUNDS_S,
                tuple(figures.latency.counts),
            )


def _engine_calls(metrics: Metrics) -> Iterable[Calls]:
    for name, figures in metrics.operations():
        yield Calls(
            name, figures.total, figures.errors, 0, ENGINE_BOUNDS_S, tuple(figures.latency.counts)
        )


async def findings(config: Config, endpoint: str) -> list[Finding]:
    """What doctor finds on the node.

    Args:
        config: of the service.
        endpoint: where its CRI is reached.
    """
    # Imported when the page is opened: most nodes never need it.
    from asupervisor.doctor.examine import examine
    from asupervisor.doctor.node import Node

    lines = await examine(Node(replace(config, runtime_endpoint=endpoint)))
    found = ((line.check, line.finding) for line in lines)
    return [Finding(check, one.level.name.lower(), one.message, one.remedy) for check, one in found]
