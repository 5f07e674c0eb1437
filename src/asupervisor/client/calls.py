"""How many calls this project's service gets, and makes to its engine, from its metrics.

Another program may answer at that address: the answer is bounded in bytes and time, and a value
that is not a number is an error."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import anyio

from asupervisor.errors import Unavailable

_TIMEOUT_S = 2.0
_LONGEST_BYTES = 4 << 20
_CALLS = {
    "asupervisor_rpc_duration_seconds_bucket": "asupervisor_rpc_errors_total",
    "docker_operations_duration_seconds_bucket": "docker_operations_errors_total",
}
"""Of CRI calls and of engine requests: the metric of latencies, and that of failures."""
_SAMPLE = re.compile(r"^(\w+)\{([^}\n]*)\} (\S+)$", re.M)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Counted:
    """Calls of one kind since the service's start.

    Args:
        within: how many took at most so many seconds; the last one, infinity, has all of them.
        failed: how many of them failed.
    """

    within: Mapping[float, float] = field(default_factory=dict)
    failed: float = 0.0


@dataclass(frozen=True, slots=True)
class Activity:
    """Calls of one kind between two moments.

    Args:
        per_s, failed_per_s: calls in a second.
        half_s, most_s: seconds within which half of them, and 99 of 100, were answered, rounded up
            to a bound of the metric; None where there was no call.
    """

    per_s: float
    failed_per_s: float
    half_s: float | None
    most_s: float | None


async def count_calls(host: str, port: int) -> tuple[Counted, Counted]:
    """CRI calls and engine requests until now.

    Args:
        host, port: of the service's metrics.

    Raises:
        Unavailable: there are no metrics.
    """
    answer = bytearray()
    try:
        with anyio.fail_after(_TIMEOUT_S):
            async with await anyio.connect_tcp(host, port) as stream:
                await stream.send(b"GET /metrics HTTP/1.0\r\n\r\n")
                with suppress(anyio.EndOfStream):
                    while len(answer) < _LONGEST_BYTES:
                        answer += await stream.receive()
        return read_counts(answer.decode())
    except (OSError, anyio.BrokenResourceError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise Unavailable(f"no metrics at {host}:{port}: {why}", subject=host) from error


def read_counts(text: str) -> tuple[Counted, Counted]:
    """The same, from the text of the metrics.

    Raises:
        ValueError: it is not that of the service.
    """
    within: dict[str, dict[float, float]] = {name: {} for name in _CALLS}
    failed = dict.fromkeys(_CALLS.values(), 0.0)
    for name, labels, value in _SAMPLE.findall(text):
        if (sums := within.get(name)) is not None:
            bound = float(dict(_LABEL.findall(labels)).get("le", "inf"))
            sums[bound] = sums.get(bound, 0.0) + float(value)
        elif name in failed:
            failed[name] += float(value)
    calls, requests = (Counted(within[name], failed[errors]) for name, errors in _CALLS.items())
    if not calls.within:  # the service has had one at least: the client's own
        raise ValueError("these are not the metrics of asupervisor")
    return calls, requests


def between(before: Counted, after: Counted, seconds: float) -> Activity | None:
    """The calls between two readings; None where they are unknown, as after the service restarted.

    Args:
        before, after: the readings.
        seconds: between them.
    """
    fell = {
        bound: count - before.within.get(bound, 0.0)
        for bound, count in sorted(after.within.items())
    }
    total, failed = fell.get(math.inf, 0.0), after.failed - before.failed
    if seconds <= 0 or not (total >= 0 and failed >= 0):
        return None

    def covers(share: float) -> float | None:
        return next((bound for bound, count in fell.items() if count >= share * total), None)

    half_s, most_s = (covers(0.5), covers(0.99)) if total else (None, None)
    return Activity(total / seconds, failed / seconds, half_s, most_s)
