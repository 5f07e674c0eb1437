"""A headless browser, where the machine has one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--no-first-run", "--disable-extensions", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_DEADLINE_S = 180.0


def look_at(url: str, directory: Path, *flags: str, after_s: float = 6.0) -> str:
    """Open a page, wait until it and its live part are there, and return what the browser says.

    Args:
        url: of the page.
        directory: for the browser's own files.
        flags: further ones, such as ``--dump-dom``.
        after_s: seconds after which it is looked at though it still loads.
    """
    assert BROWSER is not None
    finished = subprocess.run(
        [
            BROWSER,
            *_FLAGS,
            f"--user-data-dir={directory}",
            f"--timeout={after_s * 1000:.0f}",
            *flags,
            url,
        ],
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=True,
    )
    return finished.stdout
