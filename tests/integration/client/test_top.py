"""``top`` as a person uses it, in a real terminal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asupervisor.client import Client, Pod
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import SLEEPER, until
from tests.harness.service import Service
from tests.harness.tmux import PROMPT, Pane, pane

CHATTY = ("sh", "-c", r"printf 'first\033[2J\007line\n'; while :; do echo tick; sleep 0.1; done")
AS_BEFORE = "0 1 1"


@pytest.fixture
def terminal(directory: Path) -> Iterator[Pane]:
    with pane(directory) as made:
        yield made


async def shows(terminal: Pane, *parts: str, without: str = "") -> None:
    """Wait until all of it is to be seen."""

    def seen() -> bool:
        screen = terminal.screen
        return all(part in screen for part in parts) and not (without and without in screen)

    try:
        await until(seen, f"{parts} is shown")
    except AssertionError as error:
        raise AssertionError(f"{error}; without {without!r}; what is: {terminal.screen}") from None


async def start(terminal: Pane, endpoint: str, *arguments: str) -> None:
    """Have the shell run it, and tell its exit code."""
    await shows(terminal, PROMPT)
    command = (sys.executable, "-m", "asupervisor", "top", "-r", endpoint, *arguments)
    terminal.line(f"{' '.join(command)}; echo code: $?")
    await shows(terminal, "POD, CONTAINER", "q quit")


@asynccontextmanager
async def a_pod(client: Client, name: str, *command: str) -> AsyncIterator[Pod]:
    async with client.pod(BUSYBOX_IMAGE, command or SLEEPER, name=name, namespace="top") as pod:
        yield pod


async def test_a_person_at_a_terminal(client: Client, endpoint: str, terminal: Pane) -> None:
    before = terminal.settings()
    async with a_pod(client, "alpha", *CHATTY), a_pod(client, "beta"):
        # Nothing but an event has it look again.
        await start(terminal, endpoint, "--interval", "1h", "--sort", "name")
        await shows(terminal, "top/alpha", "top/beta", "*POD", f"at {endpoint}", "2 pods ready")
        async with a_pod(client, "gamma"):
            await shows(terminal, "top/gamma", "3 pods ready")
        await shows(terminal, "2 pods ready", without="top/gamma")

        terminal.type("/BET")
        await shows(terminal, "filter: BET_", "top/beta", without="top/alpha")
        terminal.press("Enter", "c")
        await shows(terminal, "filter BET: 1 of 2", "*CPU %", without="*POD")
        terminal.press("Escape", "a", "Home", "Down")
        await shows(terminal, "top/alpha", "2 of 4", "*POD")

        terminal.press("l")
        await shows(terminal, "log of top/alpha/main", "tick")
        terminal.press("Home")
        await shows(terminal, r"first\x1b[2J\x07line")
        terminal.press("q")
        await shows(terminal, "top/beta", "2 of 4")
        terminal.tmux("send-keys", "-R")  # as if something else had cleared it
        terminal.press("C-l")
        await shows(terminal, "top/alpha", "top/beta", f"at {endpoint}")

        terminal.press("s")
        await shows(terminal, "a shell in top/alpha/main", "/ #")
        terminal.line("echo 1''2 $(hostname)")
        await shows(terminal, "12 alpha")
        terminal.line("exit 3")
        await shows(terminal, "top/beta", "the shell ended with 3")

        terminal.resize(70, 7)
        await shows(terminal, "POD, CONTAINER", "top/alpha", without="top/beta")
        terminal.press("End")
        await shows(terminal, "top/beta", "4 of 4")
        terminal.resize(120, 30)
        await shows(terminal, "top/alpha", "top/beta")
        terminal.press("q")
        await shows(terminal, "code: 0")
        assert terminal.modes == AS_BEFORE
    assert terminal.settings() == before


@pytest.mark.parametrize("view", ["table", "log", "shell"])
async def test_a_signal_gives_the_terminal_back(
    client: Client, endpoint: str, terminal: Pane, view: str
) -> None:
    before = terminal.settings()
    async with a_pod(client, f"signal-{view}"):
        await start(terminal, endpoint)
        await shows(terminal, f"top/signal-{view}")
        if view != "table":
            terminal.press(view[0])
            await shows(terminal, "q back" if view == "log" else "/ #")
        (program,) = terminal.programs()
        os.kill(program, signal.SIGTERM)
        await shows(terminal, "code: 143")
        assert terminal.modes == AS_BEFORE
    assert terminal.settings() == before


async def test_ctrl_c_and_a_terminal_that_goes_away_end_it(
    client: Client, endpoint: str, directory: Path
) -> None:
    async with a_pod(client, "ends"):
        with pane(directory) as terminal:
            await start(terminal, endpoint)
            terminal.press("C-c")
            await shows(terminal, "code: 130")
            terminal.line("clear")
            await start(terminal, endpoint)
            (program,) = terminal.programs()
        await until(lambda: not Path(f"/proc/{program}").exists(), "it ends with its terminal")


@pytest.mark.usefixtures("_one_loop")
async def test_a_server_that_goes_away_and_comes_back(
    engine: Engine, directory: Path, terminal: Pane
) -> None:
    service = Service(engine, flags=("--metrics-bind-addr", "127.0.0.1:18097"))
    service.start()
    try:
        async with Client.connect(service.endpoint, log_root=str(directory / "pods")) as client:
            async with a_pod(client, "stays"):
                await start(terminal, service.endpoint, "--interval", "0.2s")
                await shows(terminal, "top/stays", "calls: ", "half within", "engine: ")
                service.kill()
                await shows(terminal, "not up to date: ", "top/stays")
                service.start()
                await shows(
                    terminal, "top/stays", "sock: ready", "calls: ", without="not up to date"
                )
                terminal.press("q")
                await shows(terminal, "code: 0")
                assert terminal.modes == AS_BEFORE
    finally:
        if service.process is not None:
            service.stop()
        engine.remove_all()
