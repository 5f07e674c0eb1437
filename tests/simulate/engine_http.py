"""The engine's side of the wire: its HTTP API, and everything that can go wrong with it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.simulate.engine import OWN_LABEL, Box, Engine, Image, Refused
from tests.simulate.engine_documents import (
    INFO,
    VERSION,
    image_document,
    image_entry,
    inspected,
    summary,
)
from tests.simulate.execs import Exec, Execs

_HEAD = {"Content-Type": "application/json"}


@dataclass
class Faults:
    """How often each thing goes wrong; a seed switches each on or off.

    Args:
        slow: an answer takes up to seconds.
        broken: 500, 503, an answer that is not JSON, or half of one.
        cut: the connection breaks, before or after the effect.
        hang: a request is not answered before the engine is restarted or the faults end.
        stuck: a container keeps its lock for up to a minute and a half.
        events: an event is told twice or late, or its stream breaks.
    """

    slow: float = 0.0
    broken: float = 0.0
    cut: float = 0.0
    hang: float = 0.0
    stuck: float = 0.0
    events: float = 0.0
    thrown: int = 0

    def none(self) -> None:
        """No more of them."""
        self.slow = self.broken = self.cut = self.hang = self.stuck = self.events = 0.0


class EngineServer:
    """Serves an engine to who connects.

    Args:
        engine: its state.
        faults: what goes wrong.
        rng: draws them.
    """

    def __init__(self, engine: Engine, faults: Faults, rng: random.Random) -> None:
        self.engine = engine
        self.faults = faults
        self.rng = rng
        self.context = engine.context
        self.listening = True
        self.behind_until = 0.0
        """When the last event that was told late is told, and those behind it."""
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.released = asyncio.Event()
        self.transports: list[Any] = []
        self.server: Any = None
        self.kills: Callable[[], int] = lambda: 0
        """How often the service was killed."""
        self._sticking: Any = None
        engine.execs = Execs(rng, self.throw, lambda: self.released)

    def accept(self) -> asyncio.Protocol:
        """See :class:`tests.simulate.wire.Listener`."""
        if not self.listening:
            raise ConnectionRefusedError(111, "Connection refused")
        if self.server is None:
            self.server = web.Server(self._serve, access_log=None)
        protocol: asyncio.Protocol = self.server()
        return protocol

    def latency(self) -> float:
        """See :class:`tests.simulate.wire.Listener`."""
        return self.rng.uniform(0.0001, 0.002)

    def throw(self, words: str) -> None:
        """A fault is about to happen."""
        self.faults.thrown += 1
        self.engine.say(f"fault: {words}")

    def end(self) -> None:
        """The daemon ends: every connection breaks off, and what hangs is let go."""
        self.engine.restarts += 1
        self.released.set()
        self.released = asyncio.Event()
        transports, self.transports = self.transports, []
        for transport in transports:
            transport.cut()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._handle(request)
        except ConnectionError:  # who asked is gone
            return web.Response()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        transport: Any = request.transport
        if transport not in self.transports:
            self.transports = [one for one in self.transports if not one.is_closing()]
            self.transports.append(transport)
        parts = path_parts(request.path)
        await self.thawed.wait()
        # A whole request was read: what it asks for is done even if nobody waits for it.
        content = await request.read()
        kills = self.kills()
        restarts = self.engine.restarts
        fault = await self.meet(transport, f"{request.method} /{'/'.join(parts)}"[:60])
        if self.engine.restarts != restarts:
            return web.Response()
        if self.kills() != kills and parts[0] == "containers" and parts[1] in self.engine.boxes:
            # The service that lives now cannot know that one before it asked for this.
            self.engine.boxes[parts[1]].touched_at = self.engine.loop.time()
        if fault == "cut before":
            return web.Response()
        if fault in ("500", "503"):
            return self._json(int(fault), {"message": "the engine is not well"})
        if parts == ["events"]:
            return await self._events(request)
        try:
            body = json.loads(content) if content and parts[-1] != "load" else None
            if parts[0] == "exec" and parts[-1] == "start":
                return await self._raw(transport, self.command(parts[1]))
            status, answer = await self._answer(request, parts, body)
        except Refused as refused:
            status, answer = refused.status, {"message": refused.message}
        await self.thawed.wait()
        if fault == "cut after":
            transport.cut()
            return web.Response()
        if fault == "garbage":
            return web.Response(status=200, body=b"<html>gateway</html>", headers=_HEAD)
        if fault == "half":
            whole = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            return await self._half(request, whole)
        if isinstance(answer, bytes):
            return web.Response(status=status, body=answer)
        return self._json(status, answer)

    async def meet(self, transport: Any, words: str) -> str:
        """The fault that befalls a request, after the part of it that comes before any effect."""
        fault = self._draw()
        if fault:
            self.throw(f"{fault} {words}")
        if fault == "hang":
            await self.released.wait()
        if fault == "cut before":
            transport.cut()
        if fault == "slow":
            await asyncio.sleep(self.rng.uniform(0.2, 12.0))
        return fault

    async def _raw(self, transport: Any, command: Exec) -> web.Response:
        """A command whose output is the body, up to the connection's end."""
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
        transport.write(head.encode())
        self.engine.execs.start(command, transport, None)
        await command.over.wait()
        return web.Response()

    def command(self, exec_id: str) -> Exec:
        """An exec that can be started.

        Raises:
            Refused: 404, 409 where its container does not run.
        """
        command = self.engine.execs.known.get(exec_id)
        if command is None:
            raise Refused(404, f"No such exec instance: {exec_id}")
        if not command.box.running:
            raise Refused(409, f"Container {command.box.id} is not running")
        return command

    def _draw(self) -> str:
        faults, rng = self.faults, self.rng
        roll = rng.random()
        choices: tuple[tuple[float, tuple[str, ...]], ...] = (
            (faults.slow, ("slow",)),
            (faults.broken, ("500", "503", "garbage", "half")),
            (faults.cut, ("cut before", "cut after")),
            (faults.hang, ("hang",)),
        )
        for share, kinds in choices:
            if roll < share:
                return rng.choice(kinds)
            roll -= share
        return ""

    def _json(self, status: int, answer: Any) -> web.Response:
        if status in (204, 304):
            return web.Response(status=status)
        return web.Response(status=status, body=json.dumps(answer).encode(), headers=_HEAD)

    async def _half(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        transport: Any = request.transport
        response = web.StreamResponse(headers={**_HEAD, "Content-Length": str(len(body) + 7)})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        transport.cut()
        return response

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        transport: Any = request.transport
        filters = json.loads(request.query.get("filters") or "{}")
        kinds, actions = filters.get("type"), filters.get("event")
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.engine.streams.append(queue)
        response = web.StreamResponse(headers=_HEAD)
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            while request.transport is not None and not request.transport.is_closing():
                try:
                    event = await asyncio.wait_for(queue.get(), 60.0)
                except TimeoutError:
                    continue
                await self.thawed.wait()
                if event is None:
                    break
                if (kinds and event["Type"] not in kinds) or (
                    actions and event["Action"] not in actions
                ):
                    continue
                line = json.dumps(event).encode() + b"\n"
                if self.rng.random() < self.faults.events:
                    kind = self.rng.choice(("twice", "late", "late", "broken", "garbled"))
                    self.throw(f"event {event['Action']} {event['Actor']['ID'][:12]}: {kind}")
                    if kind == "broken":
                        transport.cut()
                        break
                    if kind == "late":
                        self.behind_until = self.engine.loop.time() + self.rng.uniform(0.1, 10.0)
                        await asyncio.sleep(self.behind_until - self.engine.loop.time())
                    line = line * 2 if kind == "twice" else line
                    line = b"{oops\n" if kind == "garbled" else line
                await response.write(line)
        except ConnectionError:
            pass
        finally:
            self.engine.streams.remove(queue)
        return response

    async def _answer(
        self, request: web.BaseRequest, parts: list[str], body: Any
    ) -> tuple[int, Any]:
        engine, query = self.engine, request.query
        match (request.method, *parts):
            case ("GET", "_ping"):
                return 200, b"OK"
            case ("GET", "version"):
                return 200, VERSION
            case ("GET", "info"):
                return 200, INFO
            case ("GET", "system", "df"):
                return 200, {"LayersSize": 1_000_000 * len(engine.images), "Images": []}
            case ("GET", "containers", "json"):
                wanted = (json.loads(query.get("filters") or "{}")).get("label") or []
                return 200, [
                    summary(box)
                    for box in engine.boxes.values()
                    if all(_labelled(box, label) for label in wanted)
                ]
            case ("POST", "containers", "create"):
                await asyncio.sleep(self.rng.uniform(0.001, 0.03))
                return 201, {"Id": engine.create(query["name"], body).id, "Warnings": []}
            case ("GET", "images", "json"):
                return 200, [image_entry(image) for image in engine.images.values()]
            case ("POST", "images", "create"):
                return 200, await self._pull(query["fromImage"], query["tag"])
            case ("POST", "images", "load"):
                pause = engine.registry["pause"]
                engine.add_image(pause, "load", pause.id)
                return 200, {"stream": "Loaded image"}
            case ("GET", "images", *name, "json"):
                found = engine.image("/".join(name))
                if found is None:
                    raise Refused(404, f"No such image: {'/'.join(name)}")
                return 200, image_document(found)
            case ("POST", "images", *name, "tag"):
                found = engine.image("/".join(name))
                if found is None:
                    raise Refused(404, f"No such image: {'/'.join(name)}")
                tag = f"{query['repo'].removeprefix('docker.io/library/')}:{query['tag']}"
                found.tags = [*(one for one in found.tags if one != tag), tag]
                engine.add_image(found, "tag", found.id)
                return 201, None
            case ("DELETE", "images", *name):
                return 200, engine.remove_image("/".join(name), "force" in query)
            case ("GET", "exec", exec_id, "json") if exec_id in engine.execs.known:
                return 200, engine.execs.known[exec_id].document()
            case (_, "containers", any_id, *rest):
                return await self._container(request, engine.find(any_id), "/".join(rest), body)
        raise Refused(404, "page not found")

    async def _container(
        self, request: web.BaseRequest, box: Box, action: str, body: Any
    ) -> tuple[int, Any]:
        engine, query = self.engine, request.query
        if self.rng.random() < self.faults.stuck and not box.lock.locked():
            self.throw(f"stuck on {box.id[:12]}")
            stick = self._stick(box, self.rng.uniform(1, 90))
            self._sticking = asyncio.ensure_future(stick)  # a lock that sticks outlives the request
            await asyncio.sleep(0)
        match (request.method, action):
            case ("GET", "json"):
                async with box.lock:
                    return 200, inspected(box, engine.root)
            case ("POST", "start"):
                await engine.start(box)
                return 204, None
            case ("POST", "stop"):
                await engine.stop(box, float(query.get("t", "10")))
                return 204, None
            case ("POST", "kill"):
                await engine.kill(box)
                return 204, None
            case ("DELETE", ""):
                await engine.remove(box, query.get("force") == "1")
                return 204, None
            case ("POST", "exec"):
                if not box.running:
                    raise Refused(409, f"Container {box.id} is not running")
                return 201, {"Id": engine.execs.create(box, body).id}
            case ("POST", "update"):
                return 200, {"Warnings": []}
        raise Refused(404, "page not found")

    async def _stick(self, box: Box, seconds: float) -> None:
        async with box.lock:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.released.wait()

    async def _pull(self, repository: str, tag: str) -> bytes:
        name = f"{repository.removeprefix('docker.io/library/')}:{tag}"
        template = self.engine.registry.get(name)
        if template is None:
            raise Refused(404, f"manifest for {name} not found: manifest unknown")
        await asyncio.sleep(self.rng.uniform(0.1, 4.0))
        held = self.engine.images.get(template.id)
        tags = [*(held.tags if held is not None else []), name]
        image = Image(template.id, list(dict.fromkeys(tags)), template.digest, template.labels)
        self.engine.add_image(image, "pull", name)
        return json.dumps({"status": f"Status: Downloaded newer image for {name}"}).encode()


def path_parts(path: str) -> list[str]:
    """Of a request's path, without the version."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    return parts[1:] if parts[0].startswith("v1.") else parts


def _labelled(box: Box, label: str) -> bool:
    key, separator, value = label.partition("=")
    return key in box.labels and (not separator or box.labels[key] == value)


def foreign(box: Box) -> bool:
    """Whether a container is nobody's business of ours."""
    return OWN_LABEL not in box.labels
