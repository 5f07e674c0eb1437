"""A verbose answer is JSON, whatever was read."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from asupervisor.dockershim.image.status import image_status
from asupervisor.dockershim.verbose import encoded_info, verbose_info
from asupervisor.node.build_image import image_record
from asupervisor.node.store import NodeStore
from asupervisor.proto import cri


def nested(depth: int) -> list[Any]:
    """A list in a list in a list …: what can be read may be too deep to be written."""
    return [nested(depth - 1)] if depth else []


def test_what_cannot_be_written_is_left_out() -> None:
    told = {"a": 1, "deep": nested(300), "half": "\ud800", "b": [2]}
    assert json.loads(encoded_info(told)["info"]) == {"a": 1, "b": [2]}
    assert encoded_info({}) == {"info": "{}"}


@pytest.mark.parametrize(
    "document",
    [{}, {"Config": None}, {"Config": "text"}, {"Config": {"Env": "A=b"}}, {"Deep": nested(300)}],
)
async def test_of_a_container(document: dict[str, Any]) -> None:
    async def inspect(any_id: str, timeout_s: float) -> dict[str, Any]:
        return {"Id": any_id, **document}

    containers = SimpleNamespace(inspect=inspect)
    shim: Any = SimpleNamespace(engine=SimpleNamespace(version={}, containers=containers))
    info = await verbose_info(shim, "x", 7, {"runtime": "runc"})
    assert json.loads(info["info"])["pid"] == 7


async def test_of_an_image_and_it_hides_no_other() -> None:
    store = NodeStore()
    document: dict[str, Any] = {
        "Id": "sha256:" + "1" * 64,
        "Config": {"Labels": {"a": nested(252)}},
    }
    store.put_image(image_record({**document, "Deep": nested(300)}, pinned=False))
    shim: Any = SimpleNamespace(store=store)
    request = cri.ImageStatusRequest(image=cri.ImageSpec(image=document["Id"]), verbose=True)
    answer = cri.ImageStatusResponse.FromString(await image_status(shim, request))
    assert answer.image.id == document["Id"]
    assert json.loads(answer.info["info"])["inspect"] == {"Id": document["Id"]}
