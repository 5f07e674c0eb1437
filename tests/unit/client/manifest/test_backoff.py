"""How long it takes until a container is started again."""

from __future__ import annotations

from asupervisor.client.manifest.life import Backoff


def test_each_pause_is_longer_until_it_ran_well() -> None:
    backoff, now_s, pauses = Backoff(), 1e6, []
    for _ in range(8):
        pauses.append(backoff.next(now_s))
        now_s += pauses[-1] + 1
    assert pauses == [0, 10, 20, 40, 80, 160, 300, 300]
    assert backoff.next(now_s + 601) == 0
    assert backoff.next(now_s + 602) == 10
