"""What only an OCI runtime's document can carry is in the container, where the engine has the
runtime that changes it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.nri.stub import api
from asupervisor.oci import RUNTIME
from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from asupervisor.translate.runtimes import wrapped_runtime
from tests.harness.engine import ENGINE, Engine
from tests.harness.plugins import Adjuster, Watcher, config_with_nri, oci_runtime, plugged
from tests.harness.pods import container_config, pod_config, until

SHELL = ("/bin/sh", "-c")
SLEEP = ("/bin/sleep", "1000")


async def output(supervisor: Supervisor, container_id: str, command: str) -> str:
    answer = await supervisor.runtime.exec_sync(container_id, (*SHELL, command), 20)
    assert answer.exit_code == 0, answer.stderr
    return str(answer.stdout.decode())


def hook_in_container(wanted: api.ContainerAdjustment) -> None:
    """Its effect is seen inside."""
    wanted.hooks.start_container.add(path="/bin/touch", args=["touch", "/hooked"])


def files(directory: Path) -> list[str]:
    """The containers with a file of their own."""
    return [one for one in os.listdir(directory / "root" / "oci") if one != "runtime"]


async def test_what_the_engine_has_no_field_for_is_in_the_container(
    engine: Engine, directory: Path
) -> None:
    said = directory / "said"
    script = directory / "hook.sh"
    script.write_text(f'#!/bin/sh\ncat > {said}\necho "$HOOK" "$@" > "$0.args"\n')
    script.chmod(0o755)

    def adjust(wanted: api.ContainerAdjustment) -> None:
        hook_in_container(wanted)
        hook = wanted.hooks.create_runtime.add(
            path=str(script), args=["hook", "one", "two"], env=["HOOK=by the plugin"]
        )
        hook.timeout.value = 20
        wanted.hooks.poststop.add(path="/bin/touch", args=["touch", str(directory / "stopped")])
        wanted.mounts.add(
            destination="/brought", type="bind", source=str(directory), options=["rbind", "nosuid"]
        )
        wanted.mounts.add(
            destination="/fresh", type="ramfs", source="ramfs", options=["nodev", "noexec"]
        )
        device = wanted.linux.devices.add(path="/dev/injected", type="c", major=1, minor=5)
        device.file_mode.value, device.uid.value, device.gid.value = 0o640, 1000, 2000
        # No driver has it: what may open it is told so, and what may not is told that.
        wanted.linux.devices.add(path="/dev/denied", type="c", major=1, minor=6)
        denied = wanted.linux.resources.devices.add(allow=False, type="c", access="rwm")
        denied.major.value, denied.minor.value = 1, 6
        wanted.linux.namespaces.add(type="ipc", path=f"/proc/{os.getpid()}/ns/ipc")

    with oci_runtime(engine, directory):
        pod = pod_config("carried")
        watcher = Watcher()
        async with (
            Supervisor(config_with_nri(engine, directory)) as supervisor,
            plugged(directory, Adjuster(adjust), watcher),
        ):
            runtime = supervisor.runtime
            sandbox_id = await runtime.run_pod_sandbox(pod)
            config = container_config(command=SLEEP)
            container_id = await runtime.create_container(sandbox_id, config, pod)
            assert files(directory) == [container_id]
            mode = (directory / "root" / "oci" / container_id).stat()
            assert (mode.st_mode & 0o777, mode.st_uid) == (0o600, 0)
            assert (directory / "root" / "oci").stat().st_mode & 0o777 == 0o700
            await runtime.start_container(container_id)
            assert await output(supervisor, container_id, "ls -d /hooked") == "/hooked\n"
            state = json.loads(said.read_text())
            assert (state["id"], state["status"]) == (container_id, "creating")
            assert (directory / "hook.sh.args").read_text() == "by the plugin one two\n"
            mounts = await output(supervisor, container_id, "cat /proc/mounts")
            brought, fresh = (
                next(line for line in mounts.splitlines() if f" {where} " in line)
                for where in ("/brought", "/fresh")
            )
            assert "nosuid" in brought and " ramfs " in fresh and "nodev" in fresh
            device = await output(
                supervisor, container_id, "stat -c '%a %u %g %t:%T' /dev/injected"
            )
            assert device == "640 1000 2000 1:5\n"
            assert (
                await output(supervisor, container_id, "head -c 2 /dev/injected | wc -c") == "2\n"
            )
            refused = await runtime.exec_sync(container_id, ("/bin/cat", "/dev/denied"), 20)
            assert b"not permitted" in refused.stderr
            ours = os.readlink("/proc/self/ns/ipc")
            assert (
                await output(supervisor, container_id, "readlink /proc/self/ns/ipc") == f"{ours}\n"
            )
            document = engine.inspect(container_id)
            assert document["HostConfig"]["Runtime"] == RUNTIME
            _, told = watcher.last("PostStartContainer")
            assert [one.args[-1] for one in told.hooks.start_container] == ["/hooked"]
            assert {one.destination: one.type for one in told.mounts}["/fresh"] == "ramfs"
            devices = {one.path: one.file_mode.value for one in told.linux.devices}
            assert devices["/dev/injected"] == 0o640
            await runtime.stop_container(container_id, 0)
            await until(lambda: (directory / "stopped").exists(), "the last hook ran")
            await runtime.remove_pod_sandbox(sandbox_id)
            assert files(directory) == []


async def test_a_later_runtime_is_told_of_priorities_and_an_earlier_one_is_not(
    engine: Engine, directory: Path
) -> None:
    def adjust(wanted: api.ContainerAdjustment) -> None:
        wanted.linux.scheduler.policy = api.SCHED_BATCH
        wanted.linux.scheduler.nice = 7
        setattr(wanted.linux.io_priority, "class", api.IOPRIO_CLASS_BE)
        wanted.linux.io_priority.priority = 6

    with oci_runtime(engine, directory):
        pod = pod_config("prioritized")
        async with (
            Supervisor(config_with_nri(engine, directory)) as supervisor,
            plugged(directory, Adjuster(adjust)),
        ):
            runtime = supervisor.runtime
            assert supervisor.shim is not None
            known = wrapped_runtime(supervisor.shim.engine.info, supervisor.shim.oci.path)
            assert known.problem == ""
            sandbox_id = await runtime.run_pod_sandbox(pod)
            config = container_config(command=SLEEP)
            if known.version < (1, 1):
                # It would pass over them without a word.
                with pytest.raises(FailedPrecondition, match=r"io_priority.*10-adjuster.*1\.1"):
                    await runtime.create_container(sandbox_id, config, pod)
                assert files(directory) == []
            else:
                container_id = await runtime.create_container(sandbox_id, config, pod)
                await runtime.start_container(container_id)
                pid = engine.inspect(container_id)["State"]["Pid"]
                assert os.sched_getscheduler(pid) == os.SCHED_BATCH
                assert os.getpriority(os.PRIO_PROCESS, pid) == 7
                shown = await output(supervisor, container_id, "ionice -p $(pidof sleep)")
                assert shown == "best-effort: prio 6\n"
            await runtime.remove_pod_sandbox(sandbox_id)


async def test_the_runtime_is_no_handler_of_a_pod_and_stands_before_none(
    engine: Engine, directory: Path
) -> None:
    # An engine's own stands beside it.
    places = os.pathsep.join((os.path.dirname(ENGINE), os.environ["PATH"], "/usr/sbin"))
    runc = shutil.which("runc", path=places)
    with oci_runtime(engine, directory, other={"path": runc}):
        pod = pod_config("handled")
        async with (
            Supervisor(config_with_nri(engine, directory)) as supervisor,
            plugged(directory, Adjuster(hook_in_container)),
        ):
            runtime = supervisor.runtime
            status = await runtime.status()
            handlers = {one.name for one in status.runtime_handlers}
            assert "other" in handlers and RUNTIME not in handlers
            with pytest.raises(InvalidArgument, match=RUNTIME):
                await runtime.run_pod_sandbox(pod, RUNTIME)
            sandbox_id = await runtime.run_pod_sandbox(pod, "other")
            with pytest.raises(
                FailedPrecondition, match=r"hooks of the NRI plugin 10-adjuster.*handler other"
            ):
                await runtime.create_container(sandbox_id, container_config(), pod)
            assert not await runtime.list_containers() and files(directory) == []
            await runtime.remove_pod_sandbox(sandbox_id)


def test_nothing_of_an_image_or_a_tenant_chooses_what_is_carried(
    engine: Engine, directory: Path
) -> None:
    """A container of the same runtime that no plugin has shaped does not start."""
    body = {
        "Image": "asupervisor.test/busybox:1",
        "Cmd": ["create", "0" * 64],
        "HostConfig": {"Runtime": RUNTIME},
    }
    with oci_runtime(engine, directory):
        status, created = engine.request("POST", "/containers/create", body)
        assert status == 201, created
        try:
            status, answer = engine.request("POST", f"/containers/{created['Id']}/start")
        finally:
            engine.request("DELETE", f"/containers/{created['Id']}?force=1")
    assert status >= 400 and "what its OCI document is to have is not there" in str(answer)


async def test_a_container_that_others_remove_leaves_nothing(
    engine: Engine, directory: Path
) -> None:
    async def made() -> None:
        async with (
            Supervisor(config_with_nri(engine, directory)) as supervisor,
            plugged(directory, Adjuster(hook_in_container)),
        ):
            runtime = supervisor.runtime
            pod = pod_config("left")
            sandbox_id = await runtime.run_pod_sandbox(pod)
            for name in ("started-later", "removed"):
                config = container_config(name=name, command=SLEEP)
                ids[name] = await runtime.create_container(sandbox_id, config, pod)

    async def taken_over() -> None:
        """By a process without a plugin."""
        async with Supervisor(config_with_nri(engine, directory)) as supervisor:
            runtime = supervisor.runtime
            await until(lambda: files(directory) == [ids["started-later"]], "swept")
            await runtime.start_container(ids["started-later"])
            assert await output(supervisor, ids["started-later"], "ls -d /hooked") == "/hooked\n"
            for sandbox in await runtime.list_pod_sandbox():
                await runtime.remove_pod_sandbox(sandbox.id)
            assert files(directory) == []

    ids: dict[str, str] = {}
    with oci_runtime(engine, directory):
        await made()
        assert sorted(files(directory)) == sorted(ids.values())
        engine.request("DELETE", f"/containers/{ids['removed']}?force=1")
        await taken_over()


async def test_a_container_lives_through_the_engine_and_starts_again(
    restoring_engine: Engine, directory: Path
) -> None:
    engine = restoring_engine

    with oci_runtime(engine, directory):
        async with (
            Supervisor(config_with_nri(engine, directory)) as supervisor,
            plugged(directory, Adjuster(hook_in_container)),
        ):
            runtime = supervisor.runtime
            pod = pod_config("restored", linux=cri.LinuxPodSandboxConfig())
            sandbox_id = await runtime.run_pod_sandbox(pod)
            config = container_config(command=SLEEP)
            container_id = await runtime.create_container(sandbox_id, config, pod)
            await runtime.start_container(container_id)
            assert supervisor.shim is not None
            health = supervisor.shim.engine.health
            await anyio.to_thread.run_sync(engine.stop)
            await until(lambda: not health.ready, "the engine is down")
            await anyio.to_thread.run_sync(engine.start)
            with anyio.fail_after(60):
                await health.wait_ready()
            shown = await output(supervisor, container_id, "rm /hooked && echo there")
            assert shown == "there\n"
            # As an operator may do by hand; kubelet makes another container.
            status, answer = engine.request("POST", f"/containers/{container_id}/restart?t=0")
            assert status == 204, answer
            assert await output(supervisor, container_id, "ls -d /hooked") == "/hooked\n"
            await runtime.remove_pod_sandbox(sandbox_id)
            assert files(directory) == []
