"""A sandbox whose process was started again by somebody has lost its network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import asupervisor.dockershim.sandbox.network as pod_networks
from asupervisor.dockershim.sandbox.network import recorded_network
from asupervisor.node import networks
from asupervisor.node.build import sandbox_record
from asupervisor.node.networks import MADE_FOR, RELEASED, RELEASING, SandboxNetworks
from asupervisor.proto import cri
from asupervisor.translate.checkpoint import Checkpoint
from tests.harness.fake_engine import container_document

ID = "a" * 64
FIRST, SECOND = "2026-01-02T03:04:05.1Z", "2026-01-02T04:00:00.2Z"


def document(started: str = FIRST, mode: str = "none", running: bool = True) -> dict[str, Any]:
    return container_document(
        ID,
        "k8s_POD_web_default_u1_0",
        sandbox=True,
        state={"StartedAt": started, "Running": running, "Pid": os.getpid() if running else 0},
        HostConfig={"NetworkMode": mode},
    )


def kept(**extra: Any) -> Checkpoint:
    return Checkpoint(name="web", namespace="default", runtime_handler="", extra=extra)


@pytest.mark.parametrize(
    ("found", "checkpoint", "lost"),
    [
        (document(), kept(**{MADE_FOR: FIRST}), False),
        (document(SECOND), kept(**{MADE_FOR: FIRST}), True),
        (document(SECOND, running=False), kept(**{MADE_FOR: FIRST}), False),
        (document(SECOND, mode="host"), kept(**{MADE_FOR: FIRST}), False),
        (document(SECOND, mode="default"), kept(**{MADE_FOR: FIRST}), False),
        (document(SECOND), kept(**{RELEASED: True}), True),
        (document(SECOND), kept(**{MADE_FOR: FIRST, RELEASED: True}), True),
        (document(SECOND), kept(**{MADE_FOR: FIRST, RELEASING: True}), True),
    ],
    ids=[
        "same",
        "restarted",
        "ended",
        "host",
        "no-op",
        "stopped, then started",
        "released, then started",
        "a release cut short, then started",
    ],
)
def test_the_start_that_was_written_down_decides(
    found: dict[str, Any], checkpoint: Checkpoint, lost: bool
) -> None:
    assert SandboxNetworks(local=True).lost(found, checkpoint) is lost
    record = sandbox_record(found, checkpoint, ("10.0.0.2",), network_lost=lost)
    if lost:
        assert record.status.state == cri.SANDBOX_NOTREADY and not record.status.network.ip
        assert record.pid, "it runs, so that it can be stopped"
        assert recorded_network(ID, record, checkpoint).netns == "", (
            "the one it was made in is gone"
        )


@pytest.mark.parametrize("mark", [RELEASING, RELEASED])
def test_a_stop_that_was_cut_short_leaves_no_ready_sandbox(
    monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    namespace = f"/proc/{os.getpid()}/ns/net"
    monkeypatch.setattr(pod_networks, "network_namespace", lambda pid, any_id: namespace)
    checkpoint = kept(**{MADE_FOR: FIRST, mark: True})
    lost = SandboxNetworks(local=True).lost(document(), checkpoint)
    record = sandbox_record(document(), checkpoint, ("10.0.0.2",), network_lost=lost)
    assert record.status.state == cri.SANDBOX_NOTREADY and not record.status.network.ip
    # What is left of its network is in there.
    assert recorded_network(ID, record, checkpoint).netns == namespace


@pytest.mark.parametrize(
    ("interfaces", "local", "believed"),
    [
        (["lo", "eth0"], True, True),
        (["lo", "tunl0", "net1"], True, True),
        (["lo"], True, False),
        (["lo", "tunl0", "sit0"], True, False),
        (["lo"], False, True),
    ],
)
@pytest.mark.parametrize("checkpoint", [None, kept()], ids=["none", "a peer's"])
def test_one_of_a_peer_is_believed_at_the_first_sight(
    monkeypatch: pytest.MonkeyPatch,
    interfaces: list[str],
    local: bool,
    believed: bool,
    checkpoint: Checkpoint | None,
) -> None:
    lines = ["Inter-| Receive", " face |bytes", *(f"  {name}: 0 0" for name in interfaces)]
    monkeypatch.setattr(networks, "network_namespace", lambda pid, any_id: f"/proc/{pid}/ns/net")
    content = "\n".join((*lines, "")).encode()
    monkeypatch.setattr(Path, "read_bytes", lambda path: content)
    seen = SandboxNetworks(local)
    assert seen.lost(document(), checkpoint) is not believed
    assert seen.lost(document(), checkpoint) is not believed
    assert seen.lost(document(SECOND), checkpoint), "from then on its start is known"


def test_one_in_the_making_has_nothing_to_lose() -> None:
    half_built = Checkpoint(name="web", namespace="default", complete=False)
    assert not SandboxNetworks(local=True).lost(document(), half_built)


def test_what_cannot_be_seen_is_not_held_against_it() -> None:
    assert not networks._is_bare(2**31 - 1, ID)


@pytest.mark.parametrize(
    ("found", "checkpoint", "ending"),
    [
        (document(FIRST), kept(**{MADE_FOR: FIRST, RELEASED: True}), True),
        (document(SECOND), kept(**{MADE_FOR: FIRST, RELEASED: True}), False),
        (document(FIRST), kept(**{MADE_FOR: FIRST}), False),
        (document(FIRST), None, False),
    ],
    ids=["being stopped", "started after its stop", "living", "no checkpoint"],
)
def test_a_process_that_a_stop_ends_next_was_not_started_again(
    found: dict[str, Any], checkpoint: Checkpoint | None, ending: bool
) -> None:
    assert SandboxNetworks(local=True).is_ending(found, checkpoint) is ending
