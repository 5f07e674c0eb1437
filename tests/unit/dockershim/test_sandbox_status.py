"""PodSandboxStatus with the statuses of the containers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from asupervisor.dockershim.sandbox.status import pod_sandbox_status
from asupervisor.node.fitting import MESSAGE_BYTES
from asupervisor.proto import cri


def shim(*containers: cri.ContainerStatus) -> Any:
    answers = [cri.ContainerStatusResponse(status=one) for one in containers]
    records = [SimpleNamespace(status_bytes=one.SerializeToString()) for one in answers]
    record = SimpleNamespace(id="s", status_bytes=b"")
    store = SimpleNamespace(
        sandbox=lambda sandbox_id: record,
        whole=lambda sandbox_id: True,
        containers_of=lambda sandbox_id: records,
        conceals=lambda container: False,
    )
    return SimpleNamespace(store=store)


@pytest.mark.parametrize(("count", "told"), [(2, True), (20, False)])
async def test_statuses_that_do_not_fit_a_message_are_left_to_be_asked_for(
    count: int, told: bool
) -> None:
    labels = {"note": "x" * (MESSAGE_BYTES // 16)}
    containers = [cri.ContainerStatus(id=str(index), labels=labels) for index in range(count)]
    encoded = await pod_sandbox_status(shim(*containers), cri.PodSandboxStatusRequest())
    answer = cri.PodSandboxStatusResponse.FromString(encoded)
    assert len(encoded) <= MESSAGE_BYTES
    # Without them and with a timestamp, a pod would have no containers.
    assert (len(answer.containers_statuses) == count, answer.timestamp > 0) == (told, told)
