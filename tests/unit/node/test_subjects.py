"""What the stats are told of the node state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asupervisor.host.cgroups import Hierarchies
from asupervisor.node.store import NodeStore
from asupervisor.node.subjects import container_subject, feed_stats, sandbox_subject
from asupervisor.proto import cri
from asupervisor.stats.service import Stats
from tests.unit.node.test_events import container, running, sandbox


def test_the_stats_follow_the_store_from_what_it_has() -> None:
    store = NodeStore()
    store.put_sandbox(sandbox())
    store.put_container(running)
    stats = Stats(hierarchies=Hierarchies)
    feed_stats(store, stats)
    assert stats._containers.keys() == {"c1"} and stats._sandboxes.keys() == {"s1"}
    first = stats._containers["c1"]
    store.put_container(running)
    assert stats._containers["c1"] is first, "what did not change is not read anew"
    store.put_container(replace(running, pid=7))
    assert stats._containers["c1"].subject.pid == 7
    store.put_container(container(cri.CONTAINER_CREATED, "c2"))
    store.remove("c1")
    store.remove("s1")
    assert stats._containers.keys() == {"c2"} and not stats._sandboxes


@pytest.mark.parametrize(
    ("parent", "own"),
    [("", False), ("/", False), ("/kubepods/podx", True), ("kubepods-podx.slice", True)],
)
def test_a_pods_own_cgroup_is_the_one_that_cri_gave_it(parent: str, own: bool) -> None:
    assert sandbox_subject(replace(sandbox(), cgroup_parent=parent)).own_cgroup is own
    assert sandbox_subject(replace(sandbox(), host_network=True)).own_network is False


def test_the_image_is_the_one_the_pod_asked_for() -> None:
    status = cri.ContainerStatus(
        image=cri.ImageSpec(image="web:2", user_specified_image="web:latest")
    )
    assert (
        container_subject(replace(running, status=status, image_name="sha256:1")).image
        == "web:latest"
    )
    status.image.user_specified_image = ""
    assert (
        container_subject(replace(running, status=status, image_name="sha256:1")).image == "web:2"
    )
    assert container_subject(replace(running, image_name="sha256:1")).image == "sha256:1"
