"""Pods from manifests, as kubelet would run them: order, volumes, probes, hooks, restarts."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from asupervisor.client import Client, State
from asupervisor.client.manifest import read_manifest
from asupervisor.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServiceError,
    Unauthenticated,
)
from tests.harness.engine import BUSYBOX_IMAGE
from tests.harness.manifests import RUNS, SHELL, container, leave_while_it_starts, pod
from tests.harness.pods import SLEEPER, until
from tests.harness.registry import PASSWORD, USERNAME, BuiltImage, Registry
from tests.harness.service import Service


async def lines(client: Client, wanted: str) -> list[str]:
    return [line.text async for line in (await client.find_container(wanted)).logs()]


async def test_init_containers_come_first_and_sidecars_stay(client: Client, tmp_path: Path) -> None:
    note = {"volumeMounts": [{"name": "notes", "mountPath": "/notes"}]}
    write = "echo {0} >>/notes/order"
    manifest = pod(
        "ordered",
        {"script": f"{write.format('main')}; exec cat /notes/order", **note},
        restartPolicy="Never",
        volumes=[{"name": "notes", "hostPath": {"path": str(tmp_path), "type": "Directory"}}],
        initContainers=[
            container("first", f"sleep 0.3; {write.format('first')}", **note),
            container(
                "side",
                f"trap '{write.format('stopped')}; exit 0' TERM; sleep 0.3; {write.format('side')};"
                " touch /up; while :; do sleep 0.1; done",
                restartPolicy="Always",
                startupProbe={
                    "exec": {"command": ["test", "-e", "/up"]},
                    "periodSeconds": 1,
                    "timeoutSeconds": 120,
                    "failureThreshold": 1000,
                },
                **note,
            ),
            container("last", f"test -e /notes/order && {write.format('last')}", **note),
        ],
    )
    async with client.pod(manifest=manifest) as running:
        (ended,) = await running.wait_over()
        assert (ended.name, ended.exit_code) == ("main", 0)
        assert await lines(client, "ordered/main") == ["first", "side", "last", "main"]
        assert running.main.name == "main"
        assert (await running.containers["side"].status()).state is State.RUNNING
        await running.stop()
        assert (tmp_path / "order").read_text().split() == [
            *("first", "side", "last", "main", "stopped"),
        ]


async def test_an_init_container_that_fails_takes_the_pod_with_it(client: Client) -> None:
    manifest = pod(
        "unready",
        RUNS,
        restartPolicy="Never",
        initContainers=[container("first", "exit 3")],
    )
    with pytest.raises(FailedPrecondition, match='init container "first" ended with code 3'):
        async with client.pod(manifest=manifest):
            raise AssertionError("it cannot start")


async def test_volumes_of_every_kind(client: Client, tmp_path: Path) -> None:
    documents = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{colour: red, shape: round}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys}}
stringData: {{token: secret}}
---
apiVersion: v1
kind: Pod
metadata: {{name: volumes, labels: {{app: v}}, uid: uid-volumes}}
spec:
  restartPolicy: Never
  securityContext: {{fsGroup: 4321, runAsUser: 1000, runAsGroup: 1000, runAsNonRoot: true}}
  volumes:
    - {{name: empty, emptyDir: {{}}}}
    - {{name: memory, emptyDir: {{medium: Memory, sizeLimit: 1Mi}}}}
    - {{name: made, hostPath: {{path: {tmp_path}/made, type: DirectoryOrCreate}}}}
    - {{name: file, hostPath: {{path: {tmp_path}/file, type: FileOrCreate}}}}
    - {{name: settings, configMap: {{name: settings, items: [{{key: colour, path: a/colour}}]}}}}
    - {{name: keys, secret: {{secretName: keys, defaultMode: 0400}}}}
    - name: all
      projected:
        sources:
          - {{configMap: {{name: settings}}}}
          - {{downwardAPI: {{items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}]}}}}
  containers:
    - name: main
      image: {BUSYBOX_IMAGE}
      command: {list(SLEEPER)}
      volumeMounts:
        - {{name: empty, mountPath: /empty}}
        - {{name: empty, mountPath: /below, subPath: some/where}}
        - {{name: memory, mountPath: /memory}}
        - {{name: made, mountPath: /made, readOnly: true}}
        - {{name: file, mountPath: /file}}
        - {{name: settings, mountPath: /settings}}
        - {{name: keys, mountPath: /keys}}
        - {{name: all, mountPath: /all}}
        - {{name: all, mountPath: /shape, subPath: shape}}
  hostAliases: [{{ip: 192.0.2.7, hostnames: [elsewhere.test]}}]
"""
    async with client.pod(manifest=documents) as running:

        async def says(script: str) -> str:
            done = await running.exec([*SHELL, script])
            return (done.stdout + done.stderr).decode().strip()

        assert await says("echo kept >/empty/x && cat /empty/x") == "kept"
        assert await says("ls -d /empty/some/where && stat -c %g /empty/x") == (
            "/empty/some/where\n4321"
        )
        assert "tmpfs" in await says("grep ' /memory ' /proc/mounts")
        await says("head -c 2000000 /dev/zero >/memory/x")
        assert await says("stat -c %s /memory/x") == str(1 << 20)
        assert "Read-only" in await says("touch /made/x")
        assert await says("test -f /file && cat /settings/a/colour /keys/token") == "redsecret"
        assert "Read-only" in await says("touch /settings/a/new")
        assert "tmpfs" in await says("grep ' /keys ' /proc/mounts")
        assert await says("stat -c %a,%g /keys/token") == "440,4321"
        assert await says("cat /all/colour /all/labels /shape") == 'redapp="v"round'
        assert "192.0.2.7\telsewhere.test" in await says("cat /etc/hosts")
        assert await says("id -G") == "1000 4321"
    assert (tmp_path / "made").is_dir() and (tmp_path / "file").is_file()


