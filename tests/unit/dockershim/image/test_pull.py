"""What is never asked of a registry."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from asupervisor.dockershim.image.embedded_pause import EMBEDDED_PAUSE_REFERENCE
from asupervisor.dockershim.image.pull import pull_image
from asupervisor.errors import NotFound
from asupervisor.proto import cri


@pytest.mark.parametrize(
    "reference",
    [EMBEDDED_PAUSE_REFERENCE, "asupervisor.local/pause", f"asupervisor.local/x@sha256:{'0' * 64}"],
)
async def test_whoever_answers_to_its_name_brings_no_pause_image(reference: str) -> None:
    shim: Any = SimpleNamespace(pulls=None)
    with pytest.raises(NotFound, match="in no registry"):
        await pull_image(shim, cri.PullImageRequest(image=cri.ImageSpec(image=reference)))
