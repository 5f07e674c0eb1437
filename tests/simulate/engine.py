"""An engine's state: containers, images and events, with the rules that the real one has.

It tells the truth and does what it is told; what goes wrong on the way is ``engine_http.py``'s."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.simulate.clock import EPOCH_S, Life
from tests.simulate.execs import Execs

OWN_LABEL = "io.kubernetes.docker.type"
SANDBOX_LABEL = "io.kubernetes.sandbox.id"
_NEVER = "0001-01-01T00:00:00Z"
_MOVES_S = (0.002, 0.05)
"""Seconds that a start or a stop takes the engine."""


class Refused(Exception):
    """An answer other than success.

    Args:
        status: of HTTP.
        message: for the body.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(eq=False)
class Box:
    """One container of the engine."""

    id: str
    name: str
    body: dict[str, Any]
    image: str
    created_at: float
    labels: dict[str, str]
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    running: bool = False
    removing: bool = False
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0
    starts: int = 0
    touched_at: float = 0.0
    """When somebody beside the service last changed it."""
    ends: asyncio.TimerHandle | None = None
    first_pid: int = 0
    netns: str = ""

    @property
    def is_sandbox(self) -> bool:
        """Whether it is a pod's sandbox."""
        return self.labels.get(OWN_LABEL) == "podsandbox"

    @property
    def sandbox(self) -> str:
        """The id of its sandbox."""
        return self.labels.get(SANDBOX_LABEL, "")


@dataclass(eq=False)
class Image:
    """One image."""

    id: str
    tags: list[str]
    digest: str
    labels: dict[str, str]


def stamp(at: float) -> str:
    """A time as the engine writes it."""
    return (
        datetime.fromtimestamp(EPOCH_S + at, UTC).isoformat().replace("+00:00", "Z")
        if at
        else _NEVER
    )


