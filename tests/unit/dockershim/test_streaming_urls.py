"""A URL that was given out stands for what the request named at that time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from asupervisor.dockershim.streaming.attach import attach
from asupervisor.dockershim.streaming.exec import exec_
from asupervisor.dockershim.streaming.port_forward import port_forward
from asupervisor.engine.health import EngineHealth
from asupervisor.node.build import container_record, sandbox_record
from asupervisor.node.store import NodeStore
from asupervisor.proto import cri
from tests.harness.fake_engine import container_document

SANDBOX, CONTAINER = "a" * 64, "c" * 64
RUNNING = {"Pid": 7}


@pytest.mark.parametrize(
    ("verb", "request_"),
    [
        (exec_, cri.ExecRequest(container_id=CONTAINER[:12], cmd=["id"], stdout=True)),
        (attach, cri.AttachRequest(container_id=CONTAINER[:12], stdout=True)),
        (port_forward, cri.PortForwardRequest(pod_sandbox_id=SANDBOX[:12], port=[80])),
    ],
    ids=["Exec", "Attach", "PortForward"],
)
async def test_it_stands_for_a_whole_id(verb: Any, request_: Any) -> None:
    store, given = NodeStore(), list[Any]()
    sandbox = container_document(SANDBOX, "k8s_POD_web_default_u1_0", True, state=RUNNING)
    container = container_document(
        CONTAINER, labels={"io.kubernetes.sandbox.id": SANDBOX}, state=RUNNING
    )
    store.put_sandbox(sandbox_record(sandbox, None, ()))
    store.put_container(container_record(container, lambda reference: None))
    health = EngineHealth()
    health.set_reachable()
    health.set_synced()

    def url(wanted: Any) -> str:
        given.append(wanted)
        return "url"

    urls: Any = SimpleNamespace(url=url)
    shim: Any = SimpleNamespace(store=store, engine=SimpleNamespace(health=health), streaming=urls)
    assert (await verb(shim, request_)).url == "url"
    (wanted,) = given
    assert getattr(wanted, "container_id", "") in ("", CONTAINER)
    assert getattr(wanted, "pod_sandbox_id", "") in ("", SANDBOX)
