"""What a server says is data, whatever it says."""

from __future__ import annotations

import pytest

from asupervisor.client.values import UID, noted_number


@pytest.mark.parametrize(
    ("noted", "number"),
    [
        ("0", 0),
        ("999999999", 999999999),
        ("1000000000", 7),
        ("9" * 5000, 7),
        ("-1", 7),
        ("1\n", 7),
        ("\u0661", 7),
        ("", 7),
        ("x", 7),
    ],
)
def test_a_number_in_an_annotation(noted: str, number: int) -> None:
    assert noted_number({"key": noted}, "key", 7) == number
    assert noted_number({}, "key", 7) == 7


@pytest.mark.parametrize("uid", ["", ".", "..", "a/b", "a\n", "-a", "a" * 129, "\u0661"])
def test_these_cannot_name_a_directory(uid: str) -> None:
    assert UID.fullmatch(uid) is None
