"""Tokens and the requests that they stand for."""

from __future__ import annotations

import re

import pytest

from asupervisor.config import StreamingConfig
from asupervisor.errors import InvalidArgument, NotFound, ResourceExhausted
from asupervisor.streaming.requests import AttachRequest, ExecRequest, PortForwardRequest, Request
from asupervisor.streaming.server import StreamingService
from asupervisor.streaming.tokens import TokenCache
from tests.harness.streaming import LocalBackend

EXEC = ExecRequest(container_id="c", command=("sh",))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_8_url_safe_characters_and_works_once() -> None:
    cache = TokenCache()
    token = cache.insert(EXEC)
    assert re.fullmatch(r"[A-Za-z0-9_-]{8}", token)
    assert cache.consume(token, "exec") is EXEC
    with pytest.raises(NotFound):
        cache.consume(token, "exec")


def test_a_token_is_good_for_its_own_verb_alone() -> None:
    cache = TokenCache()
    token = cache.insert(EXEC)
    with pytest.raises(NotFound):
        cache.consume(token, "attach")
    assert cache.consume(token, "exec") is EXEC


def test_a_token_expires_after_a_minute() -> None:
    clock = Clock()
    cache = TokenCache(clock=clock)
    early, clock.now = cache.insert(EXEC), 59.9
    late = cache.insert(EXEC)
    assert len(cache) == 2
    clock.now = 60.0
    with pytest.raises(NotFound):
        cache.consume(early, "exec")
    assert cache.consume(late, "exec") is EXEC


def test_more_than_a_thousand_tokens_wait_for_nobody() -> None:
    clock = Clock()
    cache = TokenCache(clock=clock)
    tokens = [cache.insert(EXEC) for _ in range(1000)]
    with pytest.raises(ResourceExhausted):
        cache.insert(EXEC)
    cache.consume(tokens[500], "exec")
    cache.insert(EXEC)
    clock.now = 61.0
    cache.insert(EXEC)
    assert len(cache) == 1


@pytest.mark.parametrize(
    "request_",
    [
        ExecRequest(container_id="", command=("sh",)),
        ExecRequest(container_id="c", command=()),
        ExecRequest(container_id="c", command=("sh",), tty=True, stderr=True),
        ExecRequest(container_id="c", command=("sh",), stdin=False, stdout=False, stderr=False),
        AttachRequest(container_id="c", tty=True, stderr=True),
        AttachRequest(container_id="c", stdout=False, stderr=False),
        PortForwardRequest(pod_sandbox_id=""),
        PortForwardRequest(pod_sandbox_id="p", ports=(0,)),
        PortForwardRequest(pod_sandbox_id="p", ports=(65536,)),
    ],
)
def test_requests_that_nobody_may_make(request_: Request) -> None:
    with pytest.raises(InvalidArgument):
        request_.check()


@pytest.mark.parametrize(
    "request_",
    [
        ExecRequest(container_id="c", command=("sh",), tty=True, stdin=True, stderr=False),
        AttachRequest(container_id="c", stdin=True, stdout=False, stderr=False),
        PortForwardRequest(pod_sandbox_id="p"),
        PortForwardRequest(pod_sandbox_id="p", ports=(1, 65535)),
    ],
)
def test_requests_that_are_well(request_: Request) -> None:
    request_.check()


def test_a_service_keeps_to_the_tokens_that_it_was_given() -> None:
    tokens = TokenCache(capacity=1)
    service = StreamingService(StreamingConfig(redirect=True), LocalBackend(), tokens=tokens)
    service.url(ExecRequest(container_id="c", command=("ls",)))
    assert len(tokens) == 1
    with pytest.raises(ResourceExhausted):
        service.url(ExecRequest(container_id="c", command=("ls",)))
