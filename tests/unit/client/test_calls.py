"""Calls in a second and their latencies, out of the service's metrics."""

from __future__ import annotations

import contextlib
import math

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from asupervisor.client.calls import Counted, between, count_calls, read_counts
from asupervisor.errors import Unavailable
from asupervisor.metrics import Metrics
from asupervisor.observability.pages import Observability

BUCKET = "asupervisor_rpc_duration_seconds_bucket"


def text(metrics: Metrics) -> str:
    return metrics.exposition(list(metrics.collect())).decode()


def call(metrics: Metrics, method: str, seconds: float, code: str = "OK") -> None:
    figures = metrics.rpc(method)
    figures.begin()
    figures.end(seconds, code)


def test_what_was_done_between_two_looks() -> None:
    metrics = Metrics()
    call(metrics, "Version", 100.0)
    metrics.engine_operation("ping", 0.001, None)
    before, engine_before = read_counts(text(metrics))
    for number in range(98):
        call(metrics, "ListContainers", 0.0002 if number < 60 else 0.002)
    call(metrics, "Version", 0.2, "INTERNAL")
    call(metrics, "Status", 0.2)
    metrics.engine_operation("ping", 0.04, OSError())
    after, engine_after = read_counts(text(metrics))
    done = between(before, after, 10.0)
    assert done is not None
    assert (done.per_s, done.failed_per_s) == (10.0, 0.1)
    assert (done.half_s, done.most_s) == (0.00025, 0.25)
    engine = between(engine_before, engine_after, 2.0)
    assert engine is not None
    assert (engine.per_s, engine.failed_per_s, engine.half_s) == (0.5, 0.5, 0.05)


def test_nothing_is_said_of_a_service_that_began_anew_or_was_not_asked() -> None:
    some, none = Counted({1.0: 5.0, math.inf: 9.0}, 1.0), Counted()
    assert between(some, none, 1.0) is None
    assert between(some, Counted({math.inf: math.nan}), 1.0) is None
    assert between(none, some, 0.0) is None
    idle = between(some, some, 1.0)
    assert idle is not None and (idle.per_s, idle.half_s) == (0.0, None)
    longest = between(none, Counted({1.0: 0.0, math.inf: 3.0}), 1.0)
    assert longest is not None and longest.most_s == math.inf


@pytest.mark.parametrize(
    "answer", ["", "{", "\x00", f'{BUCKET}{{le="x"}} 3', f'{BUCKET}{{le="1"}} many', f"{BUCKET} 3"]
)
def test_an_answer_that_is_no_metrics_is_an_error(answer: str) -> None:
    with pytest.raises(ValueError, match=r"not the metrics of asupervisor|could not convert"):
        read_counts(answer)


async def test_where_nothing_listens_is_said() -> None:
    with pytest.raises(Unavailable, match="no metrics at"):
        await count_calls("127.0.0.1", 1)


async def test_the_services_own_answer_is_understood() -> None:
    metrics = Metrics()
    call(metrics, "Version", 0.3)
    async with anyio.create_task_group() as tasks:
        url = await tasks.start(Observability(":0", metrics, list).run)
        calls, requests = await count_calls("127.0.0.1", int(url.rpartition(":")[2]))
        assert (calls.within[0.25], calls.within[math.inf], requests) == (0, 1, Counted())
        tasks.cancel_scope.cancel()


async def test_an_answer_without_end_is_cut() -> None:
    async def pour(stream: SocketStream) -> None:
        with contextlib.suppress(anyio.BrokenResourceError):
            while True:
                await stream.send(b"x" * 65536)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, pour)
        with pytest.raises(Unavailable, match="no metrics at"):
            await count_calls("127.0.0.1", listener.extra(SocketAttribute.local_port))
        tasks.cancel_scope.cancel()
