"""One server and one client for each test; a test that leaves a pod behind fails.

The server is this service on an engine of the tests' own, or the one of ``--cri-endpoint``, which
has the image ``$ASUPERVISOR_TEST_IMAGE``; the tests run in its network and mounts then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import pytest

from asupervisor.client import Client
from asupervisor.errors import Unimplemented, lone
from asupervisor.host.mounting import mounts_below
from asupervisor.host.peers import listener_process
from tests.harness.engine import Engine
from tests.harness.registry import Registry
from tests.harness.service import Service, running_service

OURS = {
    "test_a_pull_tells_its_layers": "the CRI tells no progress of a pull",
    "test_an_error_of_who_looks_ends_the_pull": "the CRI tells no progress of a pull",
    "test_the_embedding_example": "it embeds this service",
}
"""What no other server has, and why."""

LACKS = {
    "containerd": {
        "test_a_program_that_is_not_there_is_an_exit_code": "it answers with an error",
        "test_a_command_with_input_that_takes_too_long_is_killed": (
            "it leaves a command running whose streams were dropped"
        ),
        "test_what_a_container_says_last_reaches_who_is_attached": (
            "it ends an attachment with the container, before all output was passed on"
        ),
    },
    "cri-dockerd": {
        "test_what_was_removed_is_not_found": "it answers UNKNOWN for what is not there",
        "test_a_command_that_takes_too_long_is_killed": "it leaves it running",
        "test_a_command_with_input_that_takes_too_long_is_killed": "it leaves it running",
        "test_streams_both_ways_with_a_terminal": "it resets the streams at their end",
        "test_what_a_container_says_last_reaches_who_is_attached": (
            "it resets the streams at their end"
        ),
        "test_an_apparmor_profile_is_taken_or_refused_by_name[Localhost]": (
            "it passes a profile over where the host has no AppArmor"
        ),
        "test_images_come_and_go": "it cannot describe an image that has no date",
        "test_what_changes_is_shown[events]": "it has no events",
    },
}
"""What a server does otherwise, by the name of its process: tests that do not hold there, and
why."""


@pytest.fixture(scope="module")
def service(engine: Engine) -> Iterator[Service]:
    """This service as a process of its own, and the word that it ended well."""
    with running_service(engine) as running:
        yield running


MayLack = Callable[[bool, str], None]


@pytest.fixture
def may_lack(request: pytest.FixtureRequest) -> MayLack:
    """Skips where another server says itself that it does not do something; this service must."""

    def skip(lacks: bool, why: str) -> None:
        if lacks and request.config.getoption("--cri-endpoint"):
            pytest.skip(why)

    return skip


@pytest.fixture(scope="module")
def endpoint(request: pytest.FixtureRequest) -> str:
    """Where the server is."""
    peer: str = request.config.getoption("--cri-endpoint")
    return peer or request.getfixturevalue("service").endpoint


def server_pid(endpoint: str) -> int:
    """Of the process that listens there."""
    pid = listener_process(endpoint.removeprefix("unix://"))
    assert pid
    return pid


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Function) -> None:
    """What another server is known not to do is skipped."""
    if peer := item.config.getoption("--cri-endpoint"):
        server = Path(f"/proc/{server_pid(peer)}/comm").read_text().strip()
        known = OURS | LACKS.get(server, {})
        if why := known.get(item.originalname) or known.get(item.name):
            pytest.skip(f"{server}: {why}")
        if "engine" in item.fixturenames:
            pytest.skip("it is about an engine of its own")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None, object, object]:
    """What another server does not implement, by its own word, is skipped."""
    try:
        return (yield)
    except Exception as error:
        sole = lone(error)
        if isinstance(sole, Unimplemented) and item.config.getoption("--cri-endpoint"):
            pytest.skip(str(sole))
        raise


@pytest.fixture(scope="module")
async def _one_loop() -> None:
    """For all tests of a module: gRPC keeps that of its first call."""


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    """On loopback, which servers reach without TLS."""
    with Registry() as running:
        yield running


@pytest.fixture
def log_root(tmp_path: Path) -> Iterator[Path]:
    """Where the pods of a test log; the client takes away what it made there."""
    yield tmp_path / "pods"
    assert list(tmp_path.glob("pods/*")) == []


@pytest.fixture
def volume_root(tmp_path: Path) -> Iterator[Path]:
    """Where the volumes of its pods are; nothing of them stays."""
    yield tmp_path / "volumes"
    assert list(tmp_path.glob("volumes/*")) == []
    assert mounts_below(str(tmp_path.resolve())) == []


@pytest.fixture
async def client(
    endpoint: str, log_root: Path, volume_root: Path, _one_loop: None
) -> AsyncIterator[Client]:
    """Connected."""
    async with Client.connect(
        endpoint, log_root=str(log_root), volume_root=str(volume_root)
    ) as connected:
        yield connected
        assert await connected.pods() == [], "a pod was left behind"
