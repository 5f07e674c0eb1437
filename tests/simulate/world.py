"""One run: a node with its service, its engine, its kubelet and its operators, from a seed to what
was found.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import traceback
from pathlib import Path

import anyio

from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri
from tests.simulate.aftermath import all_followed, nothing_left, same
from tests.simulate.clock import EPOCH_S, Loop, Threads
from tests.simulate.engine import Box, Engine, Image, Refused
from tests.simulate.engine_http import EngineServer, Faults, foreign
from tests.simulate.errors import CallFailed
from tests.simulate.kubelet import Client, Kubelet
from tests.simulate.logpump import Pumps
from tests.simulate.network import Plugin
from tests.simulate.service import Service, stand_ins
from tests.simulate.trace import Trace
from tests.simulate.truth import Truth
from tests.simulate.visitors import Visitors

_SETTLE_S = 90.0
"""Virtual seconds without faults after which everything must be in step: the longest pause between
two tries is within it, and no audit. After a short run pauses are shorter.
"""
_TAKE_DOWN_S = 300.0


class World:
    """One node.

    Args:
        seed: decides everything.
        seconds: of virtual time in which things go wrong.
        root: an empty directory.
        loop: the clock.
        trace: gets every line.
    """

    def __init__(self, seed: int, seconds: float, root: Path, loop: Loop, trace: Trace) -> None:
        self.rng = random.Random(seed)
        self.seconds = seconds
        self.root = root
        self.loop = loop
        self.say = trace.say
        self.truth = Truth(trace.say, loop.time)
        self.threads = Threads(self._draws(), 0.0, 0.0)
        self.faults = Faults()
        self.frozen = self.restarted = self.operated = 0

    def _draws(self) -> random.Random:
        """Draws of its own for each part, so that one part's do not shift the others'."""
        return random.Random(self.rng.getrandbits(64))

    def _sometimes(self, most: float, share: float = 0.5) -> float:
        """A rate that is off in a part of all seeds."""
        rate = self.rng.uniform(0.1, 1.0) * most
        return rate if self.rng.random() < share else 0.0

    async def run(self) -> None:
        """Live, then be quiet, then take everything down, and look each time."""
        for name in ("netns", "layers"):
            (self.root / "engine" / name).mkdir(parents=True)
        truth = self.truth
        self.engine = Engine(self._draws(), self.root / "engine", self.say, truth.effect)
        self.server = EngineServer(self.engine, self.faults, self._draws())
        self.network = Plugin(
            self._draws(),
            self.root / "cni",
            self.say,
            truth.found,
            self.rng.choice(("0.4.0", "1.0.0", "1.1.0")),
            truth.deleting,
        )
        self.pumps = Pumps(self._draws(), self.say)
        truth.engine, truth.network, truth.pumps = self.engine, self.network, self.pumps
        truth.tells_since = self._tells_since
        self.service = Service(
            self.root,
            self.network,
            self.pumps,
            self.say,
            self._crashed,
            self.rng.choice((0.75, 3.0, 3.0)),
        )
        self.server.kills = lambda: self.service.kills
        self.client = Client(self.service, truth, self.say)
        self._furnish()
        self._set_faults()
        with stand_ins(self.engine, self.server, self.network, self.service):
            await self.service.start()
            kubelet = Kubelet(self._draws(), self.client, truth, self.root / "pods")
            self.visitors = Visitors(self._draws(), self.client, truth)
            until = self.loop.now + self.seconds
            trouble = asyncio.gather(
                self._kills(until), self._outages(until), self._operators(until)
            )
            async with anyio.create_task_group() as callers:
                callers.start_soon(kubelet.run, self.rng.choice((1, 2, 4)), until)
                callers.start_soon(self.visitors.run, self.visit_every_s, until)
                await trouble
                await self._calm()
            await self._settled(kubelet)
            await self._take_down(kubelet)

    def _furnish(self) -> None:
        rng = self._draws()

        def image(*tags: str) -> Image:
            return Image(
                f"sha256:{rng.getrandbits(256):064x}",
                list(tags),
                f"{tags[0].split(':')[0]}@sha256:{rng.getrandbits(256):064x}",
                {"maintainer": "nobody", "io.kubernetes.pod.name": "spoofed"},
            )

        engine = self.engine
        engine.registry = {name: image(name) for name in ("app:1", "app:2", "tool:1")}
        from asupervisor.dockershim.image.embedded_pause import EMBEDDED_PAUSE_REFERENCE

        pause = image(EMBEDDED_PAUSE_REFERENCE.removeprefix("docker.io/library/"))
        engine.registry["pause"] = Image(pause.id, pause.tags, "", {})
        other = image("other:1")
        engine.images[other.id] = other
        box = engine.create("somebody-elses", {"Image": other.id, "Labels": {"a": "b"}}, "outside")
        box.running, box.pid, box.starts, box.started_at = True, 99_999_999, 1, self.loop.now

    def _set_faults(self) -> None:
        faults, network = self.faults, self.network
        faults.slow = self._sometimes(0.1)
        faults.broken = self._sometimes(0.12)
        faults.cut = self._sometimes(0.1)
        faults.hang = self._sometimes(0.03)
        faults.stuck = self._sometimes(0.04)
        faults.events = self._sometimes(0.2)
        pumps, execs = self.pumps, self.engine.execs
        pumps.dies, pumps.hangs, pumps.slow = (self._sometimes(most) for most in (0.02, 0.02, 0.1))
        execs.faults = self._sometimes(0.4)
        network.fails = self._sometimes(0.15)
        network.slow = self._sometimes(0.1)
        network.hangs = self._sometimes(0.01, 0.2)
        self.threads.slow = self._sometimes(0.02)
        self.threads.full = self._sometimes(0.05, 0.3)
        self.engine.broken_starts = self._sometimes(0.1)
        self.kill_every_s = self.rng.choice((0, 0, 5, 20))
        self.outage_every_s = self.rng.choice((0, 0, 15, 45))
        self.operate_every_s = self.rng.choice((0, 0, 3, 10))
        self.visit_every_s = self.rng.choice((1, 3, 10))
        self.say(f"faults: {faults} kill {self.kill_every_s} outage {self.outage_every_s}")

    def _tells_since(self) -> float:
        """Since when events flow, and none of them late; never, where they may be."""
        health = self.service.shim.engine.health
        if self.faults.events or not health.ready:
            return float("inf")
        return max(float(health.since) - EPOCH_S, self.server.behind_until)

    def _crashed(self, error: BaseException) -> None:
        if self.threads.full and isinstance(error, FailedPrecondition) and not self.service.up:
            self.say("service: the start was refused")  # a full disk, and nothing was answered
            return
        frames = traceback.extract_tb(error.__traceback__)
        where = "; ".join(f"{Path(one.filename).name}:{one.lineno}" for one in frames[-4:])
        self.truth.found("crashed", f"the service ended by {error!r} at {where}")

    # What goes wrong beside single answers.

    async def _kills(self, until: float) -> None:
        rng = self._draws()
        while self.kill_every_s and self.loop.now < until:
            await asyncio.sleep(rng.expovariate(1 / self.kill_every_s))
            self.service.kill()
            await asyncio.sleep(rng.uniform(0.1, 5.0))
            async with anyio.create_task_group() as starting:
                starting.start_soon(self.service.start)
                if rng.random() < 0.2:  # and once more while it starts
                    await asyncio.sleep(rng.uniform(0.0, 0.5))
                    self.service.kill()
            if not self.service.up:
                await self.service.start()

    async def _outages(self, until: float) -> None:
        rng, server = self._draws(), self.server
        while self.outage_every_s and self.loop.now < until:
            await asyncio.sleep(rng.expovariate(1 / self.outage_every_s))
            lasts_s = rng.choice((0.3, 2.0, 8.0, 40.0)) * rng.uniform(0.5, 1.5)
            if rng.random() < 0.5:
                self.frozen += 1
                server.throw(f"the engine is frozen for {lasts_s:.1f} s")
                server.thawed.clear()
                await asyncio.sleep(lasts_s)
                server.thawed.set()
                continue
            self.restarted += 1
            live_restore = rng.random() < 0.6
            server.throw(f"the engine restarts in {lasts_s:.1f} s, live restore {live_restore}")
            server.listening = False
            server.end()
            self.engine.execs.forget()
            for box in [] if live_restore else list(self.engine.boxes.values()):
                if not foreign(box):
                    self.engine.end(box, 137, "the engine's end")
            await asyncio.sleep(lasts_s)
            server.listening = True

    async def _operators(self, until: float) -> None:
        rng, engine = self._draws(), self.engine
        while self.operate_every_s and self.loop.now < until:
            await asyncio.sleep(rng.expovariate(1 / self.operate_every_s))
            boxes = [box for box in engine.boxes.values() if not foreign(box)]
            if not (boxes and self.server.listening and self.server.thawed.is_set()):
                continue
            box = rng.choice(boxes)
            self.operated += 1
            what = rng.choice(("stop", "restart", "rm", "kill", "start", "rmi", "tag"))
            self.say(f"operator: {what} {box.name} {box.id[:12]}")
            with contextlib.suppress(Refused):
                await self._operate(what, box, rng)

    async def _operate(self, what: str, box: Box, rng: random.Random) -> None:
        engine = self.engine
        if what in ("stop", "restart"):
            with contextlib.suppress(Refused):
                await engine.stop(box, rng.choice((0, 2)), "outside")
        if what in ("start", "restart"):
            await engine.start(box, "outside")
        if what == "kill":
            await engine.kill(box, "outside")
        if what == "rm":
            await engine.remove(box, True, "outside")
        name = rng.choice(("app:1", "app:2", "tool:1"))
        if what == "rmi":
            engine.remove_image(name, rng.random() < 0.3, "outside")
        if what == "tag" and (image := engine.image(name)) is not None:
            image.tags = [*(one for one in image.tags if one != "moved:1"), "moved:1"]
            engine.add_image(image, "tag", image.id)

    # The end.

    async def _calm(self) -> None:
        """No more faults."""
        self.say("calm")
        self.faults.none()
        self.network.fails = self.network.slow = self.network.hangs = 0.0
        self.threads.slow = self.threads.full = 0.0
        self.pumps.dies = self.pumps.hangs = self.pumps.slow = self.engine.execs.faults = 0.0
        self.engine.broken_starts = self.engine.short_lived = 0.0
        self.server.thawed.set()
        self.server.listening = True
        released, self.server.released = self.server.released, asyncio.Event()
        released.set()
        if not self.service.up:
            await self.service.start()

    async def _settled(self, kubelet: Kubelet) -> None:
        await asyncio.sleep(min(_SETTLE_S, 30.0 + 2 * self.seconds))
        for box in self.engine.boxes.values():  # from here on nothing ends by itself
            if box.ends is not None:
                box.ends.cancel()
        await asyncio.sleep(10.0)
        self.say("settled")
        try:
            sandboxes, containers, images = (
                await self.client("ListPodSandbox", cri.ListPodSandboxRequest()),
                await self.client("ListContainers", cri.ListContainersRequest()),
                await self.client("ListImages", cri.ListImagesRequest()),
            )
        except CallFailed as error:
            self.truth.found("not well", f"without faults: {error}")
            return
        same(self.truth, sandboxes.items, containers.containers, images.images)
        status = await self.client("Status", cri.StatusRequest())
        for condition in status.status.conditions:
            if not condition.status:
                words = f"{condition.type}: {condition.reason}: {condition.message}"
                self.truth.found("not well", words)
        all_followed(self.truth)
        try:
            await self.visitors.check()
        except CallFailed as error:
            self.truth.found("not well", f"a visit without faults: {error}")

    async def _take_down(self, kubelet: Kubelet) -> None:
        end = self.loop.now + _TAKE_DOWN_S
        error: CallFailed | None = None
        while self.loop.now < end:
            try:
                if await kubelet.everything_down():
                    break
            except CallFailed as failed:
                error = failed
            await asyncio.sleep(2.0)
        else:
            self.truth.found("not taken down", f"within {_TAKE_DOWN_S:g} s: {error}")
        await asyncio.sleep(5.0)
        self.say("taken down")
        await self.visitors.stats(None)
        shim = self.service.shim
        nothing_left(
            self.truth, self.root / "state", self.root / "cni-cache", shim.operations.under_way
        )
        logs = shim.logs
        for kept in (logs._followed, logs._finishing, logs._finished, logs._requests, logs.figures):
            if kept:
                self.truth.found("left", f"of logs: {kept}")
        if shim.streaming.handler.active:
            self.truth.found("left", f"{shim.streaming.handler.active} streaming sessions")
        began = self.loop.now
        left = await self.service.stop()
        if left:
            self.truth.found("left", f"tasks after the stop: {', '.join(left)}")
        if self.loop.now - began > 40:
            self.truth.found("hung", f"the stop took {self.loop.now - began:.1f} s")
