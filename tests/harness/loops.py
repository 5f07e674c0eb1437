"""The event loops that tests run on."""

from __future__ import annotations

import pytest

ASYNCIO = "asyncio", {"use_uvloop": False}
UVLOOP = "asyncio", {"use_uvloop": True}
"""The service's own."""

on_both_loops = pytest.mark.parametrize(
    "anyio_backend", [UVLOOP, ASYNCIO], ids=["uvloop", "asyncio"]
)
