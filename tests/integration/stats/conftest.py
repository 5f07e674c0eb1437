"""Containers made past the service, for readings of the stats room alone."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from asupervisor.proto import cri
from asupervisor.proto.wire import encode_field
from asupervisor.stats.subjects import ContainerSubject, SandboxSubject
from asupervisor.translate.resources import cgroup_parent
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import pod_cgroup


class Pods:
    """Makes containers past the service and describes them to the stats."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.made: list[str] = []

    def container(self, command: str, **host_config: Any) -> dict[str, Any]:
        """Run a shell command in a new container; its inspect document."""
        body = {
            "Image": BUSYBOX_IMAGE,
            "Cmd": ["sh", "-c", command],
            "HostConfig": {"OomScoreAdj": 0, **host_config},
        }
        status, answer = self.engine.request("POST", "/containers/create", body)
        assert status == 201, answer
        self.made.append(answer["Id"])
        status, started = self.engine.request("POST", f"/containers/{answer['Id']}/start")
        assert status == 204, started
        return self.engine.inspect(answer["Id"])

    def cgroup_parent(self) -> str:
        """A cgroup parent for one more pod, in the form that the engine's cgroup driver wants."""
        return cgroup_parent(
            pod_cgroup(uuid.uuid4().hex[:8]), self.engine.request("GET", "/info")[1]["CgroupDriver"]
        )

    def stats(self, container: dict[str, Any]) -> dict[str, Any]:
        """``docker stats`` once."""
        status, answer = self.engine.request(
            "GET", f"/containers/{container['Id']}/stats?stream=false&one-shot=true"
        )
        assert status == 200
        found: dict[str, Any] = answer
        return found

    def run(self, container: dict[str, Any], command: str) -> str:
        """Run a command in a container's namespaces, outside of its cgroup; its output."""
        pid = str(container["State"]["Pid"])
        nsenter = ["nsenter", "-t", pid, "-m", "-n", "-p", "-r", "/bin/sh", "-c", command]
        return subprocess.check_output(nsenter, text=True, env={"PATH": "/bin"})

    def destroy(self) -> None:
        """Remove every container that was made."""
        for container_id in reversed(self.made):
            self.engine.request("DELETE", f"/containers/{container_id}?force=1&v=1")


@pytest.fixture
def pods(engine: Engine) -> Iterator[Pods]:
    """A maker of containers that removes them."""
    made = Pods(engine)
    yield made
    made.destroy()


def started_at_ns(container: dict[str, Any]) -> int:
    """The start in nanoseconds, to the second: enough for a first rate."""
    return (
        int(
            time.mktime(time.strptime(container["State"]["StartedAt"][:19], "%Y-%m-%dT%H:%M:%S"))
            - time.timezone
        )
        * 1_000_000_000
    )


def subject(container: dict[str, Any], sandbox_id: str = "sandbox") -> ContainerSubject:
    """What the stats are told of a container."""
    return ContainerSubject(
        container_id=container["Id"],
        sandbox_id=sandbox_id,
        pid=container["State"]["Pid"],
        attributes=encode_field(
            1,
            cri.ContainerAttributes(
                id=container["Id"],
                metadata=cri.ContainerMetadata(name="c", attempt=2),
                labels={"a": "b"},
                annotations={"k": "v" * 300},
            ),
        ),
        container_name="c",
        started_at_ns=started_at_ns(container),
        name=container["Name"].lstrip("/"),
        image=BUSYBOX_IMAGE,
        writable_layer=((container.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir", ""),
    )


def sandbox_subject(
    container: dict[str, Any], own_cgroup: bool, own_network: bool = True
) -> SandboxSubject:
    """What the stats are told of a sandbox."""
    return SandboxSubject(
        sandbox_id=container["Id"],
        pid=container["State"]["Pid"],
        attributes=encode_field(
            1,
            cri.PodSandboxAttributes(
                id=container["Id"],
                metadata=cri.PodSandboxMetadata(name="p", namespace="n", uid="u"),
            ),
        ),
        namespace="n",
        pod_name="p",
        started_at_ns=started_at_ns(container),
        name=container["Name"].lstrip("/"),
        own_cgroup=own_cgroup,
        own_network=own_network,
    )
