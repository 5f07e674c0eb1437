"""The client against a real gRPC server on a unix socket."""

from __future__ import annotations

import inspect
import re
import socket
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from asupervisor import errors
from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from asupervisor.remote.deadlines import DEADLINES, Deadline
from tests.harness.pods import until
from tests.integration.remote.calls import (
    TIMEOUT_S,
    V1,
    V1ALPHA2,
    answer,
    fail,
    runtime_of,
    until_available,
)
from tests.integration.remote.server import METHODS, CriServer

ROUNDED_UP_S = 2.0
"""gRPC sends a deadline in few digits, rounded up."""

ARGUMENTS: dict[str, Any] = {
    "pod_sandbox_id": "sandbox",
    "container_id": "container",
    "cmd": ["true"],
    "config": cri.PodSandboxConfig(hostname="pod"),
    "sandbox_config": cri.PodSandboxConfig(hostname="pod"),
    "image": "busybox",
    "location": "/tmp/checkpoint",
    "output_path": "/tmp/checkpoint",
    "checkpoint_path": "/tmp/checkpoint",
    "runtime_config": cri.RuntimeConfig(network_config=cri.NetworkConfig(pod_cidr="10.1.0.0/16")),
}


async def invoke(method: str, runtime: RemoteRuntimeService, images: RemoteImageService) -> Any:
    """Call the client's method for an RPC with the arguments that it demands."""
    service, rpc = method.split("/")
    client = runtime if service == "RuntimeService" else images
    function = getattr(client, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", rpc).lower())
    required = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty
    ]
    arguments = {name: ARGUMENTS[name] for name in required}
    if method == "RuntimeService/CreateContainer":
        arguments["config"] = cri.ContainerConfig(log_path="0.log")
    if METHODS[method].server_streaming:
        return [item async for item in function(**arguments)]
    return await function(**arguments)


@pytest.mark.parametrize("version", [V1, V1ALPHA2])
async def test_every_rpc_reaches_its_server_within_its_deadline(
    version: str, endpoint: str
) -> None:
    server = CriServer(version)
    async with (
        runtime_of(server, endpoint) as runtime,
        RemoteImageService.connect(endpoint, TIMEOUT_S, sharing=runtime) as images,
    ):
        assert (runtime.api_version, images.api_version) == (version, version)
        for method in METHODS:
            await invoke(method, runtime, images)
            assert server.calls[-1] == (version, method)
            remaining = server.remaining_s[method]
            if DEADLINES[method] in (Deadline.NONE, Deadline.REQUEST_AFTER_OWN_OR_NONE):
                assert remaining is None or remaining > 10**6, f"{method} has no deadline"
            else:
                assert (
                    remaining is not None and TIMEOUT_S / 2 < remaining <= TIMEOUT_S + ROUNDED_UP_S
                ), method
            for name in ("pod_sandbox_id", "container_id"):
                if hasattr(server.requests[method], name):
                    assert getattr(server.requests[method], name) == ARGUMENTS[name]


async def test_own_times_lengthen_the_deadline(endpoint: str) -> None:
    server = CriServer(V1)
    async with runtime_of(server, endpoint) as runtime:
        await runtime.stop_container("c", grace_s=100)
        await runtime.exec_sync("c", ["true"], exec_timeout_s=100)
        await runtime.checkpoint_container("c", "/x", checkpoint_timeout_s=100)
    for method in ("StopContainer", "ExecSync", "CheckpointContainer"):
        remaining = server.remaining_s[f"RuntimeService/{method}"]
        assert remaining is not None and 100 < remaining <= 100 + TIMEOUT_S + ROUNDED_UP_S
        assert server.requests[f"RuntimeService/{method}"].timeout == 100


