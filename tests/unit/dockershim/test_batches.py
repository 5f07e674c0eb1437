"""Long lists in several messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asupervisor.dockershim.batches import BATCH_BYTES, batches
from asupervisor.proto import cri
from asupervisor.proto.wire import field


@given(st.lists(st.integers(0, BATCH_BYTES + 100), max_size=12))
def test_every_element_once_in_order_and_no_batch_bigger_than_it_has_to_be(
    sizes: list[int],
) -> None:
    entries = [bytes((index,)) * size for index, size in enumerate(sizes)]
    made = list(batches(entries))
    assert b"".join(made) == b"".join(entries)
    for batch in made:
        assert len(batch) <= BATCH_BYTES or batch in entries, (
            "only an element that is too big by itself makes a batch too big"
        )


def test_an_empty_list_is_no_message() -> None:
    assert list(batches([])) == []


def test_a_batch_is_a_message() -> None:
    entries = [
        field(1, cri.Container(id=str(number) * 64, labels={"a": "b" * 5000}).SerializeToString())
        for number in range(10)
    ] * 50
    messages = [cri.StreamContainersResponse.FromString(batch) for batch in batches(entries)]
    assert len(messages) == 3
    assert [container.id[0] for message in messages for container in message.containers] == [
        str(number) for number in range(10)
    ] * 50
