"""Fields of a manifest that join a pod and its node: paths, namespaces, ports, addresses, profiles,
the end."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asupervisor.client import Client, Pod, State
from asupervisor.errors import ServiceError
from asupervisor.proto import cri
from tests.harness.engine import Engine
from tests.harness.manifests import RUNS, SHELL, leave_while_it_starts, pod
from tests.harness.pods import until
from tests.harness.registry import BuiltImage, Registry, free_port
from tests.integration.client.conftest import MayLack
from tests.integration.client.test_manifest_fields import health_server, says

ENABLED = Path("/sys/module/apparmor/parameters/enabled")
HAS_APPARMOR = ENABLED.exists() and ENABLED.read_text().strip() == "Y"
AT_ONCE = {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 120}
PATIENT = {"periodSeconds": 1, "failureThreshold": 1000, "timeoutSeconds": 120}
WEB = (
    "mkdir /www; echo up >/www/well; trap 'exit 5' TERM; httpd -f -p 8080 -h /www &"
    " echo $! >/www/pid; while :; do sleep 0.1; done"
)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A directory whose mounts propagate."""
    path = tmp_path / "shared"
    for name in ("node", "pod"):
        (path / name).mkdir(parents=True)
    subprocess.run(["mount", "--bind", path, path], check=True)
    subprocess.run(["mount", "--make-rshared", path], check=True)
    yield path
    subprocess.run(["umount", "-R", "-l", path], check=True)


@pytest.mark.parametrize(
    ("propagation", "comes", "goes"),
    [("None", False, False), ("HostToContainer", True, False), ("Bidirectional", True, True)],
)
async def test_mounts_propagate_as_they_are_told_to(
    client: Client, shared: Path, propagation: str, comes: bool, goes: bool
) -> None:
    mount = {"name": "v", "mountPath": "/v", "mountPropagation": propagation}
    may_mount = {
        "capabilities": {"add": ["SYS_ADMIN"]},
        "appArmorProfile": {"type": "Unconfined"},
    }
    main = {**RUNS, "volumeMounts": [mount], "securityContext": may_mount}
    volume = {"name": "v", "hostPath": {"path": str(shared), "type": "Directory"}}
    manifest = pod(f"propagates-{propagation.lower()}", main, volumes=[volume])
    async with client.pod(manifest=manifest) as running:
        await anyio.run_process(["mount", "-t", "tmpfs", "none", str(shared / "node")])
        (shared / "node" / "seen").touch()
        assert (await says(running, "ls /v/node") == "seen") is comes
        said = await says(running, "mount -t tmpfs none /v/pod && touch /v/pod/seen && echo made")
        assert said == "made"
        assert (shared / "pod" / "seen").exists() is goes


async def test_sockets_and_devices_of_the_node_are_mounted(client: Client, tmp_path: Path) -> None:
    paths = {"Socket": ("S", tmp_path / "socket"), "CharDevice": ("c", Path("/dev/null"))}
    with contextlib.suppress(PermissionError):  # where the tests may not make devices
        os.mknod(tmp_path / "block", stat.S_IFBLK | 0o600, os.makedev(7, 0))
        paths["BlockDevice"] = ("b", tmp_path / "block")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        main = {
            **RUNS,
            "volumeMounts": [{"name": kind.lower(), "mountPath": f"/at/{kind}"} for kind in paths],
        }
        volumes = [
            {"name": kind.lower(), "hostPath": {"path": str(path), "type": kind}}
            for kind, (_, path) in paths.items()
        ]
        async with client.pod(manifest=pod("node-paths", main, volumes=volumes)) as running:
            for kind, (letter, _) in paths.items():
                assert await says(running, f"test -{letter} /at/{kind} && echo it is") == "it is"
            assert await says(running, "echo lost >/at/CharDevice && cat /at/CharDevice") == ""


