"""Plugins that do what NRI's own samples do, all at once on one pod: hook-injector,
device-injector, ulimit-adjuster, logger and template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from asupervisor.nri.stub import PluginStub, api
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.plugins import Watcher, config_with_nri, oci_runtime, plugged
from tests.harness.pods import container_config, pod_config

LIFE = ["CreateContainer", "PostCreateContainer", "StartContainer", "PostStartContainer"]
END = ["StopContainer", "RemoveContainer"]


def annotated(pod: api.PodSandbox, container: api.Container, kind: str) -> list[dict[str, Any]]:
    """What a pod's annotation asks for one of its containers."""
    text = pod.annotations.get(f"{kind}.noderesource.dev/container.{container.name}", "[]")
    found: list[dict[str, Any]] = yaml.safe_load(text)
    return found


class HookInjector(PluginStub):
    """Injects the hooks of files like ``/etc/containers/oci/hooks.d/*.json``."""

    def __init__(self, hooks: Path) -> None:
        super().__init__("hook-injector", "10")
        self.hooks = [json.loads(path.read_text()) for path in sorted(hooks.iterdir())]

    async def create_container(
        self, pod: api.PodSandbox, container: api.Container
    ) -> api.CreateContainerResponse:
        adjust = api.ContainerAdjustment()
        for one in self.hooks:
            if one["when"].get("always") or container.args[0] in one["when"].get("commands", ()):
                for stage in one["stages"]:
                    getattr(adjust.hooks, stage).add(**one["hook"])
        return api.CreateContainerResponse(adjust=adjust)


class DeviceInjector(PluginStub):
    """Injects devices and mounts that annotations ask for."""

    async def create_container(
        self, pod: api.PodSandbox, container: api.Container
    ) -> api.CreateContainerResponse:
        adjust = api.ContainerAdjustment()
        for one in annotated(pod, container, "devices"):
            device = adjust.linux.devices.add(path=one["path"], type=one["type"])
            device.major, device.minor = int(one["major"]), int(one["minor"])
            if "file_mode" in one:
                device.file_mode.value = int(one["file_mode"])
        for one in annotated(pod, container, "mounts"):
            adjust.mounts.add(**one)
        return api.CreateContainerResponse(adjust=adjust)


class UlimitAdjuster(PluginStub):
    """Sets limits that annotations ask for, by names in any spelling."""

    async def create_container(
        self, pod: api.PodSandbox, container: api.Container
    ) -> api.CreateContainerResponse:
        adjust = api.ContainerAdjustment()
        for one in annotated(pod, container, "ulimits"):
            name = f"RLIMIT_{one['type'].upper().removeprefix('RLIMIT_')}"
            adjust.rlimits.add(type=name, soft=int(one["soft"]), hard=int(one["hard"]))
        return api.CreateContainerResponse(adjust=adjust)


class Template(Watcher):
    """Is asked of everything, and changes nothing."""

    async def create_container(
        self, pod: api.PodSandbox, container: api.Container
    ) -> api.CreateContainerResponse:
        await super().create_container(pod, container)
        return api.CreateContainerResponse(adjust=api.ContainerAdjustment())


def write_hooks(directory: Path) -> Path:
    """Hooks that say what they see, and one whose mark is in the container."""
    script = directory / "demo-hook.sh"
    script.write_text('#!/bin/sh\n(echo "$0 $*"; env; cat) > "$LOG"\n')
    script.chmod(0o755)
    place = directory / "hooks.d"
    place.mkdir()

    def write(name: str, stages: list[str], when: dict[str, object], **hook: object) -> None:
        document = {"version": "1.0.0", "hook": hook, "when": when, "stages": stages}
        (place / f"{name}.json").write_text(json.dumps(document))

    for stage in ("prestart", "poststop"):
        write(
            stage,
            [stage],
            {"always": True},
            path=str(script),
            args=["demo-hook.sh", stage],
            env=[f"LOG={directory}/{stage}.log"],
        )
    mark = {"path": "/bin/touch", "args": ["touch", "/marked"]}
    write("inside", ["start_container"], {"commands": ["/bin/sleep"]}, **mark)
    unwanted = {"path": "/bin/touch", "args": ["touch", "/unwanted"]}
    write("other", ["start_container"], {"commands": ["/bin/other"]}, **unwanted)
    return place


