"""The exit code of ``info`` is whether the node can run pods."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any, cast

import pytest

from asupervisor.cli.verbs import info
from asupervisor.client import Client
from asupervisor.proto import cri


@pytest.mark.parametrize(
    ("false", "code"),
    [
        ((), 0),
        (("RuntimeReady",), 1),
        (("NetworkReady",), 1),
        (("OfAServersOwn",), 0),
    ],
)
async def test_only_what_the_cri_requires_decides(
    capsys: pytest.CaptureFixture[str], false: tuple[str, ...], code: int
) -> None:
    async def status(verbose: bool) -> cri.StatusResponse:
        kinds = ("RuntimeReady", "NetworkReady", "OfAServersOwn")
        conditions = [cri.RuntimeCondition(type=kind, status=kind not in false) for kind in kinds]
        return cri.StatusResponse(status=cri.RuntimeStatus(conditions=conditions))

    async def version() -> cri.VersionResponse:
        return cri.VersionResponse(runtime_name="other", runtime_version="1")

    runtime: Any = SimpleNamespace(status=status, version=version, api_version="v1")
    client = cast(Client, SimpleNamespace(runtime=runtime))
    assert await info.run(client, argparse.Namespace(output="table")) == code
    shown = capsys.readouterr().out
    assert shown.count(" false (") == len(false)


async def test_a_server_that_does_not_say_it_is_ready_is_not() -> None:
    async def status(verbose: bool) -> cri.StatusResponse:
        return cri.StatusResponse()

    client = cast(Client, SimpleNamespace(runtime=SimpleNamespace(status=status)))
    assert await info.run(client, argparse.Namespace(output="json")) == 1
