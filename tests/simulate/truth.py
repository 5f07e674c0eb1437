"""What must hold: of each answer when it is given, of each effect when it happens, and in the
end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asupervisor.proto import cri
from tests.simulate.engine import Box, Engine
from tests.simulate.engine_http import foreign
from tests.simulate.network import Plugin


@dataclass(frozen=True)
class Finding:
    """Something that must not be.

    Args:
        invariant: which one.
        subject: an id that the trace can be searched for; may be empty.
        words: what was seen.
        line: how long the trace was.
    """

    invariant: str
    subject: str
    words: str
    line: int


class Truth:
    """Watches one run.

    Args:
        engine, network: what is true.
        say: writes a line of the trace and returns its number.
        now: the clock.
    """

    def __init__(self, say: Callable[[str], int], now: Callable[[], float]) -> None:
        self.engine: Engine
        self.network: Plugin
        self.tells_since: Callable[[], float] = lambda: 0.0
        """Since when the service hears at once of everything that others do."""
        self._say = say
        self._now = now
        self.findings: list[Finding] = []
        self.answered: dict[str, float] = {}
        """Sandboxes and containers that were answered OK, and when."""
        self.started: dict[str, float] = {}
        """Containers whose start was, and running sandboxes."""
        self.ending: set[str] = set()
        """What somebody asked the service to stop or remove."""

    def found(self, invariant: str, words: str, subject: str = "") -> None:
        """Note a finding."""
        line = self._say(f"FINDING {invariant}: {words}")
        self.findings.append(Finding(invariant, subject, words, line))

    # Effects.

    def effect(self, action: str, box: Box, by: str) -> None:
        """The engine changed a container."""
        if by != "service" or box.id in self.ending:
            return
        if foreign(box) and action in ("die", "destroy"):
            self.found("foreign", f"{action} of {box.name}", box.id[:12])
        # The engine tells of a kill before that of a removal by force.
        if action == "die" and box.id in self.answered:
            self.found("harmed", f"{box.name} was killed unasked", box.id[:12])

    def deleting(self, sandbox_id: str, netns: str) -> None:
        """A pod's address is given back."""
        box = self.engine.boxes.get(sandbox_id)
        if sandbox_id not in self.answered or sandbox_id in self.ending or box is None:
            return
        if box.running and box.netns == netns:
            self.found("harmed", f"{box.name} lost its address unasked", sandbox_id[:12])

    # Answers.

    def asked_to_end(self, any_id: str) -> None:
        """A call to stop or remove something is about to be made."""
        self.ending.add(any_id)
        self.ending.update(box.id for box in self.engine.boxes.values() if box.sandbox == any_id)

    def answer(self, method: str, request: Any, answer: Any, began: float) -> None:
        """An RPC was answered OK."""
        check = getattr(self, f"_{method}", None)
        if check is not None:
            check(request, answer, began)

    def not_found(self, method: str, any_id: str, began: float) -> None:
        """An RPC was answered NOT_FOUND."""
        box = self.engine.boxes.get(any_id)
        if box is not None and self.answered.get(any_id, began) < began:
            self.found("untrue", f"{method}: NOT_FOUND of {box.name}, which exists", any_id[:12])

    def _RunPodSandbox(self, request: Any, answer: Any, began: float) -> None:
        sandbox_id = answer.pod_sandbox_id
        box = self.engine.boxes.get(sandbox_id)
        self.answered[sandbox_id] = self._now()
        if box is None or not box.running:
            if box is None or box.touched_at < began:
                self.found("untrue", "RunPodSandbox: OK and it does not run", sandbox_id[:12])
        elif sandbox_id not in self.network.book and box.touched_at < began:
            self.found("untrue", "RunPodSandbox: OK without an address", sandbox_id[:12])
        else:
            self.started[sandbox_id] = self._now()

    def adopt(self, sandbox_id: str) -> None:
        """A list showed a sandbox as ready, and kubelet goes on with it."""
        if sandbox_id in self.answered:
            return
        self.answered[sandbox_id] = self._now()

    def _CreateContainer(self, request: Any, answer: Any, began: float) -> None:
        box = self.engine.boxes.get(answer.container_id)
        self.answered[answer.container_id] = self._now()
        if box is None:
            self.found(
                "untrue", "CreateContainer: OK and it is not there", answer.container_id[:12]
            )

    def _StartContainer(self, request: Any, answer: Any, began: float) -> None:
        box = self.engine.boxes.get(request.container_id)
        if box is not None and not box.starts:
            self.found("untrue", "StartContainer: OK and never started", request.container_id[:12])
        self.started[request.container_id] = self._now()

    def _StopContainer(self, request: Any, answer: Any, began: float) -> None:
        self._stopped("StopContainer", request.container_id, began)

    def _StopPodSandbox(self, request: Any, answer: Any, began: float) -> None:
        sandbox_id = request.pod_sandbox_id
        self._stopped("StopPodSandbox", sandbox_id, began)
        for box in self.engine.boxes.values():
            if box.sandbox == sandbox_id:
                self._stopped("StopPodSandbox", box.id, began)
        if sandbox_id in self.network.book:
            self.found("untrue", "StopPodSandbox: OK and its address is held", sandbox_id[:12])

    def _stopped(self, method: str, any_id: str, began: float) -> None:
        box = self.engine.boxes.get(any_id)
        if box is not None and box.running and not self._unheard(box, began):
            self.found("untrue", f"{method}: OK while {box.name} runs", any_id[:12])

    def _unheard(self, box: Box, began: float) -> bool:
        """Whether somebody else changed a container and the service need not know of it."""
        if not box.touched_at:
            return False
        return box.touched_at > began - 0.05 or not self.tells_since() < box.touched_at

    def _RemoveContainer(self, request: Any, answer: Any, began: float) -> None:
        if request.container_id in self.engine.boxes:
            self.found("untrue", "RemoveContainer: OK and it exists", request.container_id[:12])

    def _RemovePodSandbox(self, request: Any, answer: Any, began: float) -> None:
        sandbox_id = request.pod_sandbox_id
        for box in self.engine.boxes.values():
            if sandbox_id in (box.id, box.sandbox):
                self.found("untrue", f"RemovePodSandbox: OK and {box.name} exists", box.id[:12])
        if sandbox_id in self.network.book:
            self.found("untrue", "RemovePodSandbox: OK and its address is held", sandbox_id[:12])

    def _RemoveImage(self, request: Any, answer: Any, began: float) -> None:
        if self.engine.image(request.image.image) is not None:
            self.found("untrue", f"RemoveImage: OK and {request.image.image} is there")

    def _PullImage(self, request: Any, answer: Any, began: float) -> None:
        if answer.image_ref not in self.engine.images:
            self.found("untrue", f"PullImage: OK and {request.image.image} is not there")

    def _ListPodSandbox(self, request: Any, answer: Any, began: float) -> None:
        ready = {one.id: one.state == cri.SANDBOX_READY for one in answer.items}
        self._listed("ListPodSandbox", ready, True, began)

    def _ListContainers(self, request: Any, answer: Any, began: float) -> None:
        running = {one.id: one.state == cri.CONTAINER_RUNNING for one in answer.containers}
        self._listed("ListContainers", running, False, began)

    def _PodSandboxStatus(self, request: Any, answer: Any, began: float) -> None:
        self._shown("PodSandboxStatus", request.pod_sandbox_id, answer.status.state == 0, began)

    def _ContainerStatus(self, request: Any, answer: Any, began: float) -> None:
        running = answer.status.state == cri.CONTAINER_RUNNING
        self._shown("ContainerStatus", request.container_id, running, began)

    def _listed(self, method: str, shown: dict[str, bool], sandboxes: bool, began: float) -> None:
        for box in self.engine.boxes.values():
            if foreign(box) or box.is_sandbox != sandboxes:
                continue
            if self.answered.get(box.id, began) < began and box.id not in shown:
                self.found("untrue", f"{method} omits {box.name}", box.id[:12])
            elif box.id in shown:
                self._shown(method, box.id, shown[box.id], began)

    def _shown(self, method: str, any_id: str, alive: bool, began: float) -> None:
        """What runs undisturbed since before the call is not shown as ended."""
        box = self.engine.boxes.get(any_id)
        if (
            box is not None
            and not alive
            and box.running
            and box.starts == 1
            and self.started.get(any_id, began) < began
            and any_id not in self.ending
        ):
            self.found("untrue", f"{method} shows {box.name} as ended; it runs", any_id[:12])

    # In the end.

    def same(self, sandboxes: Any, containers: Any, images: Any) -> None:
        """The node state is the engine's."""
        real = {box.id: box for box in self.engine.boxes.values() if not foreign(box)}
        shown = {one.id: ("sandbox", one.state == cri.SANDBOX_READY) for one in sandboxes}
        shown |= {one.id: ("container", one.state == cri.CONTAINER_RUNNING) for one in containers}
        for any_id, box in real.items():
            if any_id not in shown:
                self.found("differs", f"{box.name} is not listed", any_id[:12])
                continue
            kind, alive = shown[any_id]
            if kind == "container" and alive != box.running:
                self.found("differs", f"{box.name}: shown as running {alive}", any_id[:12])
            if kind == "sandbox" and alive and not box.running:
                self.found("differs", f"{box.name}: ready and does not run", any_id[:12])
            entry = self.network.book.get(any_id)
            if kind == "sandbox" and alive and (entry is None or entry.netns != box.netns):
                self.found("differs", f"{box.name}: ready without its network", any_id[:12])
        for any_id in shown:
            if any_id not in real and shown[any_id][1]:
                self.found("differs", f"{any_id[:12]} is shown alive and is gone", any_id[:12])
        there = {image.id: sorted(image.tags) for image in self.engine.images.values()}
        told = {
            one.id: sorted(tag.removeprefix("docker.io/library/") for tag in one.repo_tags)
            for one in images
        }
        if there != told:
            self.found("differs", f"images: {_difference(there, told)}")

    def nothing_left(self, state: Path, cache: Path, under_way: Any) -> None:
        """Everything was taken down: nothing is kept of it."""
        for box in self.engine.boxes.values():
            if not foreign(box):
                self.found("left", f"container {box.name}", box.id[:12])
        if not any(map(foreign, self.engine.boxes.values())):
            self.found("foreign", "the container that is nobody's business is gone")
        for pod, entry in self.network.book.items():
            self.found("left", f"address {entry.address}", pod[:12])
        for directory in (state / "sandbox", state / "network" / "cni", cache / "results", cache):
            for path in sorted(directory.glob("*")) if directory.exists() else ():
                if path.is_file():
                    self.found("left", f"file {path.relative_to(state.parent)}", path.name[:12])
        for key, action, _ in under_way:
            self.found("left", f"operation {action} of {key}")


def _difference(there: dict[str, Any], told: dict[str, Any]) -> str:
    return "; ".join(
        f"{image_id[7:19]}: engine {there.get(image_id)}, service {told.get(image_id)}"
        for image_id in sorted({*there, *told})
        if there.get(image_id) != told.get(image_id)
    )
