"""A program's arguments as CRI configurations."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.client import Mount, Resources
from asupervisor.client.plan import pod_plan
from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri


def test_every_option_has_its_field() -> None:
    plan = pod_plan(
        "example.test/app:1",
        ["app"],
        {
            "name": "box",
            "namespace": "agents",
            "args": ["--once"],
            "env": {"A": "b"},
            "working_dir": "/srv",
            "resources": Resources(cpu_cores=0.5, memory_bytes=1 << 26, pids=64),
            "mounts": [Mount(source="/data", target="/in", read_only=True)],
            "user": "1000:1001",
            "read_only": True,
            "network": "host",
            "drop": ("ALL",),
            "no_new_privileges": True,
            "runtime_handler": "gvisor",
            "labels": {"app": "box"},
            "annotations": {"note": "x"},
            "stdin": True,
            "terminal": True,
            "pull": "Never",
        },
    )
    (container,) = plan.containers
    config, security = container.config, container.config.linux.security_context
    assert (plan.sandbox.metadata.name, plan.sandbox.metadata.namespace) == ("box", "agents")
    assert plan.sandbox.labels["app"] == "box" and plan.sandbox.annotations["note"] == "x"
    assert plan.sandbox.labels["io.kubernetes.pod.uid"] == plan.sandbox.metadata.uid
    assert plan.runtime_handler == "gvisor" and container.pull_policy == "Never"
    assert (list(config.command), list(config.args)) == (["app"], ["--once"])
    assert [(each.key, each.value) for each in config.envs] == [("A", b"b")]
    assert (config.working_dir, config.stdin, config.tty) == ("/srv", True, True)
    (mount,) = config.mounts
    assert (mount.host_path, mount.container_path, mount.readonly) == ("/data", "/in", True)
    linux = config.linux.resources
    assert (linux.cpu_quota, linux.cpu_period, linux.cpu_shares) == (50_000, 100_000, 512)
    assert linux.memory_limit_in_bytes == 1 << 26 and linux.unified["pids.max"] == "64"
    assert (security.run_as_user.value, security.run_as_group.value) == (1000, 1001)
    assert security.readonly_rootfs and security.no_new_privs
    assert list(security.capabilities.drop_capabilities) == ["ALL"]
    assert security.namespace_options.network == cri.NODE


def test_two_pods_without_a_name_have_different_ones() -> None:
    one, other = (pod_plan("i", [], {}).sandbox.metadata for _ in range(2))
    assert one.name != other.name and one.uid != other.uid


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"netwrok": "host"}, "netwrok"),
        ({"network": "none"}, "network"),
        ({"user": "1000:staff"}, "user"),
        ({"args": "one text"}, "args"),
        ({"drop": "ALL"}, "drop"),
    ],
)
def test_what_is_malformed_is_named(options: Any, named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        pod_plan("i", [], options)
