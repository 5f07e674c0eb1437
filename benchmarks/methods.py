"""Which calls are measured, and what each server is asked with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc
from google.protobuf.message import Message

from asupervisor.proto import cri

_LARGEST_ANSWER = 64 << 20
_ANSWERS_IN_S = 60.0
_VERSIONS = ("v1", "v1alpha2")


@dataclass(frozen=True)
class Subjects:
    """What the requests are about, as one server has it; empty where it has none.

    Args:
        sandbox: id of a pod sandbox.
        container: id of a running container.
        image: a name of the containers' image.
    """

    sandbox: str
    container: str
    image: str


@dataclass(frozen=True)
class Call:
    """One measured call.

    Args:
        label: its name in the report, the method's own where it has only one row.
        service: ``RuntimeService`` or ``ImageService``.
        method: the RPC.
        request: makes the request.
    """

    label: str
    service: str
    method: str
    request: Callable[[Subjects], Message]

    def path_in(self, version: str) -> str:
        """The method's path on the wire in one version of the CRI."""
        return f"/runtime.{version}.{self.service}/{self.method}"


def _runtime(method: str, request: Callable[[Subjects], Message], label: str = "") -> Call:
    return Call(label or method, "RuntimeService", method, request)


def _image(method: str, request: Callable[[Subjects], Message]) -> Call:
    return Call(method, "ImageService", method, request)


CALLS = (
    _runtime("Version", lambda _: cri.VersionRequest()),
    _runtime("Status", lambda _: cri.StatusRequest()),
    _runtime("RuntimeConfig", lambda _: cri.RuntimeConfigRequest()),
    _runtime("ListPodSandbox", lambda _: cri.ListPodSandboxRequest()),
    _runtime(
        "ListPodSandbox",
        lambda _: cri.ListPodSandboxRequest(
            filter=cri.PodSandboxFilter(state=cri.PodSandboxStateValue(state=cri.SANDBOX_READY))
        ),
        "ListPodSandbox, ready ones",
    ),
    _runtime("PodSandboxStatus", lambda on: cri.PodSandboxStatusRequest(pod_sandbox_id=on.sandbox)),
    _runtime("ListContainers", lambda _: cri.ListContainersRequest()),
    _runtime(
        "ListContainers",
        lambda on: cri.ListContainersRequest(filter=cri.ContainerFilter(pod_sandbox_id=on.sandbox)),
        "ListContainers, one pod's",
    ),
    _runtime("ContainerStatus", lambda on: cri.ContainerStatusRequest(container_id=on.container)),
    _image("ListImages", lambda _: cri.ListImagesRequest()),
    _image("ImageStatus", lambda on: cri.ImageStatusRequest(image=cri.ImageSpec(image=on.image))),
    _image("ImageFsInfo", lambda _: cri.ImageFsInfoRequest()),
    _runtime("ContainerStats", lambda on: cri.ContainerStatsRequest(container_id=on.container)),
    _runtime("ListContainerStats", lambda _: cri.ListContainerStatsRequest()),
    _runtime("PodSandboxStats", lambda on: cri.PodSandboxStatsRequest(pod_sandbox_id=on.sandbox)),
    _runtime("ListPodSandboxStats", lambda _: cri.ListPodSandboxStatsRequest()),
    _runtime("ListMetricDescriptors", lambda _: cri.ListMetricDescriptorsRequest()),
    _runtime("ListPodSandboxMetrics", lambda _: cri.ListPodSandboxMetricsRequest()),
    _runtime("StreamPodSandboxes", lambda _: cri.StreamPodSandboxesRequest()),
    _runtime("StreamContainers", lambda _: cri.StreamContainersRequest()),
    _image("StreamImages", lambda _: cri.StreamImagesRequest()),
)
"""Every call of the CRI that only reads and ends by itself."""


@dataclass(frozen=True)
class Answer:
    """How a server answered one call.

    Args:
        path: the method's path in the version of the CRI that the server speaks; empty when it
            lacks the method.
        request: the encoded request.
        bytes: of the answer's messages together.
        problem: the status, where it was not OK.
    """

    path: str
    request: bytes
    bytes: int
    problem: str


def try_call(target: str, call: Call, on: Subjects) -> Answer:
    """Ask once through a real gRPC client, which reads what the load generator does not look at.

    Args:
        target: ``unix://`` and the socket's path.
        call: what is asked.
        on: what it is asked about.
    """
    request = call.request(on).SerializeToString()
    options = [
        ("grpc.max_receive_message_length", _LARGEST_ANSWER),
        ("grpc.default_authority", "localhost"),
    ]
    problem = ""
    with grpc.insecure_channel(target, options=options) as channel:
        for version in _VERSIONS:
            path = call.path_in(version)
            try:
                # As a stream: the client does not mind whether one message comes or many.
                answers = list(
                    channel.unary_stream(path)(request, timeout=_ANSWERS_IN_S, wait_for_ready=True)
                )
            except grpc.RpcError as error:
                problem = error.code().name
                if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                    return Answer("", request, 0, f"{problem}: {error.details()}")
            else:
                return Answer(path, request, sum(len(answer) for answer in answers), "")
    return Answer("", request, 0, problem)
