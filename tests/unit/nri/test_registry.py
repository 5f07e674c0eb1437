"""All plugins together: what one asks for, or how often it comes, holds nobody up for long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from asupervisor.config import NriConfig
from asupervisor.errors import NotFound
from asupervisor.nri import registry as registry_module
from asupervisor.nri.registry import Registry
from asupervisor.nri.stub import api


class World:
    """Containers of which one is changed at once, and one never."""

    async def everything(self) -> tuple[list[api.PodSandbox], list[api.Container]]:
        return [], []

    async def update_other(self, update: api.ContainerUpdate) -> None:
        if update.container_id == "hangs":
            await anyio.sleep_forever()
        if update.container_id != "there":
            raise NotFound("it is not there")

    def evict(self, eviction: api.ContainerEviction, plugin: str) -> None:
        """Nobody asks for it here."""


class Quick:
    """A plugin that is there, and takes a second for everything that is told at its beginning."""

    def __init__(self, name: str, updates: list[api.ContainerUpdate] | None = None) -> None:
        self.name, self.index, self.alive = name, "10", True
        self.updates = updates or []

    async def start(self) -> None:
        """It is."""

    async def synchronize(self, pods: Any, containers: Any) -> list[api.ContainerUpdate]:
        await anyio.sleep(0.2)  # as long as nothing can be made, of which the test asks
        return self.updates


def made(held: list[tuple[str, float]] | None = None) -> Registry:
    @asynccontextmanager
    async def quiet() -> AsyncIterator[None]:
        if held is not None:
            held.append(("held", anyio.current_time()))
        yield
        if held is not None:
            held.append(("free", anyio.current_time()))

    return Registry(NriConfig(disable=True), World(), quiet, lambda: None)


def updates(*ids: str) -> list[api.ContainerUpdate]:
    return [api.ContainerUpdate(container_id=one) for one in ids]


async def test_who_comes_again_and_again_leaves_as_much_time_as_it_takes() -> None:
    held: list[tuple[str, float]] = []
    registry = made(held)
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(registry.join, Quick(f"10-p{number}"))  # type: ignore[arg-type]
    assert [what for what, _ in held] == ["held", "free"] * 3
    at = [when for _, when in held]
    for begins, ends, again in zip(at[0::2], at[1::2], at[2::2], strict=False):
        assert again - ends >= (ends - begins) * 0.99


async def test_what_cannot_be_changed_is_told_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = made()
    asked = api.UpdateContainersRequest(update=updates("there", *["gone"] * 500))
    asked.update.add(container_id="gone", ignore_failure=True)
    answer = await registry.unsolicited(Quick("10-p"), asked)  # type: ignore[arg-type]
    assert [one.container_id for one in answer.failed] == ["gone"] * 500
    assert [line.getMessage() for line in caplog.records] == [
        "of 502 updates for which the NRI plugin 10-p asks, 500 failed; that of container gone:"
        " it is not there"
    ]


async def test_all_changes_of_one_message_have_one_deadline(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry_module, "_UPDATES_S", 0.05)
    registry = made()
    asked = api.UpdateContainersRequest(update=updates("there", "hangs", "hangs", "there"))
    with anyio.fail_after(20):
        answer = await registry.unsolicited(Quick("10-p"), asked)  # type: ignore[arg-type]
    assert [one.container_id for one in answer.failed] == ["hangs", "hangs", "there"]
    assert "not done within" in caplog.text
