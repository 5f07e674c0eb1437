"""What must hold after a run: when the faults are over, and when everything was taken down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asupervisor.proto import cri
from tests.simulate.engine_http import foreign
from tests.simulate.truth import Truth


def same(truth: Truth, sandboxes: Any, containers: Any, images: Any) -> None:
    """The node state is the engine's."""
    real = {box.id: box for box in truth.engine.boxes.values() if not foreign(box)}
    shown = {one.id: ("sandbox", one.state == cri.SANDBOX_READY) for one in sandboxes}
    shown |= {one.id: ("container", one.state == cri.CONTAINER_RUNNING) for one in containers}
    for any_id, box in real.items():
        if any_id not in shown:
            truth.found("differs", f"{box.name} is not listed", any_id[:12])
            continue
        kind, alive = shown[any_id]
        if kind == "container" and alive != box.running:
            truth.found("differs", f"{box.name}: shown as running {alive}", any_id[:12])
        if kind == "sandbox" and alive and not box.running:
            truth.found("differs", f"{box.name}: ready and does not run", any_id[:12])
        entry = truth.network.book.get(any_id)
        if kind == "sandbox" and alive and (entry is None or entry.netns != box.netns):
            truth.found("differs", f"{box.name}: ready without its network", any_id[:12])
    for any_id in shown:
        if any_id not in real and shown[any_id][1]:
            truth.found("differs", f"{any_id[:12]} is shown alive and is gone", any_id[:12])
    there = {image.id: sorted(image.tags) for image in truth.engine.images.values()}
    told = {
        one.id: sorted(tag.removeprefix("docker.io/library/") for tag in one.repo_tags)
        for one in images
    }
    if there != told:
        truth.found("differs", f"images: {_difference(there, told)}")


def all_followed(truth: Truth) -> None:
    """The log of everything that runs is being written."""
    for box in truth.engine.boxes.values():
        runs = box.running and not box.is_sandbox and not foreign(box)
        if runs and box.id not in truth.pumps.followed:
            truth.found("differs", f"the log of {box.name} is not written", box.id[:12])


def nothing_left(truth: Truth, state: Path, cache: Path, under_way: Any) -> None:
    """Everything was taken down: nothing is kept of it."""
    for box in truth.engine.boxes.values():
        if not foreign(box):
            truth.found("left", f"container {box.name}", box.id[:12])
    if not any(map(foreign, truth.engine.boxes.values())):
        truth.found("foreign", "the container that is nobody's business is gone")
    for pod, entry in truth.network.book.items():
        truth.found("left", f"address {entry.address}", pod[:12])
    for directory in (state / "sandbox", state / "network" / "cni", cache / "results", cache):
        for path in sorted(directory.glob("*")) if directory.exists() else ():
            if path.is_file():
                truth.found("left", f"file {path.relative_to(state.parent)}", path.name[:12])
    for key, action, _ in under_way:
        truth.found("left", f"operation {action} of {key}")
    for container_id in {**truth.pumps.followed, **truth.pumps.kept}:
        truth.found("left", f"log follower of {container_id[:12]}", container_id[:12])
    for one in truth.engine.execs.said.values():
        if one.running:
            truth.found("left", f"command {one.word[:9]}", one.word[:9])
    streams = [one for one in truth.engine.execs.streams if not one.peer.is_closing()]
    if streams:
        truth.found("left", f"{len(streams)} streams of the engine")


def _difference(there: dict[str, Any], told: dict[str, Any]) -> str:
    return "; ".join(
        f"{image_id[7:19]}: engine {there.get(image_id)}, service {told.get(image_id)}"
        for image_id in sorted({*there, *told})
        if there.get(image_id) != told.get(image_id)
    )
