"""Which containers were made to read an image and left behind."""

from __future__ import annotations

import pytest

from asupervisor.dockershim.image.files import is_leftover

SUMMARY = {
    "Id": "a" * 64,
    "Names": ["/asupervisor-accounts-0123"],
    "Labels": {"io.asupervisor.temporary": "accounts"},
}


@pytest.mark.parametrize("state", ["created", "removing", "dead"])
def test_one_that_never_ran_is_left_over_also_while_it_is_removed(state: str) -> None:
    assert is_leftover({**SUMMARY, "State": state})


@pytest.mark.parametrize("state", ["running", "paused", "restarting", "exited", "", None])
def test_one_that_ran_is_somebodys(state: str | None) -> None:
    assert not is_leftover({**SUMMARY, "State": state})


@pytest.mark.parametrize("other", [{"Names": ["/theirs"]}, {"Labels": {}}, {"Names": None}])
def test_a_name_or_a_label_alone_says_nothing(other: dict[str, object]) -> None:
    assert not is_leftover({**SUMMARY, "State": "created", **other})
