"""One service and one client for each test; a test that leaves a pod behind fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from asupervisor.client import Client
from asupervisor.host.mounting import mounts_below
from tests.harness.engine import Engine
from tests.harness.service import Service, running_service


@pytest.fixture(scope="module")
async def service(engine: Engine) -> AsyncIterator[Service]:
    """The service as a process of its own, and the word that it ended well.

    Asynchronous, so that all tests of a module have one loop: gRPC keeps that of its first call.
    """
    with running_service(engine) as running:
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
async def client(service: Service, log_root: Path, volume_root: Path) -> AsyncIterator[Client]:
    """Connected."""
    async with Client.connect(
        service.endpoint, log_root=str(log_root), volume_root=str(volume_root)
    ) as connected:
        yield connected
        assert await connected.pods() == [], "a pod was left behind"
