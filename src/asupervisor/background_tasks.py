"""Tasks that run beside a block and end with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeVarTuple

import anyio

from asupervisor.errors import lone

Args = TypeVarTuple("Args")


class BackgroundTasks:
    """A task group for the helpers of a block: they are cancelled when it ends, and what it raises
    comes out as it is.

    A plain task group would wrap the block's own errors in a group, and wait for helpers that never
    end. If a helper fails, the block is cancelled and the helper's error comes out; without a
    group if it is the only one."""

    def __init__(self) -> None:
        self._tasks = anyio.create_task_group()

    def start_soon(self, work: Callable[[*Args], Coroutine[Any, Any, Any]], *args: *Args) -> None:
        """Start a helper."""
        self._tasks.start_soon(work, *args)

    async def __aenter__(self) -> BackgroundTasks:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self._tasks.cancel_scope.cancel()
        # A cancellation has to reach the group, which knows whether it is its own.
        is_cancelled = error is not None and not isinstance(error, Exception)
        try:
            if is_cancelled:
                return await self._tasks.__aexit__(kind, error, trace)
            # Its return value is about its own cancellation, not about ``error``.
            await self._tasks.__aexit__(None, None, None)
            return None
        except BaseExceptionGroup as group:
            sole = lone(group)
            if sole is group:
                raise
            raise sole from sole.__cause__


@asynccontextmanager
async def farewell(goodbye: Callable[[], Awaitable[None]], timeout_s: float) -> AsyncIterator[None]:
    """Say goodbye to a peer at the end of a block, however the block ends.

    Args:
        goodbye: sends it.
        timeout_s: seconds that the peer has to take it.
    """
    try:
        yield
    finally:
        with anyio.move_on_after(timeout_s, shield=True):
            await goodbye()


async def cancel_when(event: anyio.Event, scope: anyio.CancelScope) -> None:
    """Cancel a scope once an event is set."""
    await event.wait()
    scope.cancel()
