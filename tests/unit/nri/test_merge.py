"""What several plugins want, put together."""

from __future__ import annotations

import pytest

from asupervisor.config import NriConfig
from asupervisor.errors import FailedPrecondition
from asupervisor.nri import merge
from asupervisor.nri.merge import Creation, Owners, Updates
from asupervisor.nri.validate import REQUIRED_PLUGINS, check_creation
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api


def answer(**fields: object) -> api.CreateContainerResponse:
    return api.CreateContainerResponse(adjust=api.ContainerAdjustment(**fields))  # type: ignore[arg-type]


def linux(**fields: object) -> api.CreateContainerResponse:
    return answer(linux=api.LinuxContainerAdjustment(**fields))  # type: ignore[arg-type]


CONTAINER = api.Container(
    id="c1",
    name="main",
    env=["A=1", "B=2"],
    annotations={"kept": "1", "gone": "1"},
    mounts=[api.Mount(destination="/m", source="/old")],
)


def test_each_plugin_sees_what_those_before_it_want() -> None:
    creation = Creation(CONTAINER)
    creation.add(
        "10-a",
        answer(
            env=[api.KeyValue(key="A", value="x"), api.KeyValue(key="-B")],
            annotations={"-gone": "", "new": "1"},
            mounts=[api.Mount(destination="/m", source="/new")],
            args=["run"],
        ),
    )
    assert list(creation.container.env) == ["A=x"]
    assert dict(creation.container.annotations) == {"kept": "1", "new": "1"}
    assert [one.source for one in creation.container.mounts] == ["/new"]
    assert list(creation.container.args) == ["run"]
    adjust = creation.adjust
    assert {one.key: one.value for one in adjust.env} == {"A": "x", "-B": ""}
    assert dict(adjust.annotations) == {"new": "1", "-gone": ""}
    assert CONTAINER.env[0] == "A=1", "what was asked for stays as it is"


def test_what_is_new_is_not_compared_with_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's long answer would keep the whole service waiting."""
    searched = []

    def drop_keyed(collection: object, key_name: str, key: str) -> None:
        searched.append(key)

    monkeypatch.setattr(merge, "drop_keyed", drop_keyed)
    wanted = answer(
        env=[api.KeyValue(key=f"K{number}", value="1") for number in range(500)],
        mounts=[api.Mount(destination=f"/m{number}") for number in range(500)],
        annotations={f"k{number}": "1" for number in range(500)},
    )
    for number in range(500):
        wanted.adjust.mounts.add(destination=f"-/gone{number}")
    creation = Creation(CONTAINER)
    creation.add("10-a", wanted)
    assert len(creation.container.mounts) == 501
    assert searched == []


CONFLICTS = [
    (answer(env=[api.KeyValue(key="K", value="1")]), "Env K"),
    (answer(annotations={"k": "1"}), "Annotations k"),
    (answer(mounts=[api.Mount(destination="/x")]), "Mounts /x"),
    (answer(args=["x"]), "Args"),
    (answer(rlimits=[api.POSIXRlimit(type="RLIMIT_CORE")]), "Rlimits RLIMIT_CORE"),
    (answer(CDI_devices=[api.CDIDevice(name="v/c=1")]), "CdiDevices v/c=1"),
    (linux(devices=[api.LinuxDevice(path="/dev/x")]), "Devices /dev/x"),
    (linux(sysctl={"k": "1"}), "Sysctl k"),
    (linux(net_devices={"eth1": api.LinuxNetDevice(name="e")}), "LinuxNetDevices eth1"),
    (linux(namespaces=[api.LinuxNamespace(type="pid")]), "Namespace pid"),
    (linux(namespaces=[api.LinuxNamespace(type="-pid")]), "Namespace pid"),
    (linux(cgroups_path="/x"), "CgroupsPath"),
    (linux(oom_score_adj=api.OptionalInt(value=0)), "OomScoreAdj"),
    (linux(io_priority=api.LinuxIOPriority()), "IoPriority"),
    (linux(scheduler=api.LinuxScheduler(nice=1)), "LinuxSched"),
    (linux(seccomp_policy=api.LinuxSeccomp()), "SeccompPolicy"),
    (linux(memory_policy=api.LinuxMemoryPolicy(nodes="0")), "MemoryPolicy"),
    (linux(rdt=api.LinuxRdt(clos_id=api.OptionalString(value="x"))), "RdtClosID"),
]


@pytest.mark.parametrize(("wanted", "what"), CONFLICTS, ids=[what for _, what in CONFLICTS])
def test_what_one_plugin_set_another_does_not(
    wanted: api.CreateContainerResponse, what: str
) -> None:
    creation = Creation(CONTAINER)
    creation.add("10-a", wanted)
    with pytest.raises(FailedPrecondition) as caught:
        creation.add("20-b", wanted)
    assert f"10-a and 20-b both set its {what}" in str(caught.value)


RESOURCES = [
    field.name for field in (*api.LinuxMemory.DESCRIPTOR.fields, *api.LinuxCPU.DESCRIPTOR.fields)
]


