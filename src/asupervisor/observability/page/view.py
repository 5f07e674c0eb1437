"""The values that the page shows: a picture of the node at one moment."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from asupervisor.conditions import Condition


@dataclass(frozen=True, slots=True)
class Container:
    """One container: ``state`` and ``image`` as shown, ``restarts`` as kubelet counts them."""

    name: str
    state: str
    image: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod; ``since`` is Unix time in seconds."""

    namespace: str
    name: str
    id: str
    state: str
    ready: bool
    addresses: tuple[str, ...]
    since: float
    labels: Mapping[str, str]
    containers: tuple[Container, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its names, its size in bytes, whether it is pinned, how many containers use it."""

    names: tuple[str, ...]
    size_bytes: int
    pinned: bool
    containers: int


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one kind since the start.

    Args:
        name: of the method or operation.
        count: how often.
        failed: how many failed.
        under_way: how many run now.
        bounds_s: upper bounds of the latency's buckets, in seconds.
        buckets: how many calls are in each, and in one more beyond the last.
    """

    name: str
    count: int
    failed: int
    under_way: int
    bounds_s: tuple[float, ...]
    buckets: tuple[int, ...]

    def quantile_s(self, share: float) -> float:
        """Seconds within which that share was answered: the bucket's bound, or infinite."""
        sums = list(accumulate(self.buckets))
        if not sums or not sums[-1]:
            return 0.0
        index = bisect_left(sums, share * sums[-1])
        return self.bounds_s[index] if index < len(self.bounds_s) else float("inf")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a pod or a container; ``at`` is Unix time in seconds."""

    at: float
    what: str
    subject: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure or a warning, as logged.

    Args:
        at: Unix time in seconds, of the last time.
        level: ``warning``, ``error``, or ``info`` for a call that failed.
        message: what was logged.
        code: the gRPC status that a client got; empty for a line that is not about a call.
        times: how often it was logged in a row.
    """

    at: float
    level: str
    message: str
    code: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of doctor: ``ok``, ``warning`` or ``error``, what was found and what to do."""

    check: str
    level: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures of all calls since the start; ``at`` is a time of the monotonic clock."""

    at: float
    calls: int
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the page shows.

    Args:
        node: the machine's name.
        version: the service's.
        summary: what is served, with which engine and network.
        now, started: Unix time in seconds.
        conditions: each with its remedy.
        pods, images: as many as the page shows.
        pod_count, image_count: how many there are.
        images_bytes: size of all images, shared layers counted once; 0 if it is not known yet.
        images_at: the mount point of their file system.
        network: facts of the pod network, by name.
        calls: of the CRI.
        operations: of the engine.
        totals: of the CRI's calls.
        events, troubles: the newest first.
    """

    node: str
    version: str
    summary: str
    now: float
    started: float
    conditions: tuple[tuple[Condition, str], ...] = ()
    pods: tuple[Pod, ...] = ()
    pod_count: int = 0
    images: tuple[Image, ...] = ()
    image_count: int = 0
    images_bytes: int = 0
    images_at: str = ""
    network: Mapping[str, str] = field(default_factory=dict)
    calls: tuple[Calls, ...] = ()
    operations: tuple[Calls, ...] = ()
    totals: Totals = Totals(0, 0, 0, 0)
    events: tuple[Event, ...] = ()
    troubles: tuple[Trouble, ...] = ()