class Engine:
    """The engine's state machine.

    Args:
        rng: draws ids and times.
        root: a directory for the files that it keeps.
        say: writes a line of the trace.
        told: hears of each effect: what, which container, for whom.
    """

    def __init__(
        self,
        rng: random.Random,
        root: Path,
        say: Callable[[str], int],
        told: Callable[[str, Box, str], None],
    ) -> None:
        self.rng = rng
        self.root = root
        self.say = say
        self.told = told
        self.life = Life("engine")
        self.context = self.life.context
        self.loop = asyncio.get_running_loop()
        self.boxes: dict[str, Box] = {}
        self.images: dict[str, Image] = {}
        self.registry: dict[str, Image] = {}
        self.streams: list[asyncio.Queue[dict[str, Any] | None]] = []
        self.execs: Execs
        self.restarts = 0
        """How often its daemon ended; what it had been asked for and not begun is lost."""
        self.short_lived = 0.3
        """How many containers end by themselves."""
        self.broken_starts = 0.0
        self._pid = 100_000_000

    # Containers.

    def find(self, any_id: str) -> Box:
        """A container by id, unambiguous prefix or name.

        Raises:
            Refused: 404.
        """
        box = self.boxes.get(any_id)
        if box is not None:
            return box
        found = [
            one for one in self.boxes.values() if one.name == any_id or one.id.startswith(any_id)
        ]
        if len(found) != 1:
            raise Refused(404, f"No such container: {any_id}")
        return found[0]

    def create(self, name: str, body: dict[str, Any], by: str = "service") -> Box:
        """Make a container."""
        image = self.image(str(body.get("Image")))
        if image is None:
            raise Refused(404, f"No such image: {body.get('Image')}")
        if any(one.name == name for one in self.boxes.values()):
            raise Refused(409, f'Conflict. The container name "/{name}" is already in use')
        box = Box(
            id=f"{self.rng.getrandbits(256):064x}",
            name=name,
            body=body,
            image=image.id,
            created_at=self.loop.time(),
            # The image's labels are merged in, as the engine does.
            labels={**image.labels, **(body.get("Labels") or {})},
        )
        self.boxes[box.id] = box
        if box.is_sandbox:
            (self.root / f"{box.id}.resolv.conf").write_text("nameserver 192.0.2.1\n")
        self._did("create", box, by)
        return box

    async def start(self, box: Box, by: str = "service") -> None:
        """Start a container.

        Raises:
            Refused: 304 where it runs, 404, 409, 500.
        """
        async with self._turn(box):
            if box.running:
                raise Refused(304, "")
            mode = str((box.body.get("HostConfig") or {}).get("NetworkMode") or "")
            if mode.startswith("container:"):
                with suppress(Refused):
                    if not self.find(mode.removeprefix("container:")).running:
                        raise Refused(409, "cannot join network of a non running container")
                if mode.removeprefix("container:") not in self.boxes:
                    raise Refused(409, "No such container: cannot join its network")
            takes_s = self.rng.uniform(*_MOVES_S)
            await asyncio.sleep(takes_s / 2)
            self._pid += 1
            box.first_pid = self._pid
            if box.is_sandbox:
                path = self.root / "netns" / str(box.first_pid)
                path.write_text("")
                box.netns = str(path)
            try:
                await asyncio.sleep(takes_s / 2)
                self._there(box)
                if self.rng.random() < self.broken_starts:
                    box.error, box.exit_code = "OCI runtime create failed", 127
                    raise Refused(500, box.error)
            except BaseException:
                self._first_process_ends(box)
                raise
            box.running, box.pid, box.exit_code, box.error = True, box.first_pid, 0, ""
            box.started_at, box.finished_at = self.loop.time(), 0.0
            box.starts += 1
            if not box.is_sandbox and self.rng.random() < self.short_lived:
                self._ends_in(box, self.rng.expovariate(1 / 40))
            self._did("start", box, by)

    async def stop(self, box: Box, grace_s: float, by: str = "service") -> None:
        """Stop a container: its own end, or a kill after the grace.

        Raises:
            Refused: 304 where it does not run, 404.
        """
        async with self._turn(box):
            if not box.running:
                raise Refused(304, "")
            obeys_s = self.rng.choice((0.01, 0.2, 3.0, 1000.0))
            await asyncio.sleep(min(obeys_s, grace_s))
            await self._take_time()
            if box.running:
                self._die(box, 0 if obeys_s <= grace_s else 137, by)

    async def kill(self, box: Box, by: str = "service") -> None:
        """Kill a container.

        Raises:
            Refused: 404, 409 where it does not run.
        """
        async with self._turn(box):
            if not box.running:
                raise Refused(409, f"Container {box.id} is not running")
            await self._take_time()
            if box.running:
                self._die(box, 137, by)

    async def remove(self, box: Box, force: bool, by: str = "service") -> None:
        """Remove a container.

        Raises:
            Refused: 404, 409 where it runs or is being removed.
        """
        if box.removing:
            raise Refused(409, f"removal of container {box.id} is already in progress")
        self._there(box)
        if box.running and not force:
            raise Refused(409, f"You cannot remove a running container {box.id}")
        box.removing = True
        try:
            async with self._turn(box):
                if box.running:
                    self._die(box, 137, by)
                await self._take_time()
                self._there(box)
                del self.boxes[box.id]
                (self.root / f"{box.id}.resolv.conf").unlink(missing_ok=True)
                self._did("destroy", box, by)
        finally:
            box.removing = False

    def end(self, box: Box, code: int, by: str = "itself") -> None:
        """A container's process ends."""
        if box.running and box.id in self.boxes:
            self._die(box, code, by)

    def _ends_in(self, box: Box, seconds: float) -> None:
        code = self.rng.choice((0, 1, 137))
        box.ends = self.loop.call_later(seconds, self.end, box, code, context=self.context)

    def _die(self, box: Box, code: int, by: str) -> None:
        box.running, box.pid, box.exit_code = False, 0, code
        box.finished_at = self.loop.time()
        if box.ends is not None:
            box.ends.cancel()
            box.ends = None
        self._first_process_ends(box)
        self.execs.box_ended(box)
        self._did("die", box, by)

    def _first_process_ends(self, box: Box) -> None:
        """Its first process is gone, and the namespace with it."""
        box.first_pid = 0
        if box.netns:
            Path(box.netns).unlink(missing_ok=True)
            box.netns = ""

    @asynccontextmanager
    async def _turn(self, box: Box) -> AsyncIterator[None]:
        """A container's lock; what waited for it in a daemon that has ended is not done."""
        restarts = self.restarts
        async with box.lock:
            if self.restarts != restarts:
                raise Refused(503, "the engine has ended")
            self._there(box)
            yield

    def _there(self, box: Box) -> None:
        if box.id not in self.boxes:
            raise Refused(404, f"No such container: {box.id}")

    async def _take_time(self) -> None:
        await asyncio.sleep(self.rng.uniform(*_MOVES_S))

    def _did(self, action: str, box: Box, by: str) -> None:
        if by != "service":
            box.touched_at = self.loop.time()
        self.say(f"engine: {action} {box.name} {box.id[:12]} by {by}")
        self.told(action, box, by)
        attributes = {**box.labels, "image": str(box.body.get("Image")), "name": box.name}
        if action == "die":
            attributes["exitCode"] = str(box.exit_code)
        self.emit("container", action, box.id, attributes)

    # Images.

    def image(self, reference: str) -> Image | None:
        """An image by id or name."""
        name = reference.removeprefix("docker.io/library/").removeprefix("docker.io/")
        for image in self.images.values():
            if reference in (image.id, image.digest) or name in image.tags:
                return image
        return None

    def add_image(self, image: Image, action: str, subject: str) -> None:
        """Have an image, or one more name of it; a name has one holder."""
        for other in self.images.values():
            if other.id != image.id:
                other.tags = [tag for tag in other.tags if tag not in image.tags]
        self.images[image.id] = image
        self.say(f"engine: {action} image {image.id[7:19]} {image.tags}")
        self.emit("image", action, subject, {"name": subject})

    def remove_image(self, reference: str, force: bool, by: str = "service") -> list[Any]:
        """Untag an image, and delete it with its last name.

        Raises:
            Refused: 404, 409 where a container uses it.
        """
        image = self.image(reference)
        if image is None:
            raise Refused(404, f"No such image: {reference}")
        by_id = reference == image.id
        users = [box for box in self.boxes.values() if box.image == image.id]
        last = len(image.tags) <= 1
        if by_id and len(image.tags) > 1 and not force:
            raise Refused(409, "image is referenced in multiple repositories")
        if (by_id or last) and users and (not force or any(box.running for box in users)):
            raise Refused(409, f"image is being used by container {users[0].id[:12]}")
        done: list[Any] = []
        if by_id or last:
            gone, image.tags = image.tags, []
            for tag in gone:
                done.append({"Untagged": tag})
                self.emit("image", "untag", image.id, {"name": tag})
            del self.images[image.id]
            self.emit("image", "delete", image.id, {"name": image.id})
            done.append({"Deleted": image.id})
        else:
            tag = reference.removeprefix("docker.io/library/")
            image.tags = [one for one in image.tags if one != tag]
            done.append({"Untagged": tag})
            self.emit("image", "untag", image.id, {"name": tag})
        self.say(f"engine: remove image {reference} by {by}: {done}")
        return done

    # Events.

    def emit(self, kind: str, action: str, any_id: str, attributes: dict[str, str]) -> None:
        """Tell every subscriber."""
        at = int((EPOCH_S + self.loop.time()) * 1e9)
        event = {
            "Type": kind,
            "Action": action,
            "Actor": {"ID": any_id, "Attributes": attributes},
            "scope": "local",
            "time": at // 10**9,
            "timeNano": at,
        }
        for stream in list(self.streams):
            stream.put_nowait(event)
