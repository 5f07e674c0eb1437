"""Requests that no client sends: each is answered or closed, and nothing of them is a defect in the
log.
"""

from __future__ import annotations

import logging

import anyio
import anyio.abc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asupervisor.metrics import Metrics
from asupervisor.observability.pages import Observability
from asupervisor.streaming.settings import Settings
from tests.integration.streaming.test_server import everything, served

TARGETS = [
    b"//[",
    b"//[/exec/x",
    b"http://[::1/exec/x",
    b"//[v1.x]/exec/x",
    b"http://[x]:99999999/exec/x",
    b"/exec/\xff\xfe",
    b"/exec/x#?",
    b"?",
    b"*",
    b"//",
    b"/%00/exec/%zz",
    b"http://\xe2\x84\xaa/exec/x",
]


def asked(target: bytes, more: bytes = b"") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n"


async def answer(address: tuple[str, int], sent: bytes) -> bytes:
    """All that comes back."""
    async with await anyio.connect_tcp(*address) as stream:
        try:
            await stream.send(sent)
            await stream.send_eof()
            with anyio.fail_after(30):
                return await everything(stream)
        except (anyio.BrokenResourceError, OSError):
            return b""


@pytest.mark.parametrize("target", TARGETS)
async def test_any_target_is_answered_without_a_traceback(
    target: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "asupervisor")
    async with served(settings=Settings(farewell_timeout_s=0.5)) as (service, _):
        host, _, port = service.base_url.removeprefix("http://").rpartition(":")
        text = await answer((host, int(port)), asked(target))
    assert text.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert not caplog.records


@pytest.mark.parametrize("target", TARGETS)
async def test_the_pages_answer_any_target_without_a_traceback(
    target: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "asupervisor")
    page = Observability("127.0.0.1:0", Metrics(), list)
    async with anyio.create_task_group() as tasks:
        url = await tasks.start(page.run)
        host, _, port = url.removeprefix("http://").rpartition(":")
        text = await answer((host, int(port)), asked(target))
        tasks.cancel_scope.cancel()
    assert text.startswith(b"HTTP/1.1 404 ") or not text
    assert not caplog.records


HEAD = st.builds(
    lambda method, target, version, headers, rest: (
        b" ".join((method, target, version))
        + b"\r\n"
        + b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        + b"\r\n"
        + rest
    ),
    st.sampled_from([b"GET", b"POST", b"HEAD", b"get", b"", b"\x16\x03"]) | st.binary(max_size=4),
    st.sampled_from(TARGETS) | st.binary(max_size=40).map(lambda tail: b"/exec/" + tail),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b""]),
    st.lists(
        st.tuples(
            st.sampled_from(
                [b"Host", b"Connection", b"Upgrade", b"Content-Length", b"Transfer-Encoding"]
            )
            | st.binary(max_size=8),
            st.sampled_from([b"upgrade", b"websocket", b"SPDY/3.1", b"chunked", b"9" * 30, b"-1"])
            | st.binary(max_size=20),
        ),
        max_size=6,
    ),
    st.binary(max_size=60),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(heads=st.lists(HEAD, min_size=1, max_size=8))
async def test_any_head_is_answered_or_closed(
    heads: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "asupervisor")
    caplog.clear()
    bounds = Settings(farewell_timeout_s=0.2, head_timeout_s=2)
    page = Observability("127.0.0.1:0", Metrics(), list)
    async with served(settings=bounds) as (service, _), anyio.create_task_group() as tasks:
        for url in (service.base_url, await tasks.start(page.run)):
            host, _, port = url.removeprefix("http://").rpartition(":")
            for head in heads:
                text = await answer((host, int(port)), head)
                assert not text or text.startswith(b"HTTP/1.1 ")
        tasks.cancel_scope.cancel()
    assert not caplog.records
