"""Started in a directory of somebody else, the command runs nothing that lies there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_FOREIGN = ("anyio", "grpc", "google", "orjson", "yaml", "uvloop", "h11", "aiodocker", "aiohttp")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A directory with a module of every name that could be imported; each tells that it ran."""
    directory = tmp_path / "cwd"
    directory.mkdir()
    # What ``python -m`` itself imports before it comes to a module, no module can prevent.
    probe = "import sys; print(*sys.modules)"
    (tmp_path / "probe.py").write_text(probe)
    loaded = subprocess.run(
        [sys.executable, "-m", "probe"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    for name in (*sys.stdlib_module_names, *_FOREIGN):
        if name not in loaded:
            (directory / f"{name}.py").write_text(
                f"print('HOSTILE', {name!r}); raise SystemExit(99)\n"
            )
    return directory


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--help"], 0, "--docker-endpoint"),
        (["version", "--endpoint", "unix:///nowhere.sock"], 1, "nowhere.sock"),
        (["--config", "/nowhere"], 2, "nowhere"),
    ],
)
def test_no_module_is_taken_from_the_working_directory(
    hostile: Path, arguments: list[str], code: int, says: str
) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "asupervisor", *arguments],
        cwd=hostile,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "HOSTILE" not in run.stdout + run.stderr, run.stdout
    assert says in run.stdout + run.stderr and run.returncode == code, run
