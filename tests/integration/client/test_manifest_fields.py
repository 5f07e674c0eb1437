"""Fields of a manifest whose effect only a running container shows."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import grpc
import pytest

from asupervisor.client import Client, Pod
from asupervisor.client.manifest import read_manifest
from asupervisor.errors import FailedPrecondition
from asupervisor.translate.mounts import IMAGE_MOUNTS_SINCE
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.manifests import RUNS, SHELL, container, pod


async def says(running: Pod, script: str) -> str:
    done = await running.exec([*SHELL, script])
    return (done.stdout + done.stderr).decode().strip()


async def test_the_environment_and_paths_by_it(client: Client, tmp_path: Path) -> None:
    values = [("ConfigMap", "settings", "data"), ("Secret", "keys", "stringData")]
    given = [
        (
            json.dumps(
                {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: {"a": name}}
            ),
            f"{name}.json",
        )
        for kind, name, field in values
    ]

    def taken(name: str, source: str, /, **reference: str) -> dict[str, Any]:
        return {"name": name, "valueFrom": {source: reference}}

    main = {
        "command": [*SHELL, 'mkdir -p "/v/$(POD)-made"; exec env'],
        "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
        "envFrom": [
            {"prefix": "ALL_", "configMapRef": {"name": "settings"}},
            {"secretRef": {"name": "absent", "optional": True}},
        ],
        "env": [
            taken("POD", "fieldRef", fieldPath="metadata.name"),
            taken("APP", "fieldRef", fieldPath="metadata.labels['app']"),
            taken("MEMORY", "resourceFieldRef", resource="limits.memory", divisor="1Mi"),
            taken("KEY", "secretKeyRef", name="keys", key="a"),
            {"name": "BOTH", "value": "$(POD)/$(KEY)/$$(KEY)/$(NONE)"},
        ],
        "volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": "of-$(POD)"}],
    }
    manifest = pod(
        "environment",
        main,
        restartPolicy="Never",
        volumes=[{"name": "v", "hostPath": {"path": str(tmp_path)}}],
    )
    (plan,) = read_manifest(manifest, "pod", given).pods
    async with client.pod(manifest=plan) as running:
        (ended,) = await running.wait_over()
        assert ended.exit_code == 0
        found = {line.text async for line in running.logs()}
    assert found >= {
        "ALL_a=settings",
        "POD=environment",
        "APP=environment",
        "MEMORY=64",
        "KEY=keys",
        "BOTH=environment/keys/$(KEY)/$(NONE)",
    }
    assert (tmp_path / "of-environment" / "environment-made").is_dir()


@contextmanager
def web_server(asked: list[str]) -> Iterator[int]:
    """Notes the path of each request; gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(10)


@asynccontextmanager
async def health_server(answers: list[bytes]) -> AsyncIterator[int]:
    """Gives these answers one after the other, and the last one from then on; gives its port."""

    async def check(request: bytes, context: Any) -> bytes:
        assert request == b"\x0a\x03web", "a HealthCheckRequest for the service web"
        return answers.pop(0) if len(answers) > 1 else answers[0]

    methods = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


async def test_probes_and_hooks_over_the_network(client: Client) -> None:
    every = {"periodSeconds": 1, "failureThreshold": 1000, "timeoutSeconds": 120}
    asked: list[str] = []
    not_serving, serving = b"\x08\x02", b"\x08\x01"
    answers = [not_serving, serving]
    with web_server(asked) as web:
        async with health_server(answers) as health:
            main = {
                **RUNS,
                "ports": [{"name": "web", "containerPort": web}],
                "startupProbe": {"tcpSocket": {"port": "web"}, **every},
                "readinessProbe": {"grpc": {"port": health, "service": "web"}, **every},
                "lifecycle": {
                    "postStart": {"httpGet": {"port": "web", "path": "/started"}},
                    "preStop": {"httpGet": {"port": "web", "path": "/stopping"}},
                },
            }
            manifest = pod("over-network", main, hostNetwork=True)
            async with client.pod(manifest=manifest) as running:
                assert answers == [serving], "it was not ready before it served"
                assert asked == ["/started"]
                await running.stop()
    assert asked == ["/started", "/stopping"]


