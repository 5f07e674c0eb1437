"""The progress of a pull, for programs and on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Sequence

import anyio
import pytest

from asupervisor.client import Client, Layer
from tests.harness.engine import eventually
from tests.harness.program import running
from tests.harness.registry import BuiltImage, StallingRegistry, digest
from tests.harness.service import Service


@pytest.fixture
def slow() -> Iterator[StallingRegistry]:
    """Has one image, whose layer stalls until it is released."""
    registry = StallingRegistry(BuiltImage())
    registry.start()
    try:
        yield registry
    finally:
        registry.release.set()
        registry.stop()


def command(service: Service, image: str) -> list[str]:
    return [sys.executable, "-m", "asupervisor", "pull", "-r", service.endpoint, image]


def short_digest(slow: StallingRegistry) -> str:
    """Of its layer, as engines tell of it."""
    return digest(slow.image.layer).removeprefix("sha256:")[:12]


async def test_a_pull_tells_its_layers(client: Client, slow: StallingRegistry) -> None:
    told: list[Sequence[Layer]] = []
    stalls = anyio.Event()

    def progress(layers: Sequence[Layer]) -> None:
        told.append(layers)
        if layers and not slow.release.is_set():
            stalls.set()

    async def pull() -> None:
        reference = await client.pull(slow.name, progress=progress)
        assert reference in [image.id for image in await client.images()]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pull)
        await stalls.wait()
        assert {each.id for layers in told for each in layers} == {short_digest(slow)}
        slow.release.set()
    await client.remove_image(slow.name)


async def test_an_error_of_who_looks_ends_the_pull(client: Client, slow: StallingRegistry) -> None:
    def progress(layers: Sequence[Layer]) -> None:
        raise LookupError("seen enough")

    with pytest.raises(LookupError, match="seen enough"):
        await client.pull(slow.name, progress=progress)


async def test_a_terminal_shows_the_layers_and_keeps_the_reference_only(
    client: Client, service: Service, slow: StallingRegistry
) -> None:
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    shown = b""

    def shows(word: bytes) -> bool:
        nonlocal shown
        try:
            shown += os.read(master, 1 << 16)
        except BlockingIOError:
            pass
        return word in shown

    def look() -> str:
        with running(command(service, slow.name), stdout=subprocess.PIPE, stderr=slave) as pulling:
            eventually(lambda: shows(short_digest(slow).encode()), "its layer is shown")
            slow.release.set()
            out, _ = pulling.communicate()
            assert pulling.returncode == 0
            eventually(lambda: shows(b"\x1b[J"), "what was shown is taken away")
            return out.decode()

    try:
        reference = (await anyio.to_thread.run_sync(look)).strip()
    finally:
        os.close(master)
        os.close(slave)
    assert slow.name.encode() in shown
    assert reference in [image.id for image in await client.images()]
    await client.remove_image(slow.name)


async def test_a_pipe_gets_the_reference_alone(
    client: Client, service: Service, slow: StallingRegistry
) -> None:
    slow.release.set()
    done = await anyio.run_process(command(service, slow.name))
    assert done.stderr == b""
    assert done.stdout.decode().strip() in [image.id for image in await client.images()]
    await client.remove_image(slow.name)
