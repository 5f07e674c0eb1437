"""Servers whose WebSocket is older than this service's, as that of other runtimes is."""

from __future__ import annotations

import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.streaming import negotiation
from asupervisor.streaming.client import open_command
from asupervisor.streaming.requests import AttachRequest, ExecRequest
from tests.harness.client import run_command
from tests.integration.streaming.test_server import CAT, served


@pytest.fixture(autouse=True)
def _without_the_end_of_input(monkeypatch: pytest.MonkeyPatch) -> None:
    known = negotiation.COMMAND_CHANNELS.items()
    older = {name: each for name, each in known if not each.closes_channels}
    monkeypatch.setattr(negotiation, "COMMAND_CHANNELS", older)


async def test_input_whose_end_cannot_be_told_is_refused_before_anything_starts() -> None:
    async with served() as (service, backend):
        attach = AttachRequest(container_id="c", stdin=True)
        for url in (service.exec_url(CAT), service.attach_url(attach)):
            with pytest.raises(FailedPrecondition, match=r"v5\.channel\.k8s\.io .* try SPDY"):
                async with open_command(url, stdin=True, websocket=True):
                    raise AssertionError("the command would wait for more for ever")
        assert backend.processes == []


async def test_what_needs_no_end_of_input_runs() -> None:
    async with served() as (service, _):
        echo = ExecRequest(container_id="c", command=("echo", "said"))
        done = await run_command(service.exec_url(echo), websocket=True)
        assert (done.protocol, done.stdout) == ("v4.channel.k8s.io", b"said\n")
        keys = ExecRequest(container_id="c", command=("cat",), stdin=True, tty=True, stderr=False)
        url = service.exec_url(keys)
        async with open_command(url, stdin=True, tty=True, websocket=True) as command:
            assert command.protocol == "v4.channel.k8s.io"
