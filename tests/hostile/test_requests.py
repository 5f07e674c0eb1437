"""Whatever a pod's author writes is answered: with OK, or with an error that blames the request. It
is never a defect, and never costs anybody else anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asupervisor.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServiceError,
)
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import SLEEPER, container_config, pod_config
from tests.harness.service import service_config
from tests.hostile.tenants import run_pod

BLAMES_THE_REQUEST = (AlreadyExists, FailedPrecondition, InvalidArgument, NotFound)
LARGEST, SMALLEST = 2**63 - 1, -(2**63)

Change = Callable[[cri.ContainerConfig], object]


def _mount(container_path: str, host_path: str = "/var/tmp", **fields: Any) -> Change:
    mount = cri.Mount(container_path=container_path, host_path=host_path)
    for name, value in fields.items():
        setattr(mount, name, value)
    return lambda config: config.mounts.append(mount)


def _limits(**fields: Any) -> Change:
    return lambda config: config.linux.resources.CopyFrom(cri.LinuxContainerResources(**fields))


def _security(**fields: Any) -> Change:
    context = cri.LinuxContainerSecurityContext(**fields)
    return lambda config: config.linux.security_context.MergeFrom(context)


def _named(name: str) -> Change:
    def change(config: cri.ContainerConfig) -> None:
        config.metadata.name = name

    return change


def _set(field: str, value: object) -> Change:
    return lambda config: setattr(config, field, value)


def _command(*words: str) -> Change:
    def change(config: cri.ContainerConfig) -> None:
        config.command[:] = words

    return change


def _profile(kind: Any, ref: str) -> cri.SecurityProfile:
    return cri.SecurityProfile(profile_type=kind, localhost_ref=ref)


LOCALHOST = cri.SecurityProfile.Localhost
CHANGES: dict[str, Change] = {
    **{
        f"mount over {path or 'nothing'}": _mount(path)
        for path in (
            "/",
            "",
            "/proc",
            "/proc/self",
            "/proc/sys/kernel",
            "/sys",
            "/sys/fs/cgroup",
            "/dev",
            "/dev/null",
            "/etc/resolv.conf",
            "/etc/hosts",
            "/etc/hostname",
            "relative",
            "/a/../../b",
            "//x",
            "/a\nb",
            "/a:b",
            "/" + "x" * 300,
            "/bin",
        )
    },
    **{
        f"mount of {path[:20]!r}": _mount("/m", path)
        for path in (
            "/var/tmp/../../proc/self/root",
            "/proc/self/exe",
            "/dev/zero/below",
            "/" + "y" * 300,
            "/var/tmp/" + "z/" * 2000,
            "/var/tmp/a\nb",
            "/var/tmp/a:b",
        )
    },
    "twice": lambda config: config.mounts.extend(
        [cri.Mount(container_path="/m", host_path="/var/tmp")] * 2
    ),
    "memory of one byte": _limits(memory_limit_in_bytes=1),
    "negative memory": _limits(memory_limit_in_bytes=-5),
    "largest memory": _limits(memory_limit_in_bytes=LARGEST),
    "smallest memory": _limits(memory_limit_in_bytes=SMALLEST),
    "swap without memory": _limits(memory_swap_limit_in_bytes=1 << 30),
    "swap below memory": _limits(memory_limit_in_bytes=1 << 30, memory_swap_limit_in_bytes=1 << 20),
    "negative shares": _limits(cpu_shares=-1),
    "largest shares": _limits(cpu_shares=LARGEST),
    "negative quota": _limits(cpu_quota=-7),
    "smallest quota": _limits(cpu_quota=SMALLEST, cpu_period=100000),
    "largest period": _limits(cpu_period=LARGEST),
    "quota of one": _limits(cpu_quota=1, cpu_period=1),
    "cpus that are not there": _limits(cpuset_cpus="5000-6000"),
    "cpus that are no cpus": _limits(cpuset_cpus="a\nb"),
    "score out of range": _limits(oom_score_adj=5000),
    "pages of no size": _limits(hugepage_limits=[cri.HugepageLimit(page_size="2MB\n", limit=1)]),
    "key that leads out": _limits(unified={"../../memory.max": "1"}),
    "stranger's pids": _security(
        namespace_options=cri.NamespaceOption(pid=cri.TARGET, target_id="f" * 64)
    ),
    "largest user": _security(run_as_user=cri.Int64Value(value=LARGEST)),
    "negative user": _security(run_as_user=cri.Int64Value(value=-1)),
    "user with a colon": _security(run_as_username="a:0"),
    "user of many bytes": _security(run_as_username="u" * 100_000),
    "groups out of range": _security(supplemental_groups=[-1, LARGEST]),
    "seccomp of a link": _security(seccomp=_profile(LOCALHOST, "/proc/self/fd/0")),
    "seccomp of a device": _security(seccomp=_profile(LOCALHOST, "/dev/zero")),
    "seccomp that is relative": _security(seccomp=_profile(LOCALHOST, "../x")),
    "seccomp of a directory": _security(seccomp=_profile(LOCALHOST, "/")),
    "seccomp that is no JSON": _security(seccomp=_profile(LOCALHOST, "/etc/passwd")),
    "apparmor with a line": _security(apparmor=_profile(LOCALHOST, "a\nb")),
    "apparmor of none": _security(apparmor=_profile(LOCALHOST, "localhost/unconfined")),
    "capability that is none": _security(
        capabilities=cri.Capability(add_capabilities=["X\nY", "", "all "])
    ),
    "masked path that is relative": _security(masked_paths=["../x", "", "/a\nb"]),
    "device that is none": lambda config: config.devices.append(
        cri.Device(host_path="/etc/passwd", container_path="/dev/x", permissions="r")
    ),
    "device at nothing": lambda config: config.devices.append(
        cri.Device(host_path="/dev/null", container_path="", permissions="")
    ),
    "device over the root": lambda config: config.devices.append(
        cri.Device(host_path="/dev/null", container_path="/", permissions="rwm")
    ),
    "CDI device": lambda config: config.CDI_devices.append(cri.CDIDevice(name="a/b=c")),
    "CDI device of many lines": lambda config: config.CDI_devices.append(
        cri.CDIDevice(name="a\nb")
    ),
    "working directory that is relative": _set("working_dir", "a/b"),
    "working directory in proc": _set("working_dir", "/proc/self/fd/8"),
    "working directory with a line": _set("working_dir", "/a\nb"),
    "log path with a line": _set("log_path", "a\nb/0.log"),
    "log path of a file too long": _set("log_path", "x" * 300 + "/0.log"),
    "log path of dots": _set("log_path", "./."),
    "no command": _command(),
    "empty command": _command(""),
    "command that is not there": _command("/\x1b[2J\nnothing"),
    "environment with a line": lambda config: config.envs.append(
        cri.KeyValue(key="A\nB", value=b"c\nd")
    ),
    "environment twice": lambda config: config.envs.extend(
        [cri.KeyValue(key="PATH", value=b""), cri.KeyValue(key="PATH", value=b"x")]
    ),
    "label without a key": lambda config: config.labels.update(
        {"": "", " ": "\0", "a\nb": "\u202e"}
    ),
    "labels that look reserved": lambda config: config.labels.update(
        {"io.kubernetes.docker.TYPE": "x", "io.kubernetes.docker.type ": "x", "Annotation.x": "y"}
    ),
    "annotation without a key": lambda config: config.annotations.update(
        {"": "x", "annotation.": "y"}
    ),
    **{
        f"named {name[:12]!r}": _named(name)
        for name in (
            "POD ",
            "k8s",
            "-",
            ".",
            "..",
            "a/b",
            "a b",
            "a\nb",
            "A" * 255,
            "K8S_x",
            "\u00e9",
            "pod",
        )
    },
    "stop signal that is none": _set("stop_signal", 900),
    "stdin once without stdin": _set("stdin_once", True),
}


async def test_containers(
    engine: Engine, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found: dict[str, str] = {}
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        neighbour = await run_pod(supervisor, "requests-neighbour", BUSYBOX_IMAGE)
        pod = await run_pod(supervisor, "requests-tenant", logs=directory / "logs")
        for number, (what, change) in enumerate(CHANGES.items()):
            config = container_config(f"c{number}")
            config.command[:] = SLEEPER
            config.log_path = f"c{number}/0.log"
            change(config)
            container_id = ""
            try:
                container_id = await runtime.create_container(pod.sandbox_id, config, pod.config)
                await runtime.start_container(container_id)
            except BLAMES_THE_REQUEST:
                pass
            except ServiceError as error:
                found[what] = f"{error.code}: {error}"
            if container_id:
                await runtime.container_status(container_id)
                await runtime.remove_container(container_id)
        assert (await neighbour.status()).state == cri.CONTAINER_RUNNING
        await pod.remove()
        await neighbour.remove()
    assert found == {}
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []


def _dns(**fields: Any) -> Callable[[cri.PodSandboxConfig], object]:
    return lambda config: config.dns_config.CopyFrom(cri.DNSConfig(**fields))


def _port(**fields: Any) -> Callable[[cri.PodSandboxConfig], object]:
    return lambda config: config.port_mappings.append(cri.PortMapping(**fields))


def _sysctl(name: str, value: str = "1") -> Callable[[cri.PodSandboxConfig], object]:
    return lambda config: config.linux.sysctls.update({name: value})


def _of_pod(field: str, value: object) -> Callable[[cri.PodSandboxConfig], object]:
    return lambda config: setattr(config.metadata, field, value)


PODS: dict[str, Callable[[cri.PodSandboxConfig], object]] = {
    "DNS server with a line": _dns(servers=["1.1.1.1\nsearch evil"]),
    "DNS search with a line": _dns(searches=["a\nnameserver 6.6.6.6"]),
    "DNS option with a space": _dns(options=["a b"]),
    "DNS search of many": _dns(searches=["x" * 255] * 100),
    "DNS server with a zone": _dns(servers=["fe80::1%a"]),
    "port 0": _port(container_port=0, host_port=80),
    "port 65536": _port(container_port=65536, host_port=80),
    "negative port": _port(container_port=80, host_port=-1),
    "host address that is none": _port(container_port=80, host_port=18080, host_ip="1.2.3.4/0"),
    "host address with a zone": _port(container_port=80, host_port=18081, host_ip="fe80::1%lo"),
    "the same port twice": lambda config: config.port_mappings.extend(
        [cri.PortMapping(container_port=80, host_port=18082)] * 2
    ),
    "protocol that is none": _port(container_port=80, host_port=18083, protocol=9),
    **{
        f"sysctl {name[:30]!r}": _sysctl(name)
        for name in (
            "kernel.panic",
            "net/../kernel/panic",
            "net.ipv4/../../kernel/panic",
            "net.",
            "net.a\nb",
            "kernel.shm",
            "net.ipv4.ip_forward ",
            "kernel.hostname",
            "fs.mqueue.../x",
            "net..ipv4",
        )
    },
    "sysctl of many lines": _sysctl("net.ipv4.ip_unprivileged_port_start", "0\n1\n2"),
    "hostname with a line": lambda config: setattr(config, "hostname", "a\n6.6.6.6 b"),
    "hostname of a path": lambda config: setattr(config, "hostname", "../x"),
    "hostname with a hash": lambda config: setattr(config, "hostname", "a#b"),
    "hostname too long": lambda config: setattr(config, "hostname", "x" * 65),
    "log directory that is relative": lambda config: setattr(config, "log_directory", "a"),
    "log directory that is a device": lambda config: setattr(
        config, "log_directory", "/dev/null/a"
    ),
    "cgroup that leads out": lambda config: setattr(config.linux, "cgroup_parent", "/../../x"),
    "cgroup with a line": lambda config: setattr(config.linux, "cgroup_parent", "/a\nb"),
    "name with a separator": _of_pod("name", "a_b"),
    "name with a path": _of_pod("name", "../x"),
    "name with a quote": _of_pod("name", 'a"b'),
    "name of an option": _of_pod("name", "--x"),
    "uid with a line": _of_pod("uid", "a\nb"),
    "namespace with a semicolon": _of_pod("namespace", "a;K8S_POD_NAME=b"),
    "largest attempt": _of_pod("attempt", 2**32 - 1),
    "reserved label": lambda config: config.labels.update({"io.kubernetes.docker.seal": "x"}),
    "reserved label in other case": lambda config: config.labels.update(
        {"IO.KUBERNETES.DOCKER.SEAL": "x", "": "y", "a\0b": "c\nd"}
    ),
    "pids of another": lambda config: setattr(
        config.linux.security_context.namespace_options, "pid", cri.TARGET
    ),
    "runtime annotation": lambda config: config.annotations.update(
        {"io.kubernetes.cri.container-type": "sandbox", "\n": "\0"}
    ),
}


async def test_pods(engine: Engine, directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    found: dict[str, str] = {}
    async with Supervisor(service_config(engine, directory)) as supervisor:
        runtime = supervisor.runtime
        neighbour = await run_pod(supervisor, "requests-pods-neighbour", BUSYBOX_IMAGE)
        for number, (what, change) in enumerate(PODS.items()):
            config = pod_config(f"requests-pod{number}")
            change(config)
            try:
                sandbox_id = await runtime.run_pod_sandbox(config)
            except BLAMES_THE_REQUEST:
                continue
            except ServiceError as error:
                found[what] = f"{error.code}: {error}"
                continue
            status = (await runtime.pod_sandbox_status(sandbox_id)).status
            assert status.metadata == config.metadata
            await runtime.stop_pod_sandbox(sandbox_id)
            await runtime.remove_pod_sandbox(sandbox_id)
        assert (await neighbour.status()).state == cri.CONTAINER_RUNNING
        await neighbour.remove()
        assert await runtime.list_pod_sandbox() == []
    assert found == {}
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []
