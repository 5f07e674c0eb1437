"""Whose network may be made before the engine has answered the start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from asupervisor.dockershim.sandbox.start import _may_be_beside
from asupervisor.proto import cri

LOCAL = "unix:///run/docker.sock"


@pytest.mark.parametrize(
    ("mode", "endpoint", "changes", "expected"),
    [
        ("none", LOCAL, {}, True),
        ("none", LOCAL, {"sysctls": {"kernel.shm_rmid_forced": "1"}}, True),
        # What the runtime sets for interfaces to come, or takes from those that are there.
        ("none", LOCAL, {"sysctls": {"net.ipv6.conf.all.disable_ipv6": "1"}}, False),
        ("none", LOCAL, {"sysctls": {"net/ipv4/conf/default/rp_filter": "2"}}, False),
        ("none", LOCAL, {"pid": cri.NODE}, False),
        ("none", LOCAL, {"pid": cri.CONTAINER}, True),
        ("none", LOCAL, {"network": cri.NODE}, False),
        ("none", "tcp://192.0.2.1:2375", {}, False),
        ("default", LOCAL, {}, False),
    ],
)
def test_whose_network_may_be_made_beside_the_start(
    mode: str, endpoint: str, changes: dict[str, Any], expected: bool
) -> None:
    shim: Any = SimpleNamespace(
        network=SimpleNamespace(engine_network_mode=mode),
        engine=SimpleNamespace(endpoint=endpoint),
    )
    options = cri.NamespaceOption(
        network=changes.get("network", cri.POD), pid=changes.get("pid", cri.POD)
    )
    config = cri.PodSandboxConfig(
        linux=cri.LinuxPodSandboxConfig(
            sysctls=changes.get("sysctls", {}),
            security_context=cri.LinuxSandboxSecurityContext(namespace_options=options),
        )
    )
    assert _may_be_beside(shim, config) is expected
