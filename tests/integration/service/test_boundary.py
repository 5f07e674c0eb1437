"""The RPC boundary, spoken to in raw bytes: what is not a request, what is not there, what is not
done, in both versions of the API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from asupervisor.dockershim.rpc.methods import Method, all_methods
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.pods import container_config, pod_config
from tests.harness.service import service_config

Raw = Callable[[str, bytes], Awaitable[bytes]]
GARBAGE = b"\xff\xff\xff\xff no message at all"


@asynccontextmanager
async def raw_calls(engine: Engine, directory: Path) -> AsyncIterator[tuple[Raw, Supervisor]]:
    """A supervisor, and a function that calls ``/package.Service/Method`` with bytes and returns
    bytes (of a stream: all of them).
    """
    streams = {f"{method.service}/{method.name}" for method in all_methods() if method.streams}
    async with Supervisor(service_config(engine, directory)) as supervisor:
        channel = grpc.aio.insecure_channel(
            supervisor.endpoint,
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        )
        async with channel:

            async def call(path: str, request: bytes) -> bytes:
                if path.partition(".")[2].partition(".")[2] in streams:
                    return b"".join(
                        [
                            answer
                            async for answer in channel.unary_stream(f"/{path}")(
                                request, timeout=20
                            )
                        ]
                    )
                answer: bytes = await channel.unary_unary(f"/{path}")(request, timeout=20)
                return answer

            yield call, supervisor
            assert supervisor.ready


async def refused(call: Raw, path: str, request: bytes) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(path, request)
    return caught.value.code(), caught.value.details() or ""


async def test_bytes_that_are_no_request_are_an_invalid_argument_in_every_method(
    engine: Engine, directory: Path
) -> None:
    async with raw_calls(engine, directory) as (call, _):
        for method in all_methods():
            if method.name == "Version":
                continue
            for version in ("v1", "v1alpha2"):
                code, details = await refused(
                    call, f"runtime.{version}.{method.service}/{method.name}", GARBAGE
                )
                if method.unary is None and method.streaming is None:
                    assert (code, method.name in details) == (
                        grpc.StatusCode.UNIMPLEMENTED,
                        True,
                    )
                else:
                    assert code == grpc.StatusCode.INVALID_ARGUMENT, (
                        f"{method.name}: {code} {details}"
                    )
                    assert method.name in details and method.request_type.DESCRIPTOR.name in details


async def test_what_the_cri_does_not_have_is_unimplemented(engine: Engine, directory: Path) -> None:
    async with raw_calls(engine, directory) as (call, _):
        for path in (
            "runtime.v1.RuntimeService/Reboot",
            "runtime.v2.RuntimeService/Version",
            "other.Service/Version",
        ):
            code, _details = await refused(call, path, b"")
            assert code == grpc.StatusCode.UNIMPLEMENTED


async def test_an_id_that_nothing_has_is_not_found_where_that_matters(
    engine: Engine, directory: Path
) -> None:
    unknown = "f" * 64
    not_found: dict[str, Any] = {
        "PodSandboxStatus": cri.PodSandboxStatusRequest(pod_sandbox_id=unknown),
        "ContainerStatus": cri.ContainerStatusRequest(container_id=unknown),
        "StartContainer": cri.StartContainerRequest(container_id=unknown),
        "ExecSync": cri.ExecSyncRequest(container_id=unknown, cmd=["true"]),
        "ContainerStats": cri.ContainerStatsRequest(container_id=unknown),
        "PodSandboxStats": cri.PodSandboxStatsRequest(pod_sandbox_id=unknown),
        "CreateContainer": cri.CreateContainerRequest(
            pod_sandbox_id=unknown, config=container_config(), sandbox_config=pod_config("none")
        ),
    }
    fine: dict[str, Any] = {
        "StopPodSandbox": cri.StopPodSandboxRequest(pod_sandbox_id=unknown),
        "RemovePodSandbox": cri.RemovePodSandboxRequest(pod_sandbox_id=unknown),
        "StopContainer": cri.StopContainerRequest(container_id=unknown),
        "RemoveContainer": cri.RemoveContainerRequest(container_id=unknown),
    }

    async with raw_calls(engine, directory) as (call, _):
        for name, request in not_found.items():
            code, details = await refused(
                call, f"runtime.v1.RuntimeService/{name}", request.SerializeToString()
            )
            assert code == grpc.StatusCode.NOT_FOUND, name
            assert unknown in details
        for name, request in fine.items():
            assert (
                await call(f"runtime.v1.RuntimeService/{name}", request.SerializeToString()) == b""
            ), name


async def test_empty_and_ambiguous_ids_are_invalid(engine: Engine, directory: Path) -> None:
    async with raw_calls(engine, directory) as (call, _):
        for name in (
            "PodSandboxStatus",
            "ContainerStatus",
            "StartContainer",
            "StopPodSandbox",
            "RemovePodSandbox",
            "RemoveContainer",
        ):
            code, details = await refused(call, f"runtime.v1.RuntimeService/{name}", b"")
            assert (code, "empty" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True), name


async def test_both_versions_are_served_by_the_same_verbs(engine: Engine, directory: Path) -> None:
    async with raw_calls(engine, directory) as (call, supervisor):
        sandbox_id = await supervisor.runtime.run_pod_sandbox(pod_config("versions"))
        for version in ("v1", "v1alpha2"):
            answer = cri.VersionResponse.FromString(
                await call(f"runtime.{version}.RuntimeService/Version", b"")
            )
            assert answer.runtime_api_version == version
        same: dict[str, tuple[str, Any]] = {
            "Status": ("RuntimeService", cri.StatusRequest()),
            "RuntimeConfig": ("RuntimeService", cri.RuntimeConfigRequest()),
            "ListPodSandbox": ("RuntimeService", cri.ListPodSandboxRequest()),
            "ListContainers": ("RuntimeService", cri.ListContainersRequest()),
            "ListImages": ("ImageService", cri.ListImagesRequest()),
        }
        for name, (service, request) in same.items():
            old, new = [
                await call(f"runtime.{version}.{service}/{name}", request.SerializeToString())
                for version in ("v1alpha2", "v1")
            ]
            assert old == new, name
        stop = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id).SerializeToString()
        remove = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id).SerializeToString()
        assert await call("runtime.v1alpha2.RuntimeService/StopPodSandbox", stop) == b""
        assert await call("runtime.v1alpha2.RuntimeService/RemovePodSandbox", remove) == b""


async def test_a_request_beyond_16_mib_is_refused_and_one_below_is_read(
    engine: Engine, directory: Path
) -> None:
    def request(size: int) -> bytes:
        message = cri.ListContainersRequest(filter=cri.ContainerFilter(id="x" * size))
        return message.SerializeToString()

    limit = 16 << 20
    overhead = len(request(limit)) - limit

    async with raw_calls(engine, directory) as (call, _):
        assert (
            await call("runtime.v1.RuntimeService/ListContainers", request(limit - overhead)) == b""
        )
        code, _details = await refused(
            call, "runtime.v1.RuntimeService/ListContainers", request(limit - overhead + 1)
        )
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_every_rpc_of_the_cri_has_a_handler_in_both_versions() -> None:
    names = {(method.service, method.name) for method in all_methods()}
    for service in ("RuntimeService", "ImageService"):
        for rpc in cri.DESCRIPTOR.services_by_name[service].methods:
            assert (service, rpc.name) in names
    methods: list[Method] = all_methods()
    assert len(methods) == len(names)


async def test_a_defect_of_a_verb_is_internal_and_hurts_nobody_else(
    engine: Engine,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with raw_calls(engine, directory) as (call, supervisor):
        assert supervisor.shim is not None

        def broken(id_or_prefix: str) -> Any:
            raise ZeroDivisionError("secret of the defect")

        monkeypatch.setattr(supervisor.shim.store, "sandbox", broken)
        request = cri.PodSandboxStatusRequest(pod_sandbox_id="a").SerializeToString()
        code, details = await refused(call, "runtime.v1.RuntimeService/PodSandboxStatus", request)
        assert code == grpc.StatusCode.INTERNAL
        assert (
            "PodSandboxStatus" in details
            and "ZeroDivisionError" in details
            and "secret of the defect" not in details
        )
        assert any(record.exc_info for record in caplog.records), "the log has the traceback"
        assert await call("runtime.v1.RuntimeService/ListContainers", b"") == b""
