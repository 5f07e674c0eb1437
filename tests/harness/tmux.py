"""A shell in a real terminal, tmux's, that tests type into and look at."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.engine import eventually

PROMPT = "prompt>"
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "PYTHONPATH": ":".join(filter(None, sys.path)),
}


class Pane:
    """The terminal; made by :func:`pane`."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def tmux(self, *arguments: str) -> str:
        """One command of tmux's, and what it says."""
        command = ["tmux", "-u", "-f", "/dev/null", "-S", str(self._socket), *arguments]
        return subprocess.run(
            command, env=_ENVIRONMENT, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def type(self, text: str) -> None:
        """Characters as they are."""
        self.tmux("send-keys", "-l", "--", text)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names, such as ``Enter`` and ``Up``."""
        self.tmux("send-keys", *keys)

    def line(self, text: str) -> None:
        """A command for the shell."""
        self.type(text)
        self.press("Enter")

    @property
    def screen(self) -> str:
        """What is to be seen."""
        return self.tmux("capture-pane", "-p")

    @property
    def styled(self) -> str:
        """The same with its styles, as sequences of the terminal."""
        return self.tmux("capture-pane", "-p", "-e", "-N")

    @property
    def modes(self) -> str:
        """Whether the other screen is shown, the cursor is, and long lines go on in the next."""
        return self.tmux("display", "-p", "#{alternate_on} #{cursor_flag} #{wrap_flag}").strip()

    def resize(self, columns: int, rows: int) -> None:
        """As who pulls at the window."""
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def settings(self) -> str:
        """Of the terminal, as the kernel has them, while the shell has it."""
        told = self._socket.with_name("settings")
        told.unlink(missing_ok=True)
        self.line(f"stty -g >{told}.new; mv {told}.new {told}")
        eventually(told.exists, "the shell tells the terminal's settings")
        return told.read_text()

    def programs(self) -> list[int]:
        """Children of the shell."""
        shell = int(self.tmux("display", "-p", "#{pane_pid}"))
        return [
            int(pid) for pid in Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        ]


@contextmanager
def pane(directory: Path, columns: int = 120, rows: int = 30) -> Iterator[Pane]:
    """A shell for the length of a block.

    Args:
        directory: for tmux's socket.
        columns, rows: of the terminal.
    """
    made = Pane(directory / "tmux")
    size = ("-x", str(columns), "-y", str(rows))
    made.tmux("new-session", "-d", *size, "sh")
    try:
        made.line(f"PS1='{PROMPT} '; clear")  # root's shell has its own in place of the inherited
        yield made
    finally:
        made.tmux("kill-server")
