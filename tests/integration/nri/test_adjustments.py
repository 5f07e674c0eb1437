"""What plugins want a container to be like is what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.nri.stub import api
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.plugins import Adjuster, Watcher, config_with_nri, plugged
from tests.harness.pods import container_config, pod_config

Adjustment = Callable[[api.ContainerAdjustment], None]


async def output(supervisor: Supervisor, container_id: str, *command: str) -> str:
    answer = await supervisor.runtime.exec_sync(container_id, command, 20)
    assert answer.exit_code == 0, answer.stderr
    return str(answer.stdout.decode())


async def test_what_a_plugin_wants_is_what_the_container_has(
    engine: Engine, directory: Path
) -> None:
    brought = directory / "brought"
    brought.mkdir()
    (brought / "file").write_text("by the plugin")

    def adjust(wanted: api.ContainerAdjustment) -> None:
        wanted.annotations["example.org/seen"] = "yes"
        wanted.annotations["-example.org/unwanted"] = ""
        wanted.env.add(key="ADDED", value="by the plugin")
        wanted.env.add(key="-UNWANTED")
        wanted.env.add(key="-PATH")
        wanted.mounts.add(
            destination="/brought", type="bind", source=str(brought), options=["rbind", "ro"]
        )
        wanted.mounts.add(destination="/scratch", type="tmpfs", options=["size=65536"])
        wanted.mounts.add(destination="-/unwanted")
        # Not of open files: runc's own start may raise their soft limit (its Go runtime does).
        wanted.rlimits.add(type="RLIMIT_MEMLOCK", soft=1234 << 10, hard=2345 << 10)
        wanted.linux.devices.add(path="/dev/other-zero", type="c", major=1, minor=5)
        wanted.linux.resources.cpu.shares.value = 321
        wanted.linux.resources.memory.limit.value = 64 << 20
        wanted.linux.resources.memory.reservation.value = 32 << 20
        wanted.linux.resources.pids.limit = 77
        wanted.linux.resources.devices.add(allow=True, type="c", access="r")
        wanted.linux.oom_score_adj.value = 444
        wanted.linux.namespaces.add(type="-uts")
        wanted.linux.seccomp_policy.default_action = "SCMP_ACT_ALLOW"
        wanted.linux.seccomp_policy.syscalls.add(names=["mkdir"], action="SCMP_ACT_ERRNO")

    watcher = Watcher()
    pod = pod_config("adjusted")
    config = container_config(
        command=("/bin/sleep", "1000"),
        envs=[
            cri.KeyValue(key="UNWANTED", value=b"1"),
            cri.KeyValue(key="KEPT", value=b"1"),
        ],
        annotations={"example.org/unwanted": "1", "example.org/kept": "1"},
        mounts=[cri.Mount(container_path="/unwanted", host_path=str(directory))],
    )
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, Adjuster(adjust), watcher),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        container_id = await runtime.create_container(sandbox_id, config, pod)
        await runtime.start_container(container_id)
        status = (await runtime.container_status(container_id)).status
        assert dict(status.annotations) == {
            "example.org/seen": "yes",
            "example.org/kept": "1",
        }
        assert status.resources.linux.cpu_shares == 321
        assert status.resources.linux.oom_score_adj == 444
        assert status.resources.linux.memory_limit_in_bytes == 64 << 20
        assert supervisor.shim is not None
        document = await supervisor.shim.engine.containers.inspect(container_id)
        host_config, environment = document["HostConfig"], document["Config"]["Env"]
        assert "ADDED=by the plugin" in environment and "KEPT=1" in environment
        shown = await output(supervisor, container_id, "/bin/sh", "-c", "env")
        assert "KEPT=1\n" in shown and "UNWANTED" not in shown
        _, described = watcher.last("PostStartContainer")
        assert not any(one.startswith(("UNWANTED", "PATH")) for one in described.env)
        assert (host_config["PidsLimit"], host_config["UTSMode"]) == (77, "host")
        assert host_config["MemoryReservation"] == 32 << 20
        assert host_config["DeviceCgroupRules"] == ["c *:* r"]
        shell = ("/bin/sh", "-c")
        assert await output(supervisor, container_id, *shell, "cat /brought/file") == (
            "by the plugin"
        )
        mounts = await output(supervisor, container_id, *shell, "cat /proc/mounts")
        assert " /scratch tmpfs " in mounts and " /unwanted " not in mounts
        assert await output(supervisor, container_id, *shell, "ulimit -Sl") == "1234\n"
        assert await output(supervisor, container_id, *shell, "ls /dev") != ""
        made = await runtime.exec_sync(container_id, (*shell, "mkdir /refused"), 20)
        assert made.exit_code != 0
        # Who comes behind sees what those before it want.
        first = next(one for name, _, one in watcher.told if name == "CreateContainer")
        assert first is not None and "ADDED=by the plugin" in first.env
        assert {one.destination for one in first.mounts} >= {"/brought", "/scratch"}
        created = [one.id for name, _, one in watcher.told if one and name == "CreateContainer"]
        assert created[-1] == container_id and len(created) == 2
        assert watcher.names(created[0]) == [
            "CreateContainer",
            "StopContainer",
            "RemoveContainer",
        ]
        assert [one.id for one in await runtime.list_containers()] == [container_id]
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_resources_alone_are_changed_in_place(engine: Engine, directory: Path) -> None:
    def adjust(wanted: api.ContainerAdjustment) -> None:
        wanted.linux.resources.cpu.cpus = "0"
        wanted.linux.resources.memory.limit.value = 48 << 20

    watcher = Watcher()
    pod = pod_config("adjusted-in-place")
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, Adjuster(adjust), watcher),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        container_id = await runtime.create_container(sandbox_id, container_config(), pod)
        assert watcher.names(container_id) == ["CreateContainer", "PostCreateContainer"]
        assert watcher.names().count("CreateContainer") == 1
        resources = (await runtime.container_status(container_id)).status.resources.linux
        assert (resources.cpuset_cpus, resources.memory_limit_in_bytes) == ("0", 48 << 20)
        await runtime.remove_pod_sandbox(sandbox_id)


def hook(wanted: api.ContainerAdjustment) -> None:
    wanted.hooks.prestart.add(path="/bin/true")


def scheduler(wanted: api.ContainerAdjustment) -> None:
    wanted.linux.scheduler.policy = api.SCHED_BATCH


def priority(wanted: api.ContainerAdjustment) -> None:
    wanted.linux.io_priority.priority = 3


def network_device(wanted: api.ContainerAdjustment) -> None:
    wanted.linux.net_devices["eth9"].name = "eth1"


def resource_class(wanted: api.ContainerAdjustment) -> None:
    wanted.linux.resources.blockio_class.value = "slow"


def other_type(wanted: api.ContainerAdjustment) -> None:
    wanted.mounts.add(destination="/x", type="overlay")


def other_option(wanted: api.ContainerAdjustment) -> None:
    wanted.mounts.add(destination="/x", type="bind", source="/tmp", options=["nosuid"])


def unknown_device(wanted: api.ContainerAdjustment) -> None:
    wanted.linux.devices.add(path="/dev/none", type="c", major=4095, minor=4095)


def by_path(wanted: api.ContainerAdjustment) -> None:
    wanted.linux.namespaces.add(type="ipc", path="/proc/1/ns/ipc")


def other_cgroup(wanted: api.ContainerAdjustment) -> None:
    wanted.linux.cgroups_path = "/elsewhere/whatever"


def engines_own_mount(wanted: api.ContainerAdjustment) -> None:
    wanted.mounts.add(destination="-/dev/shm")


REFUSED: list[tuple[Adjustment, str]] = [
    (hook, "hooks"),
    (scheduler, "scheduler"),
    (priority, "io_priority"),
    (network_device, "net_devices"),
    (resource_class, "blockio_class"),
    (other_type, "overlay"),
    (other_option, "nosuid"),
    (unknown_device, "4095:4095"),
    (by_path, "ipc"),
    (other_cgroup, "cgroups_path"),
    (engines_own_mount, "/dev/shm"),
]


async def test_what_the_engine_cannot_do_is_refused_by_name(
    engine: Engine, directory: Path
) -> None:
    adjuster = Adjuster(lambda wanted: None)
    pod = pod_config("adjusted-in-vain")
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, adjuster),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        for adjust, word in REFUSED:
            adjuster.adjust = adjust
            with pytest.raises(FailedPrecondition, match=word):
                await runtime.create_container(sandbox_id, container_config(), pod)
            assert not await runtime.list_containers()
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_what_two_plugins_set_is_a_conflict(engine: Engine, directory: Path) -> None:
    def first(wanted: api.ContainerAdjustment) -> None:
        wanted.env.add(key="WHOSE", value="first")

    def taking_over(wanted: api.ContainerAdjustment) -> None:
        wanted.env.add(key="-WHOSE")
        wanted.env.add(key="WHOSE", value="second")

    second = Adjuster(first, "second", "20")
    pod = pod_config("disputed")
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, second, Adjuster(first, "first", "10")),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        with pytest.raises(FailedPrecondition, match=r"10-first and 20-second.*Env WHOSE"):
            await runtime.create_container(sandbox_id, container_config(), pod)
        second.adjust = taking_over
        container_id = await runtime.create_container(sandbox_id, container_config(), pod)
        await runtime.start_container(container_id)
        shown = await output(supervisor, container_id, "sh", "-c", "echo $WHOSE")
        assert shown == "second\n"
        await runtime.remove_pod_sandbox(sandbox_id)


async def test_an_adjustment_that_never_settles_fails_the_creation(
    engine: Engine, directory: Path
) -> None:
    asked: list[Any] = []

    def adjust(wanted: api.ContainerAdjustment) -> None:
        asked.append(None)
        wanted.env.add(key="TIMES", value=str(len(asked)))

    pod = pod_config("unsettled")
    async with (
        Supervisor(config_with_nri(engine, directory)) as supervisor,
        plugged(directory, Adjuster(adjust)),
    ):
        runtime = supervisor.runtime
        sandbox_id = await runtime.run_pod_sandbox(pod)
        with pytest.raises(FailedPrecondition, match="must not depend on the id"):
            await runtime.create_container(sandbox_id, container_config(), pod)
        assert len(asked) == 3 and not await runtime.list_containers()
        await runtime.remove_pod_sandbox(sandbox_id)
