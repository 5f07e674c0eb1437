"""The example that people copy: snippets that behave, hang, flood or are cancelled."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import anyio
import pytest

from asupervisor.client import Client
from asupervisor.errors import DeadlineExceeded
from tests.harness.engine import BUSYBOX_IMAGE

EXAMPLE = Path(__file__).parents[3] / "examples" / "sandbox.py"
SHELL = ("sh", "-s")
AT_A_TIME = 8
KINDS = ("well", "well", "killed", "well", "hanging", "well", "cancelled")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("sandbox_example", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_snippets_of_every_kind(client: Client, example: ModuleType) -> None:
    said: dict[str, bytes] = {}
    async with example.sandbox(client, BUSYBOX_IMAGE) as run:

        async def hang() -> None:
            with pytest.raises(DeadlineExceeded):
                await run(SHELL, b"while :; do :; done", 0.5)

        async def say(word: str) -> None:
            snippet = f"id -u; echo {word}; touch /{word} 2>/dev/null || echo refused"
            said[word] = (await run(SHELL, snippet.encode(), 60.0)).stdout

        async def flood() -> None:
            done = await run(SHELL, b"yes | head -c 500000", 60.0)
            assert done.is_cut and len(done.stdout) == example.OUTPUT

        async with anyio.create_task_group() as tasks:
            for work in (hang, flood):
                tasks.start_soon(work)
            for word in ("one", "two"):
                tasks.start_soon(say, word)
        with anyio.move_on_after(0.2) as cut:
            await run(SHELL, b"while :; do :; done", 60.0)
        assert cut.cancelled_caught
    assert said == {word: f"65534\n{word}\nrefused\n".encode() for word in ("one", "two")}
    assert await client.pods() == []


async def test_the_example_as_a_program(endpoint: str) -> None:
    with anyio.fail_after(120):
        done = await anyio.run_process(
            [sys.executable, str(EXAMPLE), BUSYBOX_IMAGE, *SHELL],
            input=b"echo out; echo err >&2; exit 3",
            env={**os.environ, "ASUPERVISOR_ENDPOINT": endpoint},
            check=False,
        )
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert len(EXAMPLE.read_text().split('"""\n', 1)[1].strip().splitlines()) < 60


async def test_many_snippets_of_every_kind_at_a_time(client: Client, example: ModuleType) -> None:
    """``ASUPERVISOR_SNIPPETS`` says how many; each sees what it wrote itself, and nothing else."""
    numbers = iter(range(int(os.environ.get("ASUPERVISOR_SNIPPETS", "40"))))
    ends: Counter[str] = Counter()

    async with example.sandbox(client, BUSYBOX_IMAGE, warm=AT_A_TIME) as run:

        async def one(number: int) -> str:
            own = f"snippet-{number}"
            script = f"cat /dev/shm/* 2>/dev/null; echo {own} | tee /dev/shm/{own}"
            kind = KINDS[number % len(KINDS)]
            if kind == "cancelled":
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(run, SHELL, b"while :; do :; done", 600.0)
                        await anyio.sleep(number % 20 / 10)  # at any moment of a run
                        scope.cancel()
                assert scope.cancelled_caught
            elif kind == "hanging":
                with pytest.raises(DeadlineExceeded):
                    await run(SHELL, f"{script}; while :; do :; done".encode(), 1.0)
            elif kind == "killed":
                done = await run(SHELL, f"{script}; kill -9 $$".encode(), 600.0)
                assert (done.exit_code, done.stdout) == (137, f"{own}\n".encode())
            else:
                done = await run(SHELL, script.encode(), 600.0)
                assert (done.exit_code, done.stdout) == (0, f"{own}\n".encode())
            return kind

        async def work() -> None:
            for number in numbers:
                ends[await one(number)] += 1

        async with anyio.create_task_group() as workers:
            for _ in range(AT_A_TIME):
                workers.start_soon(work)
    assert set(ends) == set(KINDS)
    assert await client.pods() == [] and await client.containers() == []
