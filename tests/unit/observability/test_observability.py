"""What a dump of tasks shows and hides, and the pages."""

from __future__ import annotations

import anyio
import pytest

from asupervisor.metrics import Metrics
from asupervisor.observability.pages import Observability
from asupervisor.observability.tasks import dump_tasks


def test_a_dump_shows_where_each_task_waits_below_its_parent_and_no_value() -> None:
    async def inner(secret: str) -> None:
        await anyio.sleep_forever()

    async def outer(secret: str) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inner, secret, name="the inner one")

    async def main() -> str:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outer, "planted-value", name="the outer one")
            await anyio.wait_all_tasks_blocked()
            text = dump_tasks({"sandboxes": 3})
            tasks.cancel_scope.cancel()
        return text

    text = anyio.run(main)
    lines = text.splitlines()
    outside = next(index for index, line in enumerate(lines) if line.endswith("- the outer one"))
    inside = next(index for index, line in enumerate(lines) if line.endswith("- the inner one"))
    assert outside < inside
    assert lines[inside].index("-") == lines[outside].index("-") + 2
    assert any("inner" in line and "test_observability.py:" in line for line in lines[inside:])
    assert "sandboxes: 3" in lines and any(line.startswith("VmRSS: ") for line in lines)
    assert "planted-value" not in text


async def test_pages_without_a_socket() -> None:
    reasons = ["Docker Engine does not answer", "the network has no configuration"]
    page = Observability("127.0.0.1:0", Metrics(), lambda: reasons, lambda: {"containers": 7})
    answer = await page.answer("/readyz")
    assert (answer.status, answer.body.decode().splitlines()) == (
        503,
        [f"not ready: {reason}" for reason in reasons],
    )
    assert b"containers: 7\n" in (await page.answer("/debug/tasks")).body
    reasons.clear()
    assert (await page.answer("/readyz")).status == 200
    assert (await page.answer("/nowhere")).status == 404
    assert b"# TYPE asupervisor_tasks gauge" in (await page.answer("/metrics")).body


@pytest.mark.parametrize("path", ["/metrics", "/debug/tasks"])
async def test_who_asks_without_end_gets_one_page_with_all_others(path: str) -> None:
    """And never one from before the request."""
    made: list[int] = []

    def figures() -> dict[str, object]:
        made.append(state)
        return {"state": state}

    metrics = Metrics()
    metrics.sandboxes.follow(lambda: figures()["state"])  # type: ignore[arg-type,return-value]
    page = Observability("127.0.0.1:0", metrics, list, figures)
    answers: list[bytes] = []

    async def ask() -> None:
        answers.append((await page.answer(path)).body)

    for state in range(1, 4):
        answers.clear()
        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(ask)
            # One that does not wait for its turn keeps no other from it.
            tasks.start_soon(lambda: _given_up(page, path))
        assert len(answers) == 200 and made.count(state) <= 2
        told = f"sandboxes {state}.0" if path == "/metrics" else f"state: {state}"
        assert all(told in answer.decode() for answer in answers)


async def _given_up(page: Observability, path: str) -> None:
    with anyio.move_on_after(0):
        await page.answer(path)
