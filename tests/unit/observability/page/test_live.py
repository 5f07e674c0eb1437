"""Pictures are made while somebody looks, one for all who do."""

from __future__ import annotations

import json

import anyio
import anyio.lowlevel
import pytest

from asupervisor.metrics import Metrics
from asupervisor.observability.page.live import LivePage
from asupervisor.observability.page.view import Finding, View
from asupervisor.observability.pages import Observability


class Node:
    """A node that counts how often it is looked at."""

    def __init__(self) -> None:
        self.looks = 0
        self.examinations = 0
        self.summary = "first"

    def look(self) -> View:
        self.looks += 1
        return View("node-1", "1", self.summary, 1.0, 1.0)

    async def examine(self) -> list[Finding]:
        self.examinations += 1
        return [Finding("engine", "error", "it is gone", "bring it back")]


def names(message: bytes) -> list[str]:
    return [
        json.loads(line.removeprefix("data: "))["name"]
        for line in message.decode().splitlines()
        if line.startswith("data: ")
    ]


async def test_a_stream_tells_everything_once_and_then_what_changed() -> None:
    node = Node()
    live = LivePage(node.look, node.examine, every_s=0.01)
    stream = live.stream()
    assert "conditions" in names(await anext(stream))
    node.summary = "second"
    message = b""
    while b"second" not in message:
        message = await anext(stream)
    assert "top" in names(message) and "pods" not in names(message)
    await stream.aclose()
    assert not live.is_full


async def test_all_who_look_at_once_get_one_picture() -> None:
    node = Node()
    live = LivePage(node.look, node.examine, every_s=3600.0)
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(live.document)
    assert node.looks == 1


async def test_nobody_looks_nothing_is_done() -> None:
    node = Node()
    live = LivePage(node.look, node.examine, every_s=0.0, examine_every_s=0.0)
    shown = b""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(live.run)
        await anyio.wait_all_tasks_blocked()
        assert (node.looks, node.examinations) == (0, 0)
        while b"bring it back" not in shown:
            shown = await live.document()
        await anyio.wait_all_tasks_blocked()
        seen = node.looks, node.examinations
        await anyio.wait_all_tasks_blocked()
        assert (node.looks, node.examinations) == seen
        tasks.cancel_scope.cancel()


async def test_an_examination_that_fails_is_told_and_ends_nothing() -> None:
    async def examine() -> list[Finding]:
        raise RuntimeError("no doctor here")

    live = LivePage(Node().look, examine, every_s=0.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(live.run)
        while b"no doctor here" not in await live.document():
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def test_one_more_than_may_watch_is_told_so_and_makes_room_when_gone() -> None:
    node = Node()
    live = LivePage(node.look, node.examine, every_s=0.0, most_watchers=1)
    pages = Observability("127.0.0.1:0", Metrics(), list, dict, live)
    first = await pages.answer("/stream")
    assert first.status == 200 and first.parts is not None
    await anext(first.parts)
    assert (await pages.answer("/stream")).status == 503
    await first.parts.aclose()
    assert (await pages.answer("/stream")).status == 200


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/stream"])
async def test_every_part_of_the_page_is_guarded(path: str) -> None:
    node = Node()
    pages = Observability("127.0.0.1:0", Metrics(), list, dict, LivePage(node.look, node.examine))
    answer = await pages.answer(path)
    assert answer.status == 200
    policy = dict(answer.headers)["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert (await Observability("127.0.0.1:0", Metrics(), list).answer(path)).status == 404
