"""The commands that the documents show: each line of their shell blocks."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def blocks(page: str, *languages: str) -> list[str]:
    """The text of a page's blocks in a language."""
    found = BLOCK.findall((ROOT / page).read_text())
    return [text for language, text in found if language in languages]


def shown(page: str) -> list[str]:
    """A page's commands as a reader would type them: lines that go on are one, and comments are
    left out.
    """
    text = "\n".join(blocks(page, "sh"))
    text = re.sub(r"\|\n\s*", "| ", re.sub(r"\s*\\\n\s*", " ", text))
    lines = (re.sub(r"(^|\s+)# .*$", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]
