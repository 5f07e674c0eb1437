"""Undoing: in reverse, shielded, every step whatever the others do, and honest about what is
left.
"""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from asupervisor.dockershim import rollback as room
from asupervisor.dockershim.rollback import Rollback, Step
from asupervisor.errors import NotFound, RollbackFailed, Unavailable


class Steps:
    """Undo steps that note that they ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def step(self, name: str, error: Exception | None = None, hangs: bool = False) -> Step:
        async def undo() -> None:
            await anyio.lowlevel.checkpoint()
            if hangs:
                await anyio.sleep_forever()
            self.ran.append(name)
            if error is not None:
                raise error

        return undo


async def test_nothing_is_undone_after_success() -> None:
    steps = Steps()
    async with Rollback("RunPodSandbox", "pod a/b") as undo:
        undo.push("one", steps.step("one"))
    assert steps.ran == []


async def test_steps_are_undone_in_reverse_and_the_error_stays_what_it_was() -> None:
    steps = Steps()
    with pytest.raises(NotFound, match="no image"):  # noqa: PT012 - the end of the context raises
        async with Rollback("RunPodSandbox", "pod a/b") as undo:
            undo.push("one", steps.step("one"), only_if_clean=True)
            undo.push("two", steps.step("two"))
            raise NotFound("no image")
    assert steps.ran == ["two", "one"]


@pytest.mark.parametrize(
    "error", [Unavailable("the engine is gone"), KeyError("defect")], ids=["error", "defect"]
)
async def test_a_failed_undo_is_told_and_keeps_visible_what_only_a_clean_one_may_hide(
    error: Exception,
) -> None:
    steps = Steps()
    told = "no image; undoing it failed too: remove the container: "
    with pytest.raises(RollbackFailed, match=told) as caught:  # noqa: PT012
        async with Rollback("RunPodSandbox", "pod a/b") as undo:
            undo.push("remove the checkpoint", steps.step("checkpoint"), only_if_clean=True)
            undo.push("show it as it is", steps.step("show"))
            undo.push("remove the container", steps.step("container", error))
            undo.push("tear down the network", steps.step("network"))
            raise NotFound("no image")
    assert steps.ran == ["network", "container", "show"]
    assert len(caught.value.leftovers) == 1
    assert isinstance(caught.value.__cause__, NotFound)
    assert caught.value.code == NotFound.code


async def test_a_cancelled_change_is_undone_too() -> None:
    steps = Steps()
    with anyio.CancelScope() as scope:
        async with Rollback("RunPodSandbox", "pod a/b") as undo:
            undo.push("one", steps.step("one"))
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert steps.ran == ["one"]


async def test_an_undo_that_hangs_is_left_after_its_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "_DEADLINE_S", 0.05)
    steps = Steps()
    with pytest.raises(RollbackFailed, match=r"tear down the network: not done within 0\.05 s"):  # noqa: PT012 - the end of the context raises
        async with Rollback("RunPodSandbox", "pod a/b") as undo:
            undo.push("remove the container", steps.step("container"))
            undo.push("tear down the network", steps.step("network", hangs=True))
            raise NotFound("no image")
    assert steps.ran == ["container"]