@pytest.mark.parametrize(("policy", "groups"), [("Merge", {100, 7, 8}), ("Strict", {100, 7})])
async def test_groups_of_the_image_count_as_the_policy_says(
    client: Client, registry: Registry, policy: str, groups: set[int], may_lack: MayLack
) -> None:
    files = {
        "etc/passwd": b"root:x:0:0::/root:/bin/sh\nmember:x:1000:100::/:/bin/sh\n",
        "etc/group": b"root:x:0:\nmembers:x:8:member\n",
    }
    image = registry.push(f"client/groups-{policy.lower()}", ("1",), BuiltImage(files=files))
    main = {"image": image, **RUNS}
    context = {
        "runAsUser": 1000,
        "supplementalGroups": [7],
        "supplementalGroupsPolicy": policy,
    }
    try:
        manifest = pod(f"groups-{policy.lower()}", main, securityContext=context)
        async with client.pod(manifest=manifest) as running:
            features = (await client.runtime.status()).features
            may_lack(
                not features.supplemental_groups_policy and policy == "Strict",
                "it does not say that it knows supplementalGroupsPolicy",
            )
            assert set(map(int, (await says(running, "id -G")).split())) == groups
    finally:
        await client.remove_image(image)


@pytest.mark.parametrize("kind", ["RuntimeDefault", "Unconfined", "Localhost"])
async def test_an_apparmor_profile_is_taken_or_refused_by_name(
    client: Client, kind: str, may_lack: MayLack
) -> None:
    profile = {"type": kind} | ({"localhostProfile": "no-such"} if kind == "Localhost" else {})
    main = {**RUNS, "securityContext": {"appArmorProfile": profile}}
    manifest = pod(f"apparmor-{kind.lower()}", main)
    if kind == "Localhost":  # a host without AppArmor has it no more than one with it
        with pytest.raises(ServiceError, match=r"(?i)apparmor"):
            async with client.pod(manifest=manifest):
                raise AssertionError("it would run without its profile")
        return
    try:
        async with client.pod(manifest=manifest) as running:
            label = await says(running, "cat /proc/self/attr/current 2>/dev/null")
            assert ("(enforce)" in label) is (HAS_APPARMOR and kind == "RuntimeDefault")
    except ServiceError as error:
        may_lack(not HAS_APPARMOR and "apparmor is not supported" in str(error), str(error))
        raise


async def test_labels_of_selinux_reach_the_engine(client: Client, engine: Engine) -> None:
    labels = {"user": "system_u", "role": "system_r", "type": "spc_t", "level": "s0:c1,c2"}
    of_pod, of_main = {"seLinuxOptions": {**labels, "level": "s0:c3"}}, {"seLinuxOptions": labels}
    main = {**RUNS, "securityContext": of_main}
    async with client.pod(manifest=pod("selinux", main, RUNS, securityContext=of_pod)) as running:
        for name, level in (("main", "s0:c1,c2"), ("other", "s0:c3")):
            options = engine.inspect(running.containers[name].id)["HostConfig"]["SecurityOpt"]
            told = {each.removeprefix("label=") for each in options if each.startswith("label=")}
            assert told == {f"{key}:{value}" for key, value in (labels | {"level": level}).items()}


async def test_a_stop_signal_of_its_own_ends_it(client: Client, may_lack: MayLack) -> None:
    main = {
        "command": [*SHELL, "trap 'exit 3' USR1; trap 'exit 4' TERM; while :; do sleep 0.1; done"],
        "lifecycle": {"stopSignal": "SIGUSR1"},
    }
    manifest = pod("signalled", main, restartPolicy="Never", os={"name": "linux"})
    async with client.pod(manifest=manifest) as running:
        status = (await client.runtime.container_status(running.main.id)).status
        may_lack(status.stop_signal != cri.SIGNAL_SIGUSR1, "it tells no stop signal back")
        await running.main.stop()
        assert (await running.main.status()).exit_code == 3


