"""The ``info`` of verbose answers: JSON with the pid and the engine's inspect document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from asupervisor.dockershim.shim import Shim
from asupervisor.errors import ServiceError
from asupervisor.translate.documents import mapping, texts

_DEADLINE_S = 2.0


async def verbose_info(shim: Shim, any_id: str, pid: int, facts: dict[str, Any]) -> dict[str, str]:
    """``{"info": <JSON>}`` as containerd and crictl have it; without the engine's part when the
    engine does not answer.

    Values of environment variables are left out, since they may be secrets.
    """
    details: dict[str, Any] = {
        "pid": pid,
        "engineVersion": shim.engine.version.get("Version", ""),
        **facts,
    }
    try:
        document = await shim.engine.containers.inspect(any_id, timeout_s=_DEADLINE_S)
        config = mapping(document, "Config")
        config["Env"] = [entry.partition("=")[0] for entry in texts(config, "Env")]
        details["inspect"] = document
    except ServiceError as error:
        details["inspectError"] = str(error)
    return encoded_info(details)


def encoded_info(details: Mapping[str, Any]) -> dict[str, str]:
    """The ``info`` of a verbose answer. A part that is nested too deeply to be written as JSON is
    left out, although it could be read.
    """
    members = (_member(key, value) for key, value in details.items())
    return {"info": f"{{{','.join(filter(None, members))}}}"}


def _member(key: str, value: object) -> str:
    try:
        return orjson.dumps({key: value}).decode()[1:-1]
    except TypeError:
        return ""
