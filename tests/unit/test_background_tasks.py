"""Helpers of a block end with it, and never change how it ends."""

from __future__ import annotations

import anyio
import pytest

from asupervisor.background_tasks import BackgroundTasks


async def test_helpers_end_with_their_block() -> None:
    ended = False

    async def helper() -> None:
        nonlocal ended
        try:
            await anyio.sleep_forever()
        finally:
            ended = True

    async with BackgroundTasks() as background:
        background.start_soon(helper)
        await anyio.lowlevel.checkpoint()
    assert ended


async def test_the_blocks_own_error_comes_out_as_it_is() -> None:
    async def block() -> None:
        async with BackgroundTasks() as background:
            background.start_soon(anyio.sleep_forever)
            raise ValueError("the block's")

    with pytest.raises(ValueError, match="the block's"):
        await block()


async def test_a_helpers_error_ends_the_block_and_comes_out() -> None:
    async def helper() -> None:
        raise ValueError("the helper's")

    async def block() -> None:
        async with BackgroundTasks() as background:
            background.start_soon(helper)
            await anyio.sleep_forever()

    with pytest.raises(ValueError, match="the helper's"):
        await block()


async def test_a_cancelled_block_stays_cancelled() -> None:
    went_on = False
    with anyio.CancelScope() as scope:
        async with BackgroundTasks() as background:
            background.start_soon(anyio.sleep_forever)
            scope.cancel()
            await anyio.sleep_forever()
        went_on = True
    assert scope.cancelled_caught
    assert not went_on