async def test_hooks_that_sleep_hold_the_start_and_the_stop(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asupervisor.client.pods")
    long = {"sleep": {"seconds": 1000}}
    held = pod("held-at-start", {**RUNS, "lifecycle": {"postStart": long}})
    await leave_while_it_starts(client, held)

    hooks = {"postStart": {"sleep": {"seconds": 0}}, "preStop": long}
    manifest = pod("held-at-end", {**RUNS, "lifecycle": hooks}, restartPolicy="Never")
    async with client.pod(manifest=manifest) as running:
        await running.main.stop(3)
        assert (await running.main.status()).exit_code == 0
    told = 'preStop of container "main" failed: no answer within 3 s'
    assert caplog.messages.count(told) == 1, "the hook had the whole grace"


@pytest.mark.parametrize(
    ("field", "namespace"), [("hostPID", "pid"), ("hostIPC", "ipc"), ("hostNetwork", "net")]
)
async def test_a_namespace_of_the_node_is_the_pods(
    client: Client, field: str, namespace: str
) -> None:
    own = os.readlink(f"/proc/self/ns/{namespace}")
    for given in (True, False):
        manifest = pod(f"node-{namespace}-{given}".lower(), RUNS, **{field: given})
        async with client.pod(manifest=manifest) as running:
            theirs = await says(running, f"readlink /proc/self/ns/{namespace}")
            assert (theirs == own) is given


async def test_a_port_of_the_node_leads_into_the_pod(client: Client) -> None:
    port = free_port()
    ports = [{"containerPort": 8080, "hostPort": port, "hostIP": "127.0.0.1"}]
    async with client.pod(manifest=pod("host-port", {"script": WEB, "ports": ports})):

        def answer() -> bytes:
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", port), timeout=60) as asked:
                    asked.sendall(b"GET /well HTTP/1.0\r\n\r\n")
                    return b"".join(iter(lambda: asked.recv(65536), b""))
            return b""

        async def is_served() -> bool:
            return (await anyio.to_thread.run_sync(answer)).endswith(b"up\n")

        await until(is_served, "the node's port is answered by the pod")


async def restarted_once_sick(client: Client, running: Pod, before: str) -> None:
    """Wait for the attempt after ``before``."""

    async def is_another() -> bool:
        now = running.main
        return now.id != before and (await now.status()).state is State.RUNNING

    await until(is_another, "the one that did not answer is started again")
    assert (await client.find_container(f"{running.name}/main")).info.attempt == 1


@pytest.mark.parametrize(
    ("probe", "ail"),
    [
        ({"httpGet": {"port": "web", "path": "/well"}}, "rm /www/well"),
        ({"tcpSocket": {"port": "web"}}, "kill $(cat /www/pid)"),
    ],
    ids=["httpGet", "tcpSocket"],
)
async def test_a_probe_of_the_pods_address_restarts_its_container(
    client: Client, caplog: pytest.LogCaptureFixture, probe: dict[str, Any], ail: str
) -> None:
    caplog.set_level(logging.INFO, "asupervisor.client.pods")
    main = {
        "script": WEB,
        "ports": [{"name": "web", "containerPort": 8080}],
        "startupProbe": {**probe, **PATIENT},
        "livenessProbe": {**probe, **AT_ONCE},
    }
    manifest = pod(f"asked-{next(iter(probe)).lower()}", main)
    async with client.pod(manifest=manifest) as running:
        before = running.main.id
        await says(running, ail)
        await restarted_once_sick(client, running, before)
    told = " ".join(caplog.messages)
    assert 'container "main" is stopped: its liveness probe failed' in told
    assert 'container "main" ended with code 5; it starts again now' in told


async def test_a_grpc_probe_restarts_its_container(client: Client) -> None:
    serving, not_serving = b"\x08\x01", b"\x08\x02"
    answers = [serving]
    async with health_server(answers) as port:
        probe = {"grpc": {"port": port, "service": "web"}}
        main = {
            **RUNS,
            "startupProbe": {**probe, **PATIENT},
            "livenessProbe": {**probe, **AT_ONCE},
        }
        async with client.pod(manifest=pod("asked-grpc", main, hostNetwork=True)) as running:
            before = running.main.id
            answers[:] = [not_serving, serving]
            await restarted_once_sick(client, running, before)
