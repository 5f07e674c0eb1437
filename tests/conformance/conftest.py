"""The node under test: the one that ``--cri-endpoint`` names, else an engine and a service of the
suite's own.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from tests.conformance.node import Images, Node, Pod
from tests.harness.registry import BuiltImage, Registry
from tests.harness.service import Service

_TEST_DEADLINE_S = 90.0
_PASSWD = (
    b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\nwww-data:x:1002:1003:www:/var/www:/bin/sh\n"
    b"nobody:x:65534:65534:nobody:/:/bin/sh\n"
)
_GROUP = b"root:x:0:\napp:x:1000:\nwww:x:1003:\nimagegroup:x:50000:app\nnogroup:x:65534:\n"
_FILES = {"etc/passwd": _PASSWD, "etc/group": _GROUP}


@pytest.fixture(scope="package", autouse=True)
def portal() -> Iterator[BlockingPortal]:
    """The event loop of all these tests, so that the clients outlive a test."""
    with start_blocking_portal("asyncio") as running:
        yield running


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine, each in a task of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {
        name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters
    }
    running = cast(BlockingPortal, pyfuncitem.funcargs["portal"])

    async def bounded() -> BaseException | None:
        try:
            with anyio.fail_after(_TEST_DEADLINE_S):
                await pyfuncitem.obj(**arguments)
        except (pytest.skip.Exception, pytest.fail.Exception) as outcome:
            # Not errors to Python, so they would end the loop for all further tests.
            return outcome
        return None

    outcome = running.call(bounded)
    if outcome is not None:
        raise outcome
    return True


@pytest.fixture(scope="package")
def registry() -> Iterator[Registry]:
    """A registry on loopback."""
    with Registry() as running:
        yield running


@pytest.fixture(scope="package")
def names(registry: Registry) -> Images:
    """The images, pushed."""

    def push(repository: str, tags: tuple[str, ...], **config: object) -> str:
        files = {**_FILES, "mark": repository.encode(), "data/inner/file": b"in the image\n"}
        return registry.push(f"conformance/{repository}", tags, BuiltImage(config, files))

    first = push("tagged", ("1", "2", "3"))
    return Images(
        busybox=push("busybox", ("1",)),
        by_uid=push("by-uid", ("1",), User="1002"),
        by_name=push("by-name", ("1",), User="www-data"),
        by_uid_gid=push("by-uid-gid", ("1",), User="1003:1004"),
        tagged=tuple(f"{first.rpartition(':')[0]}:{tag}" for tag in "123"),
        labelled=push("labelled", ("1",), Labels={"of-the-image": "1", "shared": "theirs"}),
        signal=push("signal", ("1",), StopSignal="SIGUSR1"),
    )


@pytest.fixture(scope="package")
def cri_endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of the runtime under test; gone with the last test of this package, since two services on one
    engine both write its logs.
    """
    given = request.config.getoption("--cri-endpoint")
    if given:
        yield given
        return
    service = Service(request.getfixturevalue("engine"))
    service.start()
    yield service.endpoint
    assert service.stop() == 0, service.output[-2000:]
    assert "by a defect of this service" not in service.output


@asynccontextmanager
async def _connected(
    endpoint: str, registry: Registry, names: Images, logs: str
) -> AsyncIterator[Node]:
    async with (
        RemoteRuntimeService.connect(endpoint) as runtime,
        RemoteImageService.connect(endpoint, sharing=runtime) as images,
    ):
        node = Node(
            runtime, images, registry, names, await runtime.version(), await runtime.status(), logs
        )
        image_id = await node.have(names.busybox)
        digests = (await images.image_status(names.busybox)).image.repo_digests
        node.ids_are_manifests = any(digest.endswith(image_id) for digest in digests)
        yield node


@pytest.fixture(scope="package")
def node(
    portal: BlockingPortal,
    cri_endpoint: str,
    registry: Registry,
    names: Images,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Node]:
    """The node under test."""
    logs = str(tmp_path_factory.mktemp("logs"))
    with portal.wrap_async_context_manager(
        _connected(cri_endpoint, registry, names, logs)
    ) as running:
        yield running


@pytest.fixture(scope="module")
def pod(portal: BlockingPortal, node: Node) -> Iterator[Pod]:
    """A plain pod, shared by the tests of a file; each has containers of its own in it."""
    with portal.wrap_async_context_manager(node.pod()) as running:
        yield running
