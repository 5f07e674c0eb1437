"""Sizes of writable layers, found by walking their directories slowly in a thread of their own.

cri-dockerd asks the engine for a size with every stats call, which walks every overlay while
kubelet waits. Here no call ever waits for a walk: calls read what the last walk found, with its
time. A walk rests after every few milliseconds of work, and a layer's next walk waits the longer
the more work its last one was, so that all walks together take at most a set share of one core.

Layers with many files have a walker of their own, so that the sizes of others do not wait for a
container that made millions."""

from __future__ import annotations

import itertools
import logging
import math
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush

import anyio

from asupervisor.host.beneath import HeldDirectory, PendingDirectories
from asupervisor.host.cgroups import unescape
from asupervisor.host.lanes import Lane
from asupervisor.stats.subjects import LayerUsage

_logger = logging.getLogger(__name__)
_SLICE_S = 0.005
"""Seconds of work between two rests."""
_SHORT_WALK_S = 0.1
"""Seconds of work, about 20 000 files. A walk that takes more is ended, and done from its beginning
by the walker of long ones.
"""
_MOUNTED = ("hosts", "hostname", "resolv.conf")
_ENGINES_BYTES = 64 << 10
"""Of these files that count for nothing: the engine and the service wrote them."""


class WalkStopped(Exception):
    """The walk was told to end before it was done."""


def walk(directory: str, rest: Callable[[], None] = lambda: None) -> LayerUsage | None:
    """Add up what a directory's files take on the disk.

    Symbolic links are not followed and other mounts not entered. Files that vanish meanwhile are
    left out, and so is what is too much for :class:`PendingDirectories`; the usage is not complete
    then. Of a file with several names each name counts for its share, since all of them are in
    the layer: no list of such files is kept, of which a container could make millions.

    Args:
        directory: the layer's directory.
        rest: called after each entry; it may sleep, or raise :class:`WalkStopped`.

    Returns:
        The usage; None when the directory is not there.
    """
    try:
        held = HeldDirectory.at(directory)
    except OSError:
        return None
    with held:
        return _walk_held(held, rest)