async def test_all_of_them_on_one_pod(engine: Engine, directory: Path) -> None:
    annotations = {
        "devices.noderesource.dev/container.main": (
            "- {path: /dev/given, type: c, major: 1, minor: 3}\n"
            "- {path: /dev/own-mode, type: c, major: 1, minor: 5, file_mode: 0600}\n"
        ),
        "mounts.noderesource.dev/container.main": (
            f"- {{source: {directory}, destination: /given, type: bind,"
            " options: [rbind, ro, noexec]}\n"
        ),
        "ulimits.noderesource.dev/container.main": (
            "- {type: RLIMIT_MEMLOCK, soft: 1048576, hard: 4194304}\n"
            "- {type: nofile, soft: 4096, hard: 4096}\n"
        ),
    }

    async def output(supervisor: Supervisor, container_id: str, command: str) -> str:
        answer = await supervisor.runtime.exec_sync(container_id, ("/bin/sh", "-c", command), 60)
        assert answer.exit_code == 0, answer.stderr
        return str(answer.stdout.decode())

    hooks = write_hooks(directory)
    with oci_runtime(engine, directory):
        logger, template = Watcher("logger", "90"), Template("template", "95")
        pod = pod_config("sampled")
        pod.annotations.update(annotations)
        async with (
            Supervisor(config_with_nri(engine, directory)) as supervisor,
            plugged(
                directory,
                HookInjector(hooks),
                DeviceInjector("device-injector", "20"),
                UlimitAdjuster("ulimit-adjuster", "30"),
                logger,
                template,
            ),
        ):
            runtime = supervisor.runtime
            sandbox_id = await runtime.run_pod_sandbox(pod)
            ids = {}
            for name in ("main", "plain"):
                config = container_config(name=name, command=("/bin/sleep", "1000"))
                ids[name] = await runtime.create_container(sandbox_id, config, pod)
                await runtime.start_container(ids[name])
            main, plain = ids["main"], ids["plain"]
            # hook-injector: outside and inside, and in each container.
            for container_id in (main, plain):
                shown = await output(supervisor, container_id, "ls -d /marked /unwanted || true")
                assert shown == "/marked\n"
            prestart = (directory / "prestart.log").read_text()
            assert "demo-hook.sh prestart" in prestart and plain in prestart
            # device-injector.
            shown = await output(supervisor, main, "stat -c '%t:%T %a' /dev/given /dev/own-mode")
            assert shown.splitlines()[0].startswith("1:3 ") and "1:5 600" in shown
            assert await output(supervisor, main, "echo lost > /dev/given") == ""
            mounts = await output(supervisor, main, "grep ' /given ' /proc/mounts")
            assert {"ro", "noexec"} <= set(mounts.split()[3].split(","))
            shown = await output(supervisor, plain, "ls -d /dev/given /given || true")
            assert shown == ""
            # ulimit-adjuster.
            assert await output(supervisor, main, "ulimit -Sl; ulimit -Hl; ulimit -n") == (
                "1024\n4096\n4096\n"
            )
            assert await output(supervisor, plain, "ulimit -Hn") != "4096\n"
            await runtime.remove_pod_sandbox(sandbox_id)
            assert "demo-hook.sh poststop" in (directory / "poststop.log").read_text()
            # logger and template: each event once, and of what it came to.
            for watcher in (logger, template):
                assert watcher.names(main) == LIFE + END == watcher.names(plain)
                assert [name for name in watcher.names(sandbox_id) if "Pod" in name] == [
                    "RunPodSandbox",
                    "StopPodSandbox",
                    "RemovePodSandbox",
                ]
