"""A test that leaves something behind fails, and one that leaves nothing does not: run by pytest,
as the suite is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest

HARNESS = """
import anyio, pytest
from tests import conftest
from tests.conftest import pytest_pyfunc_call
from tests.harness import leaks

conftest.TEST_DEADLINE_S = 1.0
leaks.PATIENCE_S = 0.5

@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    return "asyncio", {"use_uvloop": request.param}

@pytest.fixture(autouse=True)
def _nothing_left():
    with leaks.nothing_left(None):
        yield

@pytest.fixture
async def tasks():
    async with anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()
"""

TESTS = """
import asyncio, os, subprocess
import anyio, grpc.aio, pytest

kept = []

@pytest.fixture(scope="module", autouse=True)
def _children():
    yield
    for child in kept:
        if isinstance(child, subprocess.Popen):
            child.kill()
            child.wait()

async def test_nothing():
    async with grpc.aio.insecure_channel("unix:/nobody"):
        await anyio.run_process(["true"])
        await anyio.to_thread.run_sync(os.getpid)

async def test_fixture(tasks):
    tasks.start_soon(anyio.sleep_forever)

async def test_file():
    kept.append(os.dup(0))

async def test_child():
    kept.append(subprocess.Popen(["sleep", "632"], stdout=subprocess.DEVNULL))

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(632)))  # a task that is left, to be found

async def test_hangs():
    await anyio.sleep_forever()
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_a_coroutine_leaves_behind_fails_it(tmp_path: Path, loop: str) -> None:
    (tmp_path / "conftest.py").write_text(HARNESS)
    (tmp_path / "test_left.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "--tb=no", "--anyio-mode=auto", "-k", f"[{loop}]"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(conftest.__file__).parents[1]), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = dict(
        line.split(" - ")
        for line in done.stdout.splitlines()
        if line.startswith(("FAILED", "ERROR"))
    )
    left = {
        f"ERROR test_left.py::test_file[{loop}]": "descriptors were left behind",
        f"ERROR test_left.py::test_child[{loop}]": "child processes were left behind",
        f"FAILED test_left.py::test_task[{loop}]": "left behind: [<Task pending",
        f"FAILED test_left.py::test_hangs[{loop}]": "TimeoutError",
    }
    assert said.keys() == left.keys(), done.stdout
    assert all(words in said[test] for test, words in left.items()), done.stdout
    assert "4 passed" in done.stdout
