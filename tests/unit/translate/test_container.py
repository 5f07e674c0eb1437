"""The plan of a container, which leaves its request as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.proto import cri
from asupervisor.translate.accounts import Identity
from asupervisor.translate.cgroup_files import CgroupSettings
from asupervisor.translate.container import ContainerPlan, OfSandbox, Resolved, plan_container
from asupervisor.translate.engine_facts import EngineFacts
from asupervisor.translate.labels import IMAGE_REF_LABEL, USER_IMAGE_LABEL

FACTS = EngineFacts(api_version=(1, 48), default_runtime="runc")
IMAGE_ID = "sha256:" + "a" * 64
POD = cri.PodSandboxMetadata(name="web", namespace="default", uid="of the sandbox")
SANDBOX = OfSandbox("s" * 64, POD, "runc", False, False, None)
FOUND = Resolved(
    image_id=IMAGE_ID,
    image_ref="web@sha256:1",
    mounts=[],
    target_id="",
    identity=Identity("7:8", (9,)),
    cgroup=CgroupSettings(),
    environment=[],
)


def plan(
    config: dict[str, Any] | None = None,
    sandbox: OfSandbox = SANDBOX,
    found: Resolved = FOUND,
    facts: EngineFacts = FACTS,
) -> ContainerPlan:
    request = cri.CreateContainerRequest(
        pod_sandbox_id=sandbox.sandbox_id,
        config=cri.ContainerConfig(
            **{
                "metadata": cri.ContainerMetadata(name="c"),
                "image": cri.ImageSpec(image="web:1"),
                "log_path": "c/0.log",
                **(config or {}),
            }
        ),
        sandbox_config=cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name="web", namespace="default", uid="drawn anew"),
            log_directory="/var/log/pods/web",
        ),
    )
    before = request.SerializeToString(deterministic=True)
    made = plan_container(request, sandbox, found, facts, b"{}")
    assert request.SerializeToString(deterministic=True) == before, "a request is not changed"
    return made


def test_a_plan_names_the_container_by_its_sandbox() -> None:
    made = plan()
    assert made.subject == "container c of pod default/web"
    assert "of the sandbox" in made.name and "drawn anew" not in made.name
    assert made.log_path == "/var/log/pods/web/c/0.log"


def test_what_names_stand_for_is_what_the_engine_is_given() -> None:
    mount = cri.Mount(container_path="/data", host_path="/resolved")
    asked = cri.Mount(container_path="/data", host_path="/a/link")
    made = plan({"mounts": [asked]}, found=replace(FOUND, mounts=[mount], target_id="t" * 64))
    body, host = made.body, made.body["HostConfig"]
    assert (body["Image"], body["User"], host["GroupAdd"]) == (IMAGE_ID, "7:8", ["9"])
    assert [one["Source"] for one in host["Mounts"]] == ["/resolved"]
    assert body["Labels"][IMAGE_REF_LABEL] == "web@sha256:1"


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        (cri.ImageSpec(image="docker://web:1"), "web:1"),
        (cri.ImageSpec(image=IMAGE_ID), ""),
        (cri.ImageSpec(image=IMAGE_ID, user_specified_image="web:2"), "web:2"),
    ],
    ids=["a name", "an id", "an id, and the manifest's name"],
)
def test_the_image_is_kept_as_the_manifest_has_it(spec: cri.ImageSpec, shown: str) -> None:
    assert plan({"image": spec}).body["Labels"][USER_IMAGE_LABEL] == shown


def test_the_environment_of_devices_replaces_that_of_the_config() -> None:
    envs = [cri.KeyValue(key="A", value=b"1"), cri.KeyValue(key="A", value=b"2")]
    assert plan({"envs": envs}).body["Env"] == ["A=1", "A=2"], "the engine decides"
    found = replace(FOUND, environment=["A=3", "B=4"])
    assert plan({"envs": envs}, found=found).body["Env"] == ["A=3", "B=4"]


def test_what_the_engine_and_the_sandbox_are_decides_about_the_rest() -> None:
    users = plan(sandbox=replace(SANDBOX, host_users=True)).body["HostConfig"]
    assert users["UsernsMode"] == "host"
    assert "UsernsMode" not in plan().body["HostConfig"]
    log = plan(sandbox=replace(SANDBOX, log_config={"Type": "json-file"})).body["HostConfig"]
    assert log["LogConfig"] == {"Type": "json-file"}
    assert "LogConfig" not in plan().body["HostConfig"]
    chosen = plan(sandbox=replace(SANDBOX, runtime="runsc")).body["HostConfig"]
    assert chosen["Annotations"]["io.kubernetes.cri.container-type"] == "container"
    assert "Annotations" not in plan().body["HostConfig"]


def test_cdi_devices_need_an_engine_that_knows_them() -> None:
    devices = {"CDI_devices": [cri.CDIDevice(name="vendor.com/class=a")]}
    with pytest.raises(FailedPrecondition, match=r"1\.50"):
        plan(devices)
    made = plan(devices, facts=replace(FACTS, api_version=(1, 50)))
    assert made.body["HostConfig"]["DeviceRequests"] == [
        {"Driver": "cdi", "DeviceIDs": ["vendor.com/class=a"]}
    ]
