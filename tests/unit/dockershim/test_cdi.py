"""CDI devices: what they bring is the container's, and an unknown one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asupervisor.dockershim.container.cdi import device_environment
from asupervisor.errors import NotFound
from asupervisor.proto import cri
from tests.harness.fake_engine import FakeEngine
from tests.harness.ground import Ground

SPEC = {
    "kind": "vendor.com/claim",
    "devices": [{"name": "a", "containerEdits": {"env": ["CLAIM=a"]}}],
}


def config(*names: str) -> cri.ContainerConfig:
    return cri.ContainerConfig(CDI_devices=[cri.CDIDevice(name=name) for name in names])


async def test_the_engines_cdi_directories_are_read_and_it_is_asked_of_unknown_devices(
    tmp_path: Path,
) -> None:
    (tmp_path / "claim.json").write_text(json.dumps(SPEC))
    with FakeEngine(tmp_path / "engine.sock", api_version="1.50") as fake:
        fake.info["CDISpecDirs"] = [str(tmp_path), 7, ""]
        ground = Ground(fake, tmp_path / "root")
        async with ground.up():
            shim = ground.shim
            assert await device_environment(shim, config("vendor.com/claim=a"), "c") == ["CLAIM=a"]
            with pytest.raises(NotFound, match=f"vendor.com/claim=b.*{tmp_path}"):
                await device_environment(shim, config("vendor.com/claim=b"), "c")
            fake.info["DiscoveredDevices"] = [
                {"Source": "other", "ID": "vendor.com/claim=c"},
                {"Source": "cdi", "ID": "vendor.com/claim=b"},
            ]
            assert await device_environment(shim, config("vendor.com/claim=b"), "c") == []
            with pytest.raises(NotFound):
                await device_environment(shim, config("vendor.com/claim=c"), "c")
            assert await device_environment(shim, config(), "c") == []
