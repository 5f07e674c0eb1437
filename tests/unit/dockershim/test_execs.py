"""How a command ended, as an engine tells it that cannot be believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asupervisor.dockershim.container import execs
from asupervisor.errors import Internal
from tests.unit.engine.test_session import client


@pytest.mark.parametrize("code", [1 << 31, -(1 << 40), None, "0", 1.5])
async def test_an_exit_code_that_is_none_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: Any
) -> None:
    monkeypatch.setattr(execs, "_EXIT_DEADLINE_S", 0.05)
    async with client(tmp_path) as (fake, engine):
        fake.answers["GET /exec/x/json"] = lambda: (200, {"Running": False, "ExitCode": code})
        with pytest.raises(Internal, match="did not record"):
            await execs.exit_code(engine, "x")