async def test_values(endpoint: str) -> None:
    """The useful value comes back, in the form that the method promises."""

    server = CriServer(V1)
    server.behaviours |= {
        "RuntimeService/RunPodSandbox": answer(cri.RunPodSandboxResponse(pod_sandbox_id="s1")),
        "RuntimeService/CreateContainer": answer(cri.CreateContainerResponse(container_id="c1")),
        "RuntimeService/ListContainers": answer(
            cri.ListContainersResponse(containers=[cri.Container(id="c1")])
        ),
        "RuntimeService/ExecSync": answer(cri.ExecSyncResponse(stdout=b"out", exit_code=3)),
        "RuntimeService/Exec": answer(cri.ExecResponse(url="http://x/exec/t")),
        "RuntimeService/ContainerStats": answer(
            cri.ContainerStatsResponse(stats=cri.ContainerStats(cpu=cri.CpuUsage(timestamp=7)))
        ),
        "ImageService/PullImage": answer(cri.PullImageResponse(image_ref="sha256:1")),
    }
    async with (
        runtime_of(server, endpoint) as runtime,
        RemoteImageService.connect(endpoint) as images,
    ):
        config = cri.PodSandboxConfig(hostname="h")
        assert await runtime.run_pod_sandbox(config, runtime_handler="kata") == "s1"
        assert server.requests["RuntimeService/RunPodSandbox"] == cri.RunPodSandboxRequest(
            config=config, runtime_handler="kata"
        )
        assert await runtime.create_container("s1", cri.ContainerConfig(), config) == "c1"
        assert await runtime.list_containers(cri.ContainerFilter(id="c1")) == [
            cri.Container(id="c1")
        ]
        assert server.requests["RuntimeService/ListContainers"].filter.id == "c1"
        assert (await runtime.exec_sync("c1", ["sh", "-c", "exit 3"])).exit_code == 3
        assert await runtime.exec("c1", ["sh"]) == "http://x/exec/t"
        assert (await runtime.container_stats("c1")).cpu.timestamp == 7
        auth = cri.AuthConfig(username="u")
        assert await images.pull_image("busybox:1", auth=auth) == "sha256:1"
        assert server.requests["ImageService/PullImage"] == cri.PullImageRequest(
            image=cri.ImageSpec(image="busybox:1"), auth=auth
        )


async def test_list_by_stream(endpoint: str) -> None:
    pieces = [
        cri.StreamContainersResponse(containers=[cri.Container(id=name)]) for name in ("a", "b")
    ]

    server = CriServer(V1)
    server.behaviours["RuntimeService/StreamContainers"] = answer(*pieces)
    async with runtime_of(server, endpoint) as runtime:
        assert [container.id for container in await runtime.list_containers(stream=True)] == [
            "a",
            "b",
        ]
        assert ("v1", "RuntimeService/ListContainers") not in server.calls


async def test_list_falls_back_to_the_unary_call_and_remembers(endpoint: str) -> None:
    server = CriServer(V1, lacking=tuple(method for method in METHODS if "/Stream" in method))
    server.behaviours["RuntimeService/ListContainers"] = answer(
        cri.ListContainersResponse(containers=[cri.Container(id="a")])
    )
    async with (
        runtime_of(server, endpoint) as runtime,
        RemoteImageService.connect(endpoint, sharing=runtime) as images,
    ):
        for _ in range(2):
            assert [container.id for container in await runtime.list_containers(stream=True)] == [
                "a"
            ]
            assert await runtime.list_pod_sandbox(stream=True) == []
            assert await runtime.list_container_stats(stream=True) == []
            assert await runtime.list_pod_sandbox_stats(stream=True) == []
            assert await runtime.list_pod_sandbox_metrics(stream=True) == []
            assert await images.list_images(stream=True) == []
    assert sorted(method for _, method in server.calls if "/Stream" in method) == sorted(
        server.lacking
    )


async def test_unimplemented_method_is_an_error(endpoint: str) -> None:
    async with runtime_of(
        CriServer(V1, lacking=("RuntimeService/CheckpointPod",)), endpoint
    ) as runtime:
        with pytest.raises(errors.Unimplemented, match="RuntimeService/CheckpointPod at unix://"):
            await runtime.checkpoint_pod("s", "/x")
        assert runtime.api_version == V1


async def test_v1_is_preferred(endpoint: str) -> None:
    server = CriServer(V1, V1ALPHA2)
    async with runtime_of(server, endpoint) as runtime:
        await runtime.status()
    assert {version for version, _ in server.calls} == {V1}


@pytest.mark.parametrize("version", [V1, V1ALPHA2])
async def test_image_service_that_listens_alone(version: str, endpoint: str) -> None:
    server = CriServer(version, lacking=("RuntimeService",))
    async with server.listening(endpoint), RemoteImageService.connect(endpoint) as images:
        assert images.api_version == version
        await images.list_images()


