"""The table of deadlines: every RPC has one, and it is kubelet's."""

from __future__ import annotations

import re

import pytest

from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from asupervisor.remote.deadlines import DEADLINES, deadline_s

METHODS = [
    f"{service.name}/{method.name}"
    for service in cri.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def test_every_rpc_has_a_deadline_and_nothing_else_has() -> None:
    assert len(METHODS) == 43
    assert set(DEADLINES) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_every_rpc_has_a_method(method: str) -> None:
    service, rpc = method.split("/")
    client = {"RuntimeService": RemoteRuntimeService, "ImageService": RemoteImageService}[service]
    function = getattr(client, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", rpc).lower())
    assert function.__doc__, "a public method says what it does"


OWN = {
    "RuntimeService/StopContainer": (cri.StopContainerRequest, 120.0, 150.0),
    "RuntimeService/ExecSync": (cri.ExecSyncRequest, None, 150.0),
    "RuntimeService/CheckpointContainer": (cri.CheckpointContainerRequest, 120.0, 150.0),
}
ENDLESS = {"RuntimeService/GetContainerEvents", "ImageService/PullImage"}


@pytest.mark.parametrize("method", METHODS)
def test_deadline(method: str) -> None:
    if method in OWN:
        request, without, with_30_s = OWN[method]
        assert deadline_s(method, request(), 120.0) == without
        assert deadline_s(method, request(timeout=30), 120.0) == with_30_s
    elif method in ENDLESS:
        assert deadline_s(method, None, 120.0) is None
    else:
        assert deadline_s(method, None, 120.0) == 120.0
        assert deadline_s(method, None, 1.5) == 1.5


def test_requests_with_a_time_of_their_own_are_the_ones_the_table_knows() -> None:
    found = {
        f"{service.name}/{method.name}"
        for service in cri.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if "timeout" in method.input_type.fields_by_name
    }
    assert found == set(OWN)


def test_a_negative_grace_does_not_shorten_the_deadline() -> None:
    assert (
        deadline_s("RuntimeService/StopContainer", cri.StopContainerRequest(timeout=-100), 120.0)
        == 120.0
    )
