"""The whole service on a real engine, with tenants that mean harm.

A test writes what a tenant can write (an image, a container, the fields of a pod) and asserts two
things: the canary is as it was, and the neighbours did not notice. The canary is looked at after
every test that takes it, whatever the test itself asserts.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.engine import Engine, busybox_archive
from tests.harness.leaks import nothing_left
from tests.hostile.canary import Canary

MakeImage = Callable[..., str]
"""``make_image(config=…, extra=…)``: loads an image with that configuration and those files, and
returns its reference.
"""


@pytest.fixture(autouse=True)
def _nothing_left(engine: Engine) -> Iterator[None]:
    with nothing_left(engine):
        yield


@pytest.fixture
def canary() -> Iterator[Canary]:
    """Files of the host that nothing out of a container may touch."""
    path = Path(tempfile.mkdtemp(prefix="asv-canary-", dir="/var/tmp"))
    bird = Canary(path)
    try:
        yield bird
        bird.check()
    finally:
        shutil.rmtree(path)


@pytest.fixture
def make_image(engine: Engine) -> Iterator[MakeImage]:
    """Makes images of busybox that live as long as the test."""
    made: list[str] = []

    def make(config: dict[str, Any] | None = None, extra: dict[str, bytes] | None = None) -> str:
        reference = f"asupervisor.test/hostile:{len(made)}"
        # A file that no other image has, so that each has an id of its own.
        files = {"mark": reference.encode(), **(extra or {})}
        engine.load(busybox_archive(reference, config, files))
        made.append(reference)
        return reference

    yield make
    for reference in made:
        engine.request("DELETE", f"/images/{reference}?force=1")