async def is_refused(runtime: RemoteRuntimeService) -> bool:
    with pytest.raises(errors.Unavailable) as failed:
        await runtime.status()
    return "no CRI server answers at unix://" in failed.value.message


@pytest.mark.parametrize(("before", "after"), [(V1ALPHA2, V1), (V1, V1ALPHA2)])
@pytest.mark.parametrize("noticed", [True, False])
async def test_version_is_decided_again_when_the_server_was_replaced(
    before: str, after: str, noticed: bool, endpoint: str
) -> None:
    """Whether or not a call failed in between."""

    old, new = CriServer(before), CriServer(after)
    async with AsyncExitStack() as client:
        async with old.listening(endpoint):
            runtime = await client.enter_async_context(
                RemoteRuntimeService.connect(endpoint, TIMEOUT_S)
            )
            await runtime.status()
            assert old.calls[-1] == (before, "RuntimeService/Status")
        if noticed:
            # The first call may still find the connection as it breaks.
            await until(partial(is_refused, runtime), "nobody listens any more")
            assert runtime.api_version is None
        async with new.listening(endpoint):
            await until_available(runtime)
            assert runtime.api_version == after
            assert new.calls[-1] == (after, "RuntimeService/Status")


async def test_version_is_decided_again_when_a_method_is_unknown(endpoint: str) -> None:
    """A server that changes what it speaks without losing the connection."""

    server = CriServer(V1ALPHA2)
    async with runtime_of(server, endpoint) as runtime:
        server.versions = (V1,)
        assert await runtime.list_containers() == []
        assert runtime.api_version == V1
        server.versions = (V1ALPHA2,)
        server.behaviours["RuntimeService/GetContainerEvents"] = answer(
            cri.ContainerEventResponse(container_id="c")
        )
        assert [event.container_id async for event in runtime.get_container_events()] == ["c"]
        assert runtime.api_version == V1ALPHA2


async def test_a_server_whose_engine_is_away_is_still_a_server(endpoint: str) -> None:
    server = CriServer(V1)
    server.behaviours["RuntimeService/Version"] = fail(
        grpc.StatusCode.UNAVAILABLE, "the engine is not running"
    )
    async with runtime_of(server, endpoint) as runtime:
        assert runtime.api_version == V1
        await runtime.status()
        with pytest.raises(
            errors.Unavailable,
            match=r"RuntimeService/Version at unix://.*: the engine is not running$",
        ):
            await runtime.version()


async def test_sharing_a_channel(endpoint: str, tmp_path: Path) -> None:
    server, other = CriServer(V1), CriServer(V1ALPHA2)
    other_endpoint = f"unix://{tmp_path}/images.sock"
    async with runtime_of(server, endpoint) as runtime, other.listening(other_endpoint):
        calls = len(server.calls)
        async with RemoteImageService.connect(endpoint, sharing=runtime) as images:
            assert len(server.calls) == calls, "nothing to decide again"
            await images.list_images()
        await runtime.status()
        async with RemoteImageService.connect(other_endpoint, sharing=runtime) as images:
            await images.list_images()
            assert (images.endpoint, images.api_version) == (other_endpoint, V1ALPHA2)
        assert other.calls[-1] == (V1ALPHA2, "ImageService/ListImages")


async def test_message_size(endpoint: str) -> None:
    """16 MiB both ways, and the error for more is not a lost connection."""
    mebibyte = 1024 * 1024

    def status(size: int) -> Any:
        return answer(cri.ContainerStatusResponse(info={"log": "x" * size}))

    server = CriServer(V1)
    async with runtime_of(server, endpoint) as runtime:
        server.behaviours["RuntimeService/ContainerStatus"] = status(15 * mebibyte)
        assert (
            len((await runtime.container_status("c" * 15 * mebibyte)).info["log"]) == 15 * mebibyte
        )
        with pytest.raises(errors.ResourceExhausted):
            await runtime.container_status("c" * 17 * mebibyte)
        await runtime.status()


async def test_over_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = CriServer(V1)
    async with (
        server.listening(f"127.0.0.1:{port}"),
        RemoteRuntimeService.connect(f"tcp://127.0.0.1:{port}") as runtime,
    ):
        assert await runtime.list_containers() == []
