"""The tests run in a network and mount namespace of their own, so that engines, bridges and rules
of theirs meet nobody else's.
"""

from __future__ import annotations

import functools
import inspect
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests.harness.engine import ENGINE, Engine, busybox_archive
from tests.harness.leaks import no_task_left
from tests.harness.namespace import leave_the_network
from tests.harness.session import Before

_before = pytest.StashKey[Before]()
_left = pytest.StashKey[list[str]]()

# Of a test that is a coroutine; several times what the longest takes, so only one that hangs gets
# there.
TEST_DEADLINE_S = 600.0

# How long an example takes is the machine's business, not the tests'.
hypothesis_settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the conformance suite finds its runtime."""
    parser.addoption(
        "--cri-endpoint",
        default="",
        help="unix:// address of the CRI server to test; an own service where not given",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Leave the machine's network before anything starts a thread; children inherit it.

    A runtime that was started elsewhere would not see the tests' registry in a network of their
    own."""
    config.addinivalue_line(
        "markers", "deadline(seconds): of a test that may take longer than most"
    )
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in a shell's background; the programs that tests interrupt would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if ENGINE:
        os.environ["PATH"] = f"{os.path.dirname(ENGINE)}:{os.environ['PATH']}"
    if (
        os.geteuid() != 0
        or config.getoption("numprocesses", None)  # the workers do, each on its own
        or config.getoption("--cri-endpoint")
        or os.environ.get("ASUPERVISOR_TEST_NAMESPACE") == "host"
    ):
        return
    leave_the_network()
    config.stash[_before] = Before()


@pytest.hookimpl(trylast=True)  # after the fixtures were taken down, also of a run that was cut
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves something of itself on the machine, and remove that."""
    left = session.config.stash.setdefault(_left, [])
    if (before := session.config.stash.get(_before, None)) is not None:
        left += before.left()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of several says that its tests left; one that died says nothing."""
    left = node.config.stash.setdefault(_left, [])
    left += getattr(node, "workeroutput", {}).get("left", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left behind, and how long each part of the suite took."""
    if left := terminalreporter.config.stash.get(_left, []):
        terminalreporter.section("left on the machine, and removed now")
        for line in left:
            terminalreporter.line(line)
    seconds: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if isinstance(report, pytest.TestReport):
            part = _part(report.nodeid)
            seconds[part] += report.duration  # type: ignore[assignment]
            tests[part] += report.when == "call"
    if len(seconds) > 1:
        terminalreporter.section("time by part")
        for part, taken in seconds.most_common():
            terminalreporter.line(f"{taken:8.1f} s {tests[part]:6} tests  {part}")


@pytest.hookimpl(tryfirst=True)  # before anyio's own, which runs it
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """A test that is a coroutine ends some day, and leaves no task behind.

    Its event loop is its own and closed before its fixtures are taken down, but where one of them
    is async: anyio keeps one loop for all who use it at the same time, and what the fixture made
    may have tasks in it until that is taken down.
    """
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return

    marker = pyfuncitem.get_closest_marker("deadline")
    deadline_s = marker.args[0] if marker else TEST_DEADLINE_S

    shared = any(
        inspect.iscoroutinefunction(fixture.func) or inspect.isasyncgenfunction(fixture.func)
        for name in pyfuncitem.fixturenames
        for fixture in pyfuncitem._fixtureinfo.name2fixturedefs.get(name, ())
    )

    @functools.wraps(test)
    async def bounded(**arguments: Any) -> None:
        async with nullcontext() if shared else no_task_left():
            with anyio.fail_after(deadline_s):
                await test(**arguments)

    pyfuncitem.obj = bounded


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a worker send its report whatever the test printed: file names need not be UTF-8."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


def _part(nodeid: str) -> str:
    """The folder below ``tests`` that a test is in; of the integration tests the one below that."""
    folders = Path(nodeid.partition("::")[0]).parts[:-1]
    return "/".join(folders[1 : 3 if folders[1:2] == ("integration",) else 2]) or "tests"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path short enough for sockets: there is room for 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="asv-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests that are coroutines run on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker Engine with a busybox image, shared by the session's tests."""
    with _running() as engine:
        yield engine


@pytest.fixture
def restoring_engine() -> Iterator[Engine]:
    """One of a test's own, whose containers outlive it."""
    with _running("--live-restore") as engine:
        yield engine


@contextmanager
def _running(*arguments: str) -> Iterator[Engine]:
    engine = Engine(arguments=arguments)
    engine.start()
    engine.load(busybox_archive())
    yield engine
    engine.destroy()