async def test_a_path_in_a_volume_does_not_lead_out_of_it(client: Client) -> None:
    volume = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    manifest = pod(
        "leads-out",
        {**RUNS, "volumeMounts": [{"name": "shared", "mountPath": "/in", "subPath": "out/etc"}]},
        restartPolicy="Never",
        volumes=[{"name": "shared", "emptyDir": {}}],
        initContainers=[container("first", "ln -s / /shared/out", **volume)],
    )
    with pytest.raises(FailedPrecondition, match=r"subPath .* a symbolic link"):
        async with client.pod(manifest=manifest):
            raise AssertionError("it cannot start")


@pytest.mark.parametrize("kind", ["Directory", "File", "Socket", "CharDevice", "BlockDevice"])
async def test_a_path_of_the_node_is_what_its_type_says(
    client: Client, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" if kind != "File" else tmp_path
    volume = {"name": "v", "hostPath": {"path": str(path), "type": kind}}
    with pytest.raises(FailedPrecondition, match="is not a"):
        async with client.pod(manifest=pod("typed", RUNS, volumes=[volume])):
            raise AssertionError("it cannot start")


async def test_a_container_that_must_not_be_root_is_not(client: Client) -> None:
    spec = {"securityContext": {"runAsNonRoot": True}}
    with pytest.raises(FailedPrecondition, match="must not run as root"):
        async with client.pod(manifest=pod("no-root", RUNS, **spec)):
            raise AssertionError("its image has the user root")


async def test_what_has_ended_is_started_again(
    client: Client, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, "asupervisor.client.pods")
    volume = {"name": "v", "hostPath": {"path": str(tmp_path)}}
    script = "test -e /v/once && exit 0; touch /v/once; exit 7"
    mounts = [{"name": "v", "mountPath": "/v"}]
    manifest = pod(
        "again",
        {"script": script, "volumeMounts": mounts},
        restartPolicy="OnFailure",
        volumes=[volume],
    )
    async with client.pod(manifest=manifest) as running:
        (ended,) = await running.wait_over()
        assert (ended.attempt, ended.exit_code) == (1, 0)
        both = await client.containers(pod_id=running.id)
        assert sorted(each.attempt for each in both) == [0, 1]
    assert (
        'default/again: container "main" ended with code 7; it starts again now' in caplog.messages
    )


async def test_probes_decide(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "asupervisor.client.pods")
    every = {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 120}
    web = container(
        "web",
        "mkdir /www; echo up >/www/ready; trap 'exit 0' TERM; httpd -f -p 8080 -h /www & wait",
        ports=[{"name": "http", "containerPort": 8080}],
        readinessProbe={
            "httpGet": {"port": "http", "host": "127.0.0.1", "path": "/ready"},
            **every,
        },
    )
    sick = container(
        "sick",
        "test -e /tmp/x; trap 'exit 5' TERM; touch /tmp/well; while :; do sleep 0.1; done",
        livenessProbe={"exec": {"command": ["test", "-e", "/tmp/well"]}, **every},
        startupProbe={
            "exec": {"command": ["test", "-e", "/tmp/well"]},
            "periodSeconds": 1,
            "timeoutSeconds": 120,
            "failureThreshold": 1000,
        },
    )
    manifest = pod("probed", hostNetwork=True)
    manifest["spec"]["containers"] = [web, sick]
    async with client.pod(manifest=manifest) as running:
        before = running.containers["sick"].id
        await running.containers["sick"].exec(["rm", "/tmp/well"])

        async def is_another() -> bool:
            now = running.containers["sick"]
            return now.id != before and (await now.status()).state is State.RUNNING

        await until(is_another, "the sick one is started again")
    told = " ".join(caplog.messages)
    assert 'container "sick" is stopped: its liveness probe failed' in told
    assert 'container "sick" ended with code 5; it starts again now' in told


async def test_hooks_run(client: Client, tmp_path: Path) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    hooked = {
        "script": "trap 'echo term >>/v/order; exit 0' TERM; while :; do sleep 0.1; done",
        "volumeMounts": mounts,
        "lifecycle": {
            "postStart": {"exec": {"command": [*SHELL, "echo started >>/v/order"]}},
            "preStop": {"exec": {"command": [*SHELL, "echo stopping >>/v/order"]}},
        },
    }
    manifest = pod("hooked", hooked, volumes=[{"name": "v", "hostPath": {"path": str(tmp_path)}}])
    async with client.pod(manifest=manifest, keep=True) as running:
        assert (tmp_path / "order").read_text() == "started\n"
        # As another program stops it, which knows the pod from the server alone.
        await (await client.find_pod("hooked")).stop()
        (ended,) = await running.wait_over()
        assert ended.exit_code == 0
    assert (tmp_path / "order").read_text().split()[:3] == ["started", "stopping", "term"]
    await running.remove()


async def test_a_start_that_takes_too_long_leaves_nothing(client: Client) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    manifest = pod("never-ready", {**RUNS, "readinessProbe": probe})
    await leave_while_it_starts(client, manifest)
    assert await client.pods() == []


async def test_a_pod_that_is_left_alone(client: Client) -> None:
    text = f"""
apiVersion: v1
kind: Pod
metadata: {{name: alone, uid: uid-alone}}
spec:
  volumes: [{{name: v, emptyDir: {{medium: Memory}}}}]
  containers:
    - {{name: main, image: {BUSYBOX_IMAGE}, command: {list(SLEEPER)},
       volumeMounts: [{{name: v, mountPath: /v}}]}}
"""
    (plan,) = read_manifest(text, "text").pods
    started = await client.start_pod(plan)
    found = await client.find_pod("alone")
    assert (await found.main.status()).state is State.RUNNING
    await started.remove()
    with pytest.raises(NotFound):
        await client.find_pod("alone")


async def test_a_manifest_excludes_the_rest(client: Client) -> None:
    with pytest.raises(InvalidArgument):
        async with client.pod(BUSYBOX_IMAGE, manifest=pod("both", RUNS)):
            raise AssertionError("both were given")
    with pytest.raises(ServiceError, match="containers is missing"):
        async with client.pod(manifest=pod("none")):
            raise AssertionError("it has none")


async def test_the_credentials_of_a_secret_are_used(
    client: Client, service: Service, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    registry.push("team/app", ("1",), BuiltImage())
    image = f"{registry.guarded}/team/app:1"
    keys = {
        f"{registry.guarded}/team": {"username": USERNAME, "password": "not this one"},
        registry.guarded: {"username": USERNAME, "password": PASSWORD},
    }
    main = {"image": image, "imagePullPolicy": "Always", **RUNS}
    manifest = pod("pulled", main, imagePullSecrets=[{"name": "keys"}])

    def secret(auths: dict[str, Any]) -> tuple[str, str]:
        kind = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson"}
        data = {"stringData": {".dockerconfigjson": json.dumps({"auths": auths})}}
        return json.dumps({**kind, "metadata": {"name": "keys"}, **data}), "keys.json"

    async def run(*auths: str) -> None:
        given = secret({place: keys[place] for place in auths})
        (plan,) = read_manifest(manifest, "pod", [given]).pods
        async with client.pod(manifest=plan) as running:
            assert (await running.main.status()).state is State.RUNNING

    try:
        with pytest.raises(Unauthenticated):
            await run()
        with pytest.raises(Unauthenticated):
            await run(f"{registry.guarded}/team")
        await run(*keys)
    finally:
        await client.remove_image(image)
    for logged in (caplog.text, service.output):
        assert PASSWORD not in logged and "not this one" not in logged
