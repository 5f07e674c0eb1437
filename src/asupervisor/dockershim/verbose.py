"""The ``info`` of verbose answers: valid JSON with the pid and the engine's own inspect
document.
"""

from __future__ import annotations

from typing import Any

import orjson

from asupervisor.dockershim.shim import Shim
from asupervisor.errors import ServiceError

_DEADLINE_S = 2.0


async def verbose_info(shim: Shim, any_id: str, pid: int, facts: dict[str, Any]) -> dict[str, str]:
    """``{"info": <JSON>}`` as containerd and crictl have it; without the engine's part when the
    engine does not answer.

    Values of environment variables are left out: they are where secrets stand.
    """
    details: dict[str, Any] = {
        "pid": pid,
        "engineVersion": shim.engine.version.get("Version", ""),
        **facts,
    }
    try:
        document = await shim.engine.containers.inspect(any_id, timeout_s=_DEADLINE_S)
        config = document.get("Config") or {}
        config["Env"] = [entry.partition("=")[0] for entry in config.get("Env") or []]
        details["inspect"] = document
    except ServiceError as error:
        details["inspectError"] = str(error)
    return {"info": orjson.dumps(details).decode()}
