"""Values that no request may have, in whatever field they are."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.values import check_values

PROFILE = cri.SecurityProfile


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("working_dir", {"working_dir": "/a\0b"}),
        ("command", {"command": ["a\0b"]}),
        ("log_path", {"log_path": "a\0b"}),
        ("host_path", {"mounts": [cri.Mount(host_path="/a\0b", container_path="/m")]}),
        ("container_path", {"mounts": [cri.Mount(host_path="/a", container_path="/m\0x")]}),
        ("host_path", {"devices": [cri.Device(host_path="/dev/null\0")]}),
        ("key", {"envs": [cri.KeyValue(key="a\0b")]}),
        (
            "localhost_ref",
            {
                "linux": cri.LinuxContainerConfig(
                    security_context=cri.LinuxContainerSecurityContext(
                        seccomp=PROFILE(profile_type=PROFILE.Localhost, localhost_ref="/a\0b")
                    )
                )
            },
        ),
    ],
)
def test_text_that_the_kernel_would_cut_off(field: str, fields: dict[str, Any]) -> None:
    request = cri.CreateContainerRequest(config=cri.ContainerConfig(**fields))
    with pytest.raises(InvalidArgument, match=f"CreateContainer: {field} holds a zero byte"):
        check_values(request, "CreateContainer")


@pytest.mark.parametrize(
    "request_",
    [
        cri.ExecSyncRequest(container_id="c", cmd=["sh", "-c\0"]),
        cri.ExecRequest(container_id="c", cmd=["a\0"]),
        cri.ContainerStatusRequest(container_id="c\0"),
        cri.PullImageRequest(image=cri.ImageSpec(image="app\0")),
        cri.PullImageRequest(auth=cri.AuthConfig(password="\0")),
        cri.RunPodSandboxRequest(config=cri.PodSandboxConfig(log_directory="/l\0")),
    ],
    ids=lambda request: request.DESCRIPTOR.name,
)
def test_of_every_request(request_: Any) -> None:
    with pytest.raises(InvalidArgument, match="holds a zero byte"):
        check_values(request_, "any")


def test_an_enum_value_that_the_cri_does_not_have() -> None:
    wanted = cri.ContainerFilter(state=cri.ContainerStateValue(state=99))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="state 99 is not a ContainerState"):
        check_values(cri.ListContainersRequest(filter=wanted), "ListContainers")


def test_labels_and_annotations_are_the_callers() -> None:
    config = cri.PodSandboxConfig(labels={"a\0": "b\0"}, annotations={"c": "\0"})
    check_values(cri.RunPodSandboxRequest(config=config), "RunPodSandbox")
