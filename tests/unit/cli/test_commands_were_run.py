"""docs/commands.md says of every command of the documents how it was run, and of no other."""

from __future__ import annotations

import re

import pytest

from tests.harness.documented import PAGES, ROOT, shown

ROW = re.compile(r"^\| `([^`]+\.md)` \| `(.+)` \| (.+) \|$", re.M)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
DATE = re.compile(r"\b\d{1,2} \w+ 20\d\d\b")


def rows() -> list[tuple[str, str, str]]:
    """Page, command, and how it was run."""
    text = (ROOT / "docs/commands.md").read_text()
    return [(page, command.replace(r"\|", "|"), how) for page, command, how in ROW.findall(text)]


def test_each_command_has_its_row() -> None:
    commands = [(page, command) for page in PAGES for command in dict.fromkeys(shown(page))]
    assert [(page, command) for page, command, _ in rows()] == commands


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[1][:60])
def test_it_was_run_by_a_test_or_by_hand_or_the_row_says_why_not(
    row: tuple[str, str, str],
) -> None:
    page, _, how = row
    named = TEST.findall(how)
    for path, name in named:
        text = (ROOT / path).read_text()
        assert f"def {name}(" in text, f"{path} has no {name}"
        assert page in text, f"{path} does not take the command from {page}"
    if not named:
        assert DATE.search(how) or re.match(r"not run: \w+", how), how
