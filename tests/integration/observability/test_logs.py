"""The service's own log: one line for each event that an operator acts on, and no secret at any
level.
"""

from __future__ import annotations

import base64
import http.client
import json
import uuid

import anyio
import pytest

from asupervisor.errors import ServiceError
from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.service import Service
from tests.integration.observability.conftest import metrics_address, pod_config


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_secret_in_any_log_and_an_event_tells_what_it_is_about(
    engine: Engine, log_format: str
) -> None:
    planted = {
        name: f"{name}-{uuid.uuid4().hex}"
        for name in (
            "env",
            "password",
            "identity",
            "registry",
            "auth",
            "argument",
            "exec",
            "header",
        )
    }
    running = Service(
        engine,
        flags=("--log-level", "debug", "--log-format", log_format, "--metrics-bind-addr", ":0"),
    )
    running.start()
    config = pod_config("secretive", annotations={"note": "kept"})
    tokens: list[str] = []
    ids: dict[str, str] = {}

    try:
        async with (
            RemoteRuntimeService.connect(running.endpoint) as runtime,
            RemoteImageService.connect(running.endpoint) as images,
        ):
            sandbox_id = ids["sandbox"] = await runtime.run_pod_sandbox(config)
            container = cri.ContainerConfig(
                metadata=cri.ContainerMetadata(name="main"),
                image=cri.ImageSpec(image=BUSYBOX_IMAGE),
                command=["sh", "-c", f"sleep 1000; : {planted['argument']}"],
                envs=[cri.KeyValue(key="SECRET", value=planted["env"].encode())],
            )
            container_id = ids["container"] = await runtime.create_container(
                sandbox_id, container, config
            )
            broken = cri.ContainerConfig()
            broken.CopyFrom(container)
            broken.metadata.name, broken.command[:] = (
                "broken",
                ["/no/such/program", planted["argument"]],
            )
            broken_id = await runtime.create_container(sandbox_id, broken, config)
            await runtime.start_container(container_id)
            with pytest.raises(ServiceError):
                await runtime.start_container(broken_id)
            with pytest.raises(ServiceError):
                await runtime.create_container(sandbox_id, container, config)
            await runtime.exec_sync(
                container_id, ["sh", "-c", f": {planted['exec']}"], exec_timeout_s=10
            )
            assert (
                await runtime.exec_sync(
                    container_id, ["/no/such", planted["exec"]], exec_timeout_s=10
                )
            ).exit_code != 0
            await runtime.container_status(container_id, verbose=True)
            await runtime.status(verbose=True)
            for auth in (
                cri.AuthConfig(username="user", password=planted["password"]),
                cri.AuthConfig(identity_token=planted["identity"]),
                cri.AuthConfig(registry_token=planted["registry"]),
                cri.AuthConfig(auth=base64.b64encode(f"user:{planted['auth']}".encode()).decode()),
            ):
                with pytest.raises(ServiceError):
                    await images.pull_image(cri.ImageSpec(image="127.0.0.1:1/none:1"), auth)
            url = await runtime.exec(container_id, ["true", planted["exec"]], stdout=True)
            tokens.append(url.rpartition("/")[2])
            await anyio.to_thread.run_sync(visit, url, planted["header"])
            await runtime.stop_container(container_id, 0)
            await runtime.remove_container(container_id)
            await runtime.stop_pod_sandbox(sandbox_id)
            await runtime.remove_pod_sandbox(sandbox_id)
        host, port = metrics_address(running)
        connection = http.client.HTTPConnection(host, port, timeout=10)
        pages = ""
        for path in ("/metrics", "/debug/tasks", "/readyz"):
            connection.request("GET", path)
            pages += connection.getresponse().read().decode()
        connection.close()
        assert running.stop() == 0
    finally:
        if running.process is not None:
            running.kill()
        engine.remove_all()
    output = running.output
    secrets = [
        *planted.values(),
        *tokens,
        base64.b64encode(f"user:{planted['auth']}".encode()).decode(),
    ]
    assert len(tokens[0]) >= 8
    for secret in secrets:
        assert secret not in output and secret not in pages, secret
    lines = [line for line in output.splitlines() if "stopped container main" in line]
    assert len(lines) == 1, "one line for one event"
    if log_format == "json":
        entries = [json.loads(line) for line in output.splitlines()]
        entry = json.loads(lines[0])
        assert (
            entry["rpc"] == "StopContainer"
            and entry["pod"] == "tests/secretive"
            and entry["container"] == ids["container"]
        )
        assert entry["sandbox"] == ids["sandbox"] and entry["duration_s"] > 0
        failure = next(entry for entry in entries if "StartContainer failed" in entry["message"])
        assert (
            failure["pod"] == "tests/secretive"
            and failure["code"]
            and failure["rpc"] == "StartContainer"
        )
    else:
        assert (
            f" stopped container main ({ids['container'][:12]}) rpc=StopContainer"
            f" pod=tests/secretive sandbox={ids['sandbox'][:12]} duration_s=" in lines[0]
        )


def visit(url: str, header: str) -> None:
    """Ask for a stream in a way that must be refused."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", parts.path, headers={"Authorization": f"Bearer {header}"})
    assert connection.getresponse().status >= 400
    connection.close()
