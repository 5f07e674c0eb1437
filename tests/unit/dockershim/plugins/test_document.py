"""What plugins want, as the OCI runtime-spec has it."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.dockershim.plugins.document import (
    Foreign,
    OciDocument,
    describe_carried,
    document_parts,
    oci_device,
    oci_mount,
    oci_namespace,
)
from asupervisor.dockershim.plugins.shape import AdjustedShape
from asupervisor.errors import FailedPrecondition
from asupervisor.nri.merge import Creation
from asupervisor.proto import cri
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api
from asupervisor.translate.runtimes import Wrapped

LATE = Wrapped("runc", (1, 3))
PRIORITY = api.LinuxIOPriority(priority=3, **{"class": api.IOPRIO_CLASS_IDLE})
SCHEDULER = api.LinuxScheduler(
    policy=api.SCHED_DEADLINE, flags=[api.SCHED_FLAG_RECLAIM], runtime=1, deadline=2, period=3
)
POLICY = api.LinuxMemoryPolicy(mode=api.MPOL_BIND, nodes="0-1", flags=[api.MPOL_F_STATIC_NODES])
RDT = api.LinuxRdt(
    clos_id=api.OptionalString(value="gold"),
    schemata=api.OptionalRepeatedString(value=["L3:0=f"]),
    enable_monitoring=api.OptionalBool(value=True),
)
HOOK = api.Hook(path="/h", args=["h", "a"], env=["E=1"], timeout=api.OptionalInt(value=5))
HOOK_OCI = {"path": "/h", "args": ["h", "a"], "env": ["E=1"], "timeout": 5}


def linux(**fields: Any) -> api.ContainerAdjustment:
    return api.ContainerAdjustment(linux=api.LinuxContainerAdjustment(**fields))


PARTS: list[tuple[api.ContainerAdjustment, str, tuple[int, int], dict[str, Any]]] = [
    (
        api.ContainerAdjustment(
            hooks=api.Hooks(prestart=[HOOK], create_runtime=[HOOK], start_container=[HOOK, HOOK])
        ),
        "hooks",
        (1, 0),
        {
            "hooks": {
                "prestart": [HOOK_OCI],
                "createRuntime": [HOOK_OCI],
                "startContainer": [HOOK_OCI, HOOK_OCI],
            }
        },
    ),
    (
        linux(io_priority=PRIORITY),
        "io_priority",
        (1, 1),
        {"process": {"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 3}}},
    ),
    (
        linux(scheduler=SCHEDULER),
        "scheduler",
        (1, 1),
        {
            "process": {
                "scheduler": {
                    "policy": "SCHED_DEADLINE",
                    "flags": ["SCHED_FLAG_RECLAIM"],
                    **{"nice": 0, "priority": 0, "runtime": 1, "deadline": 2, "period": 3},
                }
            }
        },
    ),
    (
        linux(net_devices={"eth7": api.LinuxNetDevice(name="eth1"), "-gone": api.LinuxNetDevice()}),
        "net_devices",
        (1, 3),
        {"linux": {"netDevices": {"eth7": {"name": "eth1"}}}},
    ),
    (
        linux(memory_policy=POLICY),
        "memory_policy",
        (1, 3),
        {
            "linux": {
                "memoryPolicy": {
                    "mode": "MPOL_BIND",
                    "nodes": "0-1",
                    "flags": ["MPOL_F_STATIC_NODES"],
                }
            }
        },
    ),
    (
        linux(rdt=RDT),
        "rdt",
        (1, 3),
        {
            "linux": {
                "intelRdt": {"closID": "gold", "schemata": ["L3:0=f"], "enableMonitoring": True}
            }
        },
    ),
]


@pytest.mark.parametrize(("adjust", "name", "since", "change"), PARTS, ids=lambda one: str(one)[:9])
def test_each_part(
    adjust: api.ContainerAdjustment, name: str, since: tuple[int, int], change: dict[str, Any]
) -> None:
    (part,) = document_parts(adjust)
    assert (part.name, part.since, part.change, part.lacks) == (name, since, change, "")


def test_what_asks_for_nothing_is_none() -> None:
    for adjust in (
        api.ContainerAdjustment(env=[api.KeyValue(key="A")]),
        linux(rdt=api.LinuxRdt(remove=True), net_devices={"-eth7": api.LinuxNetDevice()}),
    ):
        assert list(document_parts(adjust)) == []


def test_a_class_of_a_later_interface_is_passed_on_for_the_runtime_to_refuse() -> None:
    (part,) = document_parts(linux(memory_policy=api.LinuxMemoryPolicy(mode=77)))  # type: ignore[arg-type]
    assert part.change["linux"]["memoryPolicy"]["mode"] == "77"


def shaped(adjust: api.ContainerAdjustment, wrapped: Wrapped) -> AdjustedShape:
    described = api.Container(id="c1", name="main")
    creation = Creation(described)
    creation.add("10-a", api.CreateContainerResponse(adjust=adjust))
    shape = AdjustedShape(
        creation.adjust, creation.owners.message, described, "container main", wrapped
    )
    shape.request(cri.CreateContainerRequest())
    body = shape.body({"HostConfig": {"Runtime": "", "SecurityOpt": []}, "Env": []})
    carried = shape.document is not None
    assert body["HostConfig"]["Runtime"] == ("asupervisor-nri" if carried else "")
    return shape


def test_a_container_that_needs_it_gets_the_runtime_and_no_other() -> None:
    assert shaped(linux(scheduler=SCHEDULER, rdt=RDT), LATE).document == (
        "runc",
        {
            "process": PARTS[2][3]["process"],
            "linux": PARTS[5][3]["linux"],
        },
    )
    assert shaped(linux(oom_score_adj=api.OptionalInt(value=1)), LATE).document is None


@pytest.mark.parametrize(
    ("adjust", "words"),
    [
        (linux(io_priority=api.LinuxIOPriority(priority=3)), "io_priority.*10-a.*no class"),
        (linux(scheduler=api.LinuxScheduler(nice=3)), "scheduler.*10-a.*no policy"),
        (linux(namespaces=[api.LinuxNamespace(type="-network")]), "network.*10-a"),
        (linux(namespaces=[api.LinuxNamespace(type="time", path="/p")]), "time.*10-a"),
        (linux(devices=[api.LinuxDevice(path="/dev/x", type="x")]), "/dev/x.*10-a"),
        (linux(cgroups_path="/elsewhere/x"), "cgroups_path.*10-a"),
    ],
    ids=lambda one: str(one)[:12],
)
def test_what_no_document_can_carry_is_refused_by_name(
    adjust: api.ContainerAdjustment, words: str
) -> None:
    with pytest.raises(FailedPrecondition, match=words):
        shaped(adjust, LATE)


def test_what_a_runtime_does_not_know_is_refused_by_name() -> None:
    document = OciDocument(Wrapped("runc", (1, 2)))
    document.carry({"hooks": {}}, "hooks")
    with pytest.raises(FailedPrecondition, match=r"net_devices.*10-a.*runc knows.*1\.2, not 1\.3"):
        shaped(PARTS[3][0], Wrapped("runc", (1, 2)))
    with pytest.raises(FailedPrecondition, match=r"hooks of the NRI plugin 10-a.*here is why"):
        shaped(PARTS[0][0], Wrapped(problem="here is why"))


def test_mounts_devices_rules_and_namespaces() -> None:
    device = api.LinuxDevice(path="/dev/x", type="c", major=4095, minor=4095)
    device.file_mode.value, device.uid.value = 0o600, 7
    rule = api.LinuxDeviceCgroup(allow=False, type="c", major=api.OptionalInt64(value=1))
    adjust = linux(
        devices=[device, api.LinuxDevice(path="/run/fifo", type="p")],
        namespaces=[api.LinuxNamespace(type="network", path="/run/netns/x")],
        resources=api.LinuxResources(devices=[rule]),
    )
    adjust.mounts.add(destination="/x", type="overlay", source="overlay", options=["lowerdir=/a"])
    document = shaped(adjust, LATE).document
    assert document is not None
    numbers = {"type": "c", "major": 4095, "minor": 4095}
    assert document[1] == {
        "mounts": [
            {
                "destination": "/x",
                "type": "overlay",
                "source": "overlay",
                "options": ["lowerdir=/a"],
            }
        ],
        "linux": {
            "devices": [
                {"path": "/dev/x", **numbers, "fileMode": 0o600, "uid": 7},
                {"path": "/run/fifo", "type": "p", "major": 0, "minor": 0},
            ],
            "namespaces": [{"type": "network", "path": "/run/netns/x"}],
            "resources": {
                "devices": [
                    {"allow": True, **numbers, "access": "rwm"},
                    {"allow": False, "access": "rwm", "type": "c", "major": 1},
                ]
            },
        },
    }


def test_what_a_document_carries_is_described_as_it_was_asked_for() -> None:
    document = OciDocument(LATE)
    adjust = linux(
        io_priority=PRIORITY,
        scheduler=SCHEDULER,
        net_devices={"eth7": api.LinuxNetDevice(name="eth1")},
    )
    adjust.hooks.MergeFrom(api.Hooks(prestart=[HOOK], start_container=[HOOK, HOOK]))
    mount = api.Mount(destination="/m", type="bind", source="/s", options=["noexec"])
    device = api.LinuxDevice(path="/dev/d", type="c", major=1, minor=5)
    device.file_mode.value, device.uid.value = 0o600, 0
    device.uid.SetInParent()
    namespace = api.LinuxNamespace(type="ipc", path="/proc/1/ns/ipc")
    for change in (oci_mount(mount), oci_device(device), oci_namespace(namespace)):
        document.carry(change, "")
    for part in document_parts(adjust):
        document.carry(part.change, "", part.since)
    container = api.Container(mounts=[api.Mount(destination="/m"), api.Mount(destination="/n")])
    container.linux.namespaces.add(type="ipc")
    describe_carried(container, document.content)
    assert container.hooks == adjust.hooks
    assert list(container.mounts) == [api.Mount(destination="/n"), mount]
    assert list(container.linux.devices) == [device]
    assert list(container.linux.namespaces) == [namespace]
    assert container.linux.io_priority == PRIORITY and container.linux.scheduler == SCHEDULER
    assert dict(container.linux.net_devices) == {"eth7": api.LinuxNetDevice(name="eth1")}


@pytest.mark.parametrize(
    "content",
    [
        {"mounts": [1]},
        {"mounts": [{"x": 1}]},
        {"linux": {"devices": [{}]}},
        {"hooks": {"prestart": [{"path": 1, "args": [], "env": []}]}},
        {"process": {"scheduler": {"policy": "NONE_SUCH"}}},
        [],
    ],
)
def test_what_nobody_wrote_is_not_described(content: Any) -> None:
    with pytest.raises(Foreign):
        describe_carried(api.Container(), content)
