from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.harness.namespace import network_of_its_own
from tests.integration.network.namespaces import Namespace, links

_BRIDGES = ("cnitest0", "cbr0")


@pytest.fixture
def namespaces() -> Iterator[Callable[[], Namespace]]:
    """Makes namespaces, which end with the test; so do the bridges that plugins made for them."""
    made: list[Namespace] = []

    def make() -> Namespace:
        made.append(Namespace())
        return made[-1]

    yield make
    for namespace in made:
        namespace.close()
    for bridge in links().intersection(_BRIDGES):
        subprocess.run(["ip", "link", "delete", bridge], check=True)


@pytest.fixture(scope="module")
def own_network() -> Iterator[None]:
    """For tests that drive a plugin without an engine: no engine's rules stand in their way, and
    theirs in no engine's.
    """
    with network_of_its_own():
        yield