@pytest.mark.parametrize("name", RESOURCES)
def test_every_limit_is_owned_by_one(name: str) -> None:
    asked = api.LinuxResources()
    part = asked.memory if name in api.LinuxMemory.DESCRIPTOR.fields_by_name else asked.cpu
    if name in ("cpus", "mems"):
        setattr(part, name, "0")
    else:
        getattr(part, name).value = 0
        getattr(part, name).SetInParent()
    creation = Creation(CONTAINER)
    creation.add("10-a", linux(resources=asked))
    for there in (creation.adjust.linux.resources, creation.container.linux.resources):
        assert there == asked
    with pytest.raises(FailedPrecondition, match="10-a and 20-b"):
        creation.add("20-b", linux(resources=asked))


def test_what_is_removed_first_changes_hands() -> None:
    creation = Creation(CONTAINER)
    creation.add("10-a", answer(env=[api.KeyValue(key="K", value="1")], args=["a"]))
    taking = [api.KeyValue(key="-K"), api.KeyValue(key="K", value="2")]
    creation.add("20-b", answer(env=taking, args=["", "b"]))
    assert [(one.key, one.value) for one in creation.adjust.env] == [("K", "2")]
    assert list(creation.adjust.args) == ["b"]
    assert creation.owners.message.owners["c1"].compound[api.Env].owners["K"] == "20-b"


def test_hooks_and_device_rules_add_up() -> None:
    creation = Creation(CONTAINER)
    for plugin in ("10-a", "20-b"):
        wanted = answer(hooks=api.Hooks(prestart=[api.Hook(path=f"/{plugin}")]))
        wanted.adjust.linux.resources.devices.add(allow=True)
        creation.add(plugin, wanted)
    assert [one.path for one in creation.adjust.hooks.prestart] == ["/10-a", "/20-b"]
    assert len(creation.adjust.linux.resources.devices) == 2
    assert creation.owners.message.owners["c1"].simple[api.OciHooks] == "10-a,20-b"


def update(container_id: str, shares: int, ignore: bool = False) -> api.ContainerUpdate:
    asked = api.ContainerUpdate(container_id=container_id, ignore_failure=ignore)
    asked.linux.resources.cpu.shares.value = shares
    return asked


def test_updates_of_others_are_merged_and_conflicts_refused_or_left_out() -> None:
    updates = Updates(Owners(), created="new")
    updates.add("10-a", [update("c2", 10)])
    updates.add("20-b", [update("c2", 20, ignore=True), update("c3", 30)])
    assert [
        (one.container_id, one.linux.resources.cpu.shares.value) for one in updates.of_others
    ] == [
        ("c2", 10),
        ("c3", 30),
    ]
    with pytest.raises(FailedPrecondition, match="CPUShares"):
        updates.add("30-c", [update("c3", 40)])
    with pytest.raises(FailedPrecondition, match="adjust it"):
        updates.add("30-c", [update("new", 40)])


def test_the_container_that_is_updated_is_told_apart() -> None:
    asked = api.LinuxResources()
    asked.cpu.quota.value = 7
    updates = Updates(Owners(), own=("c1", asked))
    assert updates.of_own is None
    updates.add("10-a", [update("c1", 10), update("c2", 20)])
    assert [one.container_id for one in updates.of_others] == ["c2"]
    assert updates.of_own is not None
    assert (updates.of_own.cpu.quota.value, updates.of_own.cpu.shares.value) == (7, 10)


def checked(
    config: NriConfig, wanted: api.CreateContainerResponse, annotations: dict[str, str]
) -> None:
    creation = Creation(CONTAINER)
    creation.add("10-a", wanted)
    pod = api.PodSandbox(name="p", namespace="n", annotations=annotations)
    check_creation(config, pod, creation, ["10-a"])


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("hooks", answer(hooks=api.Hooks(poststop=[api.Hook(path="/x")]))),
        ("unconfined-seccomp", linux(seccomp_policy=api.LinuxSeccomp())),
        ("namespaces", linux(namespaces=[api.LinuxNamespace(type="-pid")])),
        ("sysctls", linux(sysctl={"k": "1"})),
    ],
)
def test_what_a_rule_rules_out_is_rejected_with_the_plugin(
    rule: str, wanted: api.CreateContainerResponse
) -> None:
    checked(NriConfig(validate=True), wanted, {})
    with pytest.raises(FailedPrecondition, match=rf"10-a.*--nri-reject={rule}"):
        checked(NriConfig(reject=(rule,)), wanted, {})


@pytest.mark.parametrize(
    ("annotations", "missing"),
    [
        ({}, ["everywhere"]),
        ({REQUIRED_PLUGINS: "[a, b]"}, ["b", "everywhere"]),
        ({f"{REQUIRED_PLUGINS}/pod": "['10-a']"}, ["everywhere"]),
        (
            {f"{REQUIRED_PLUGINS}/container.main": "[c]", REQUIRED_PLUGINS: "[d]"},
            ["c", "everywhere"],
        ),
        ({"tolerate": "true"}, []),
        ({"tolerate/container.main": "false"}, ["everywhere"]),
        ({"tolerate": "perhaps"}, ["neither true nor false"]),
        ({REQUIRED_PLUGINS: "{"}, ["not YAML"]),
        ({REQUIRED_PLUGINS: "7"}, ["not a list"]),
    ],
)
def test_a_required_plugin_has_to_be_there(annotations: dict[str, str], missing: list[str]) -> None:
    config = NriConfig(required_plugins=("everywhere",), tolerate_missing_annotation="tolerate")
    if not missing:
        checked(config, answer(), annotations)
        return
    with pytest.raises(FailedPrecondition) as caught:
        checked(config, answer(), annotations)
    assert all(word in str(caught.value) for word in missing)
