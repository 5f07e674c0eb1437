"""Whose network may be made before the engine has answered the start."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.dockershim.sandbox.start import _may_be_beside


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"PidMode": ""}, True),
        ({"Sysctls": {"kernel.shm_rmid_forced": "1"}}, True),
        # What the runtime sets for interfaces to come, or takes from those that are there.
        ({"Sysctls": {"net.ipv6.conf.all.disable_ipv6": "1"}}, False),
        ({"Sysctls": {"net/ipv4/conf/default/rp_filter": "2"}}, False),
        ({"PidMode": "host"}, False),
        ({"NetworkMode": "host"}, False),
        ({"NetworkMode": "default"}, False),
    ],
)
def test_whose_network_may_be_made_beside_the_start(
    changes: dict[str, Any], expected: bool
) -> None:
    assert _may_be_beside({"NetworkMode": "none", "Sysctls": {}, **changes}) is expected
