"""What must hold: of each answer when it is given, of each effect when it happens, and in the
end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from asupervisor.proto import cri
from tests.simulate.engine import Box, Engine
from tests.simulate.engine_http import foreign
from tests.simulate.errors import CallFailed
from tests.simulate.logpump import Pumps
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
        self.pumps: Pumps
        self.tells_since: Callable[[], float] = lambda: 0.0
        """Since when the service hears at once of everything that others do."""
        self._unread: Collection[str] = ()
        self._say = say
        self._now = now
        self.findings: list[Finding] = []
        self.answered: dict[str, float] = {}
        """Sandboxes and containers that were answered OK, and when."""
        self.started: dict[str, float] = {}
        """Containers whose start was, and running sandboxes."""
        self.ending: set[str] = set()
        """What somebody asked the service to stop or remove."""
        self.gone: dict[str, Box] = {}
        """What the engine has no more."""
        self.stopped: dict[str, float] = {}
        """What was answered to be stopped, and when."""
        self.removed: dict[str, float] = {}
        """What was answered to be removed, and when."""

    def found(self, invariant: str, words: str, subject: str = "") -> None:
        """Note a finding."""
        line = self._say(f"FINDING {invariant}: {words}")
        self.findings.append(Finding(invariant, subject, words, line))

    # Effects.

    def effect(self, action: str, box: Box, by: str) -> None:
        """The engine changed a container."""
        if action == "destroy":
            self.gone[box.id] = box
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

    def answer(
        self, method: str, request: Any, answer: Any, began: float, unread: Collection[str]
    ) -> None:
        """An RPC was answered OK.

        Args:
            unread: what the service could not read yet when it was asked.
        """
        self._unread = unread
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
            was = box or self.gone[sandbox_id]
            heard = self.tells_since() < was.touched_at < self._now() - 0.1
            if was.touched_at < began or (box is None and heard):
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
        any_id = answer.container_id
        self.answered[any_id] = self._now()
        if any_id in self.engine.boxes:
            return
        was = self.gone.get(any_id)
        if was is None or not self._unheard(was, began):
            self.found("untrue", "CreateContainer: OK and it is not there", any_id[:12])

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
        if box is not None and box.running:
            if not self._unheard(box, began):
                self.found("untrue", f"{method}: OK while {box.name} runs", any_id[:12])
            return  # started again since, which was not heard of yet
        self.stopped[any_id] = self._now()

    def _unheard(self, box: Box, began: float) -> bool:
        """Whether somebody else changed a container and the service need not know of it."""
        if not box.touched_at:
            return False
        return box.touched_at > began - 0.05 or not self.tells_since() < box.touched_at

    def _RemoveContainer(self, request: Any, answer: Any, began: float) -> None:
        self.removed[request.container_id] = self._now()
        if request.container_id in self.engine.boxes:
            self.found("untrue", "RemoveContainer: OK and it exists", request.container_id[:12])

    def _RemovePodSandbox(self, request: Any, answer: Any, began: float) -> None:
        sandbox_id = request.pod_sandbox_id
        self.removed[sandbox_id] = self._now()
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
        for any_id in shown:
            if self.removed.get(any_id, began) < began:
                self.found("untrue", f"{method} shows what was removed", any_id[:12])
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

    # Streams, logs, stats.

    def refused(self, method: str, request: Any, error: CallFailed, began: float) -> None:
        """A stream, or a new log, was refused."""
        any_id = getattr(request, "container_id", "") or getattr(request, "pod_sandbox_id", "")
        if error.code in ("NOT_FOUND", "FAILED_PRECONDITION") and self._undisturbed(any_id, began):
            self.found("untrue", f"{method} of what runs: {error}", any_id[:12])

    def _undisturbed(self, any_id: str, began: float) -> bool:
        box = self.engine.boxes.get(any_id)
        return (
            box is not None
            and box.running
            and box.starts == 1
            and self.started.get(any_id, began) < began
            and any_id not in self.ending
        )

    def _Exec(self, request: Any, answer: Any, began: float) -> None:
        self._streamed("Exec", request.container_id, began)

    def _Attach(self, request: Any, answer: Any, began: float) -> None:
        self._streamed("Attach", request.container_id, began)

    def _PortForward(self, request: Any, answer: Any, began: float) -> None:
        self._streamed("PortForward", request.pod_sandbox_id, began)

    def _streamed(self, method: str, any_id: str, began: float) -> None:
        """What was answered to be stopped or removed can only run if somebody started it again."""
        box = self.engine.boxes.get(any_id)
        ended_at = self.removed.get(any_id, self.stopped.get(any_id, began))
        if ended_at < began and (box is None or box.touched_at < ended_at):
            self.found("untrue", f"{method}: a URL of what was ended", any_id[:12])

    def _ExecSync(self, request: Any, answer: Any, began: float) -> None:
        self._ran(request.cmd[1], answer.stdout, answer.exit_code)

    def session(self, word: str, said: bytes, code: int | None) -> None:
        """A streamed command ended with a code, or with none that is known."""
        if code is not None:
            self._ran(word, said, code)

    def _ran(self, word: str, said: bytes, code: int) -> None:
        command = self.engine.execs.said.get(word)
        if command is None or command.running or command.exit_code != code:
            is_code = command and command.exit_code
            self.found("untrue", f"{word[:9]}: exit code {code}; it is {is_code}", word[:9])
        elif said != command.wrote and not command.withheld:
            self.found("untrue", f"{word[:9]}: {len(said)} bytes of {len(command.wrote)}", word[:9])

    def exec_failed(self, word: str, error: CallFailed, has_timeout: bool) -> None:
        """ExecSync was answered with an error."""
        command = self.engine.execs.said.get(word)
        if command is None:
            return
        if "was killed" in str(error) and command.running:
            self.found("untrue", f"{word[:9]} runs on: {error}", word[:9])
        gone_at = command.box.finished_at
        may_wait = command.box.running or gone_at > self._now() - 60
        if "DEADLINE_EXCEEDED: not within" in str(error) and (has_timeout or not may_wait):
            self.found("hung", f"ExecSync {word[:9]}: {error}", word[:9])

    def _ReopenContainerLog(self, request: Any, answer: Any, began: float) -> None:
        if self.pumps.reopened.get(request.container_id, 0.0) < began:
            container_id = request.container_id
            self.found("untrue", "ReopenContainerLog: OK and no new file", container_id[:12])

    def _ListContainerStats(self, request: Any, answer: Any, began: float) -> None:
        self._counted("ListContainerStats", answer)
        # What could not be read yet has no stats.
        shown = dict.fromkeys((one.attributes.id for one in answer.stats), True)
        self._listed("ListContainerStats", shown | dict.fromkeys(self._unread, True), False, began)

    def _ListPodSandboxStats(self, request: Any, answer: Any, began: float) -> None:
        self._counted("ListPodSandboxStats", answer)
        self._ready_ones("ListPodSandboxStats", {one.attributes.id for one in answer.stats}, began)

    def _ListPodSandboxMetrics(self, request: Any, answer: Any, began: float) -> None:
        self._counted("ListPodSandboxMetrics", answer)
        shown = {one.pod_sandbox_id for one in answer.pod_metrics}
        self._ready_ones("ListPodSandboxMetrics", shown, began)

    def _ready_ones(self, method: str, shown: set[str], began: float) -> None:
        """Sandboxes that are not ready are left out."""
        for box in self.engine.boxes.values():
            missing = box.is_sandbox and box.id not in shown and box.id not in self._unread
            if missing and self._undisturbed(box.id, began):
                self.found("untrue", f"{method} omits {box.name}", box.id[:12])
        for any_id in shown:
            if self.removed.get(any_id, began) < began:
                self.found("untrue", f"{method} shows what was removed", any_id[:12])

    def _ContainerStats(self, request: Any, answer: Any, began: float) -> None:
        self._counted("ContainerStats", answer)

    def _PodSandboxStats(self, request: Any, answer: Any, began: float) -> None:
        self._counted("PodSandboxStats", answer)

    def _counted(self, method: str, message: Any) -> None:
        """No figure is below nothing, nor what becomes of that without a sign."""
        for descriptor, value in message.ListFields():
            for one in value if hasattr(value, "__len__") else (value,):
                if hasattr(one, "ListFields"):
                    self._counted(method, one)
                elif isinstance(one, int) and not 0 <= one < 1 << 62:
                    self.found("untrue", f"{method}: {descriptor.name} is {one}")
