"""Memory after a rush."""

from __future__ import annotations

from asupervisor.host.heap import WORTH_BYTES, Heap


def test_a_heap_that_has_grown_is_noticed_once() -> None:
    heap = Heap()
    heap.give_back()  # free pages of earlier tests would take the rush without growing
    assert not heap.has_grown
    rush = [b"x" * 65536 for _ in range(2 * WORTH_BYTES // 65536)]
    assert heap.has_grown
    heap.give_back()
    assert not heap.has_grown, "what is in use counts as kept from then on"
    del rush
    assert not heap.has_grown