def _walk_held(top: HeldDirectory, rest: Callable[[], None]) -> LayerUsage:
    device = os.fstat(top.descriptor).st_dev
    used, inodes, complete = 0, 0, True
    shares: Counter[int] = Counter()
    names: Counter[int] = Counter()
    """By the number of names that a file has: blocks and names of such files."""
    pending = PendingDirectories()
    while pending:
        directory = pending.pop()
        try:
            for _, name, status in top.entries(directory):
                rest()
                if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                    shares[status.st_nlink] += status.st_blocks
                    names[status.st_nlink] += 1
                    continue
                inodes += 1
                used += status.st_blocks * 512
                if stat.S_ISDIR(status.st_mode) and status.st_dev == device:
                    path = f"{directory}/{name}".lstrip("/")
                    complete &= pending.add(path)
        except FileNotFoundError:
            continue
        except OSError:
            complete = False
    used += sum(blocks * 512 // links for links, blocks in shares.items())
    inodes += sum(-(-count // links) for links, count in names.items())
    return LayerUsage(time.time_ns(), used, inodes, complete)


def mounted_bytes(directory: str) -> int:
    """What a pod put into the files that the engine mounts into its containers, for them to write,
    beside their layers and volumes.

    Args:
        directory: the engine's, of the pod's sandbox; empty where it is not known.
    """
    try:
        with HeldDirectory.at(directory) as held:
            found = [held.status(name) for name in _MOUNTED]
    except OSError:
        return 0
    used = sum(status.st_blocks * 512 for status in found if status is not None)
    return max(0, used - _ENGINES_BYTES)


class _Layer:
    __slots__ = ("directory", "long", "mounted", "usage")

    def __init__(self, directory: str, mounted: str) -> None:
        self.directory = directory
        self.mounted = mounted
        self.long = False
        """Whether its last walk was a long one."""
        self.usage: LayerUsage | None = None


class WritableLayers:
    """The sizes of all known writable layers.

    Args:
        interval_s: seconds from one walk of a layer to its next, at least.
        share: of one core, that all walks together may take.
        walked: called on the event loop after each walk (metrics).
    """

    def __init__(
        self,
        *,
        interval_s: float = 60.0,
        share: float = 0.02,
        walked: Callable[[], None] = lambda: None,
    ) -> None:
        self._interval_s = interval_s
        self._share = share / 2  # of each walker
        self._walked = walked
        self._layers: dict[str, _Layer] = {}
        self._due: dict[bool, list[tuple[float, int, str, _Layer]]] = {False: [], True: []}
        """Of each walker a heap: when, a number that tells equal times apart, and which."""
        self._numbers = itertools.count()
        self._changed = {long: anyio.Event() for long in (False, True)}
        # In a lane for its daemon threads: a disk that hangs must not keep the process from ending.
        self._lane = Lane("walk this layer", width=2, deadline_s=math.inf)

    def watch(self, container_id: str, directory: str, mounted: str = "") -> None:
        """Measure a container's layer from now on; does nothing for an empty directory.

        Args:
            container_id: whose it is.
            directory: the layer's.
            mounted: that of :func:`mounted_bytes`. Each container of a pod counts for these files,
                since each may have written them.
        """
        layer = self._layers.get(container_id)
        known = layer is not None and (layer.directory, layer.mounted) == (directory, mounted)
        if not directory or known:
            return
        self._layers[container_id] = layer = _Layer(directory, mounted)
        self._put(container_id, layer, time.monotonic())

    def forget(self, container_id: str) -> None:
        """The container was removed."""
        self._layers.pop(container_id, None)

    def usage(self, container_id: str) -> LayerUsage | None:
        """What the last walk found; None before the first one's end."""
        layer = self._layers.get(container_id)
        return layer.usage if layer else None

    def directories(self) -> list[str]:
        """Where the known layers are."""
        return [layer.directory for layer in self._layers.values()]

    def total_bytes(self) -> int:
        """All layers together."""
        return sum(layer.usage.used_bytes for layer in self._layers.values() if layer.usage)

    async def run(self) -> None:
        """Walk whatever is due, until cancelled; a cancelled walk ends at its next entry."""
        async with anyio.create_task_group() as tasks:
            for long in (False, True):
                tasks.start_soon(self._walk_due, long)

    async def _walk_due(self, long: bool) -> None:
        """One of the two walkers."""
        while True:
            changed = self._changed[long] = anyio.Event()
            due_in_s = self._due[long][0][0] - time.monotonic() if self._due[long] else math.inf
            if due_in_s > 0:
                with anyio.move_on_after(due_in_s):
                    await changed.wait()
                continue
            _, _, container_id, layer = heappop(self._due[long])
            if self._layers.get(container_id) is not layer:
                continue  # it was removed
            stop = threading.Event()
            usage, worked_s = None, 0.0
            try:
                usage, worked_s = await self._lane.run(
                    layer.directory, self._walk, layer, stop, long
                )
            except Exception:  # one layer must end neither the walk of the others nor the service
                _logger.exception("the size of %s could not be found", layer.directory)
            finally:
                stop.set()
            layer.long = worked_s > _SHORT_WALK_S
            due_at = time.monotonic()
            if layer.long is long or usage is not None:  # else it was ended
                layer.usage = usage or layer.usage
                due_at += max(self._interval_s, worked_s / self._share)
                self._walked()
            self._put(container_id, layer, due_at)

    def _put(self, container_id: str, layer: _Layer, due_at: float) -> None:
        heappush(self._due[layer.long], (due_at, next(self._numbers), container_id, layer))
        self._changed[layer.long].set()

    def _walk(
        self, layer: _Layer, stop: threading.Event, long: bool
    ) -> tuple[LayerUsage | None, float]:
        """Runs in a thread: walks, rests, and says how many seconds of work it was."""
        worked_s, slice_start = 0.0, time.monotonic()

        def rest() -> None:
            nonlocal worked_s, slice_start
            now = time.monotonic()
            if now - slice_start < _SLICE_S:
                return
            worked_s += now - slice_start
            if (worked_s > _SHORT_WALK_S and not long) or stop.wait(
                (now - slice_start) / self._share
            ):
                raise WalkStopped
            slice_start = time.monotonic()

        try:
            usage = walk(layer.directory, rest)
        except WalkStopped:
            return None, worked_s
        if usage is not None and (beside := mounted_bytes(layer.mounted)):
            usage = replace(usage, used_bytes=usage.used_bytes + beside)
        return usage, worked_s + time.monotonic() - slice_start


def upper_directory(mountinfo: str, container_id: str) -> str:
    """The writable layer of a container, from the mount table of its engine.

    The containerd image store has the engine mount each container's root file system at a path that
    ends with the container's id, and names no layer in its inspect. The container's own mount table
    is not asked: one that may mount in a user namespace writes into it what it likes.

    Args:
        mountinfo: the text of ``/proc/<pid>/mountinfo`` of a process in the engine's mount
            namespace.
        container_id: the engine's id.

    Returns:
        An absolute path, or empty where there is no such mount or it is not an overlay.
    """
    for line in mountinfo.split("\n"):
        fields, _, rest = line.partition(" - ")
        before, after = fields.split(" "), rest.split(" ")
        if len(before) < 5 or len(after) < 3 or after[0] != "overlay":
            continue
        # The engine's ``<root>/rootfs/<snapshotter>/<id>``, containerd's ``<bundle>/<id>/rootfs``.
        *_, above, parent, last = ("", "", *unescape(before[4]).split("/"))
        if (above, last) != ("rootfs", container_id) and (parent, last) != (container_id, "rootfs"):
            continue
        for option in after[2].split(","):
            if option.startswith("upperdir=/"):
                return unescape(option.removeprefix("upperdir="))
    return ""
