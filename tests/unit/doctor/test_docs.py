"""The page has every check and every reason, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from asupervisor.conditions import Reason
from asupervisor.doctor.checks import CHECKS
from asupervisor.doctor.reasons import REMEDIES

PAGE = Path(__file__).parents[3] / "docs" / "doctor.md"


def first_column(heading: str) -> list[str]:
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.M)


def test_checks() -> None:
    assert first_column("The checks") == [check.name for check in CHECKS]


def test_reasons() -> None:
    assert set(first_column("Reasons of not ready")) == {str(reason) for reason in Reason}
    assert set(REMEDIES) == set(Reason)


def test_each_line_has_a_meaning_and_a_remedy() -> None:
    for line in re.findall(r"^\| `.*$", PAGE.read_text(), re.M):
        _, meaning, remedy = (cell.strip() for cell in line.strip("|").split(" | "))
        assert meaning and remedy, line
