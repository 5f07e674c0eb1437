"""grpc reads its settings when it is first imported: nothing may import it before ``__main__`` has
set them.
"""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import os, sys
import asupervisor.__main__ as program
assert not [name for name in sys.modules if name.split(".")[0] == "grpc"]

def dispatch(arguments):
    assert "grpc" not in sys.modules, "the command line imports grpc"
    import grpc
    print(os.environ["GRPC_EXPERIMENTS"], os.environ["GRPC_ENABLE_FORK_SUPPORT"])
    return 0

import types
sys.modules["asupervisor.cli.dispatch"] = types.SimpleNamespace(dispatch=dispatch)
program.main()
"""


def _settings(**given: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", **given}
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_the_settings_are_there_before_grpc() -> None:
    assert _settings() == "-event_engine_listener 0"


def test_the_operators_own_settings_win() -> None:
    assert _settings(GRPC_EXPERIMENTS="none", GRPC_ENABLE_FORK_SUPPORT="1") == "none 1"