async def test_sidecars_stop_last_and_in_reverse(client: Client, tmp_path: Path) -> None:
    def writes(name: str) -> dict[str, Any]:
        script = (
            f"trap 'echo {name} >>/v/order; exit 0' TERM; touch /up; while :; do sleep 0.1; done"
        )
        is_up = {"exec": {"command": ["test", "-e", "/up"]}, "timeoutSeconds": 120}
        return container(
            name,
            script,
            startupProbe={**is_up, "periodSeconds": 1, "failureThreshold": 1000},
            volumeMounts=[{"name": "v", "mountPath": "/v"}],
        )

    manifest = pod(
        "reverse",
        containers=[writes("main")],
        initContainers=[{**writes(name), "restartPolicy": "Always"} for name in ("one", "two")],
        volumes=[{"name": "v", "hostPath": {"path": str(tmp_path)}}],
        terminationGracePeriodSeconds=120,
    )
    async with client.pod(manifest=manifest) as running:
        await running.stop()
        assert (tmp_path / "order").read_text().split() == ["main", "two", "one"]


async def test_what_a_container_may_and_sees(client: Client, engine: Engine) -> None:
    main = {
        **RUNS,
        "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
        "securityContext": {
            "runAsUser": 1000,
            "runAsGroup": 1001,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    manifest = pod(
        "allowed",
        main,
        hostname="called",
        shareProcessNamespace=True,
        dnsPolicy="None",
        dnsConfig={"nameservers": ["192.0.2.53"], "searches": ["svc.test"]},
        securityContext={
            "supplementalGroups": [7],
            "runAsNonRoot": True,
            "sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "2048 65000"}],
        },
    )
    async with client.pod(manifest=manifest) as running:
        status = await says(running, "cat /proc/self/status")
        found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
        assert int(found["CapBnd"], 16) == 1 << 10, "CAP_NET_BIND_SERVICE alone"
        assert await says(running, "id -u; id -G") == "1000\n1001 7"
        assert "Read-only" in await says(running, "touch /tmp/x")
        assert await says(running, "hostname") == "called"
        assert "trap" not in await says(running, "cat /proc/1/cmdline"), "the sandbox's process"
        resolver = await says(running, "cat /etc/resolv.conf")
        assert "nameserver 192.0.2.53" in resolver and "search svc.test" in resolver
        assert (await says(running, "cat /proc/sys/net/ipv4/ip_local_port_range")).split() == [
            *("2048", "65000"),
        ]
        limits = engine.inspect(running.main.id)["HostConfig"]
        assert (limits["CpuShares"], limits["CpuQuota"], limits["Memory"]) == (
            *(256, 50_000, 64 << 20),
        )


async def test_an_image_is_a_volume_where_the_engine_has_them(
    client: Client, engine: Engine
) -> None:
    main = {
        **RUNS,
        "volumeMounts": [{"name": "files", "mountPath": "/files", "subPath": "bin"}],
    }
    files = {"name": "files", "image": {"reference": BUSYBOX_IMAGE}}
    manifest = pod("image-volume", main, volumes=[files])
    # What an older engine refuses is refused in these words.
    refusal = pytest.raises(FailedPrecondition, match=r"image volumes need Docker Engine API 1\.48")
    version = engine.request("GET", "/version")[1]["ApiVersion"]
    is_new = tuple(map(int, version.split("."))) >= IMAGE_MOUNTS_SINCE
    with nullcontext() if is_new else refusal:
        async with client.pod(manifest=manifest) as running:
            assert "Read-only" in await says(running, "test -e /files/busybox && touch /files/new")
