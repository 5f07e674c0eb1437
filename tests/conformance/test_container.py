"""CreateContainer, StartContainer, ContainerStatus, ListContainers, StopContainer, RemoveContainer
and what a container config says.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from asupervisor.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from asupervisor.proto import cri
from tests.conformance.node import SLEEP, Node, Pod, unique
from tests.harness.pods import until


async def test_a_container_is_created_runs_ends_and_is_removed(node: Node, pod: Pod) -> None:
    container_id = await pod.create(
        ("sh", "-c", "exit 0"), labels={"l": "1"}, annotations={"a.b/c": "ä"}, name="life"
    )
    created = await pod.status(container_id)
    assert created.state == cri.CONTAINER_CREATED
    assert created.metadata.name == "life"
    assert created.created_at > 0
    assert (created.started_at, created.finished_at, created.exit_code) == (0, 0, 0)
    assert dict(created.annotations) == {"a.b/c": "ä"}
    assert dict(created.labels) == {"l": "1"}
    await node.runtime.start_container(container_id)
    ended = await pod.ended(container_id)
    assert (ended.exit_code, ended.reason) == (0, "Completed")
    assert ended.created_at <= ended.started_at
    # containerd writes the start down after it happened: of a short life it can come after the end.
    assert ended.started_at <= ended.finished_at or not node.is_docker
    assert 0 < ended.finished_at <= time.time_ns() + 2_000_000_000
    assert ended.created_at == created.created_at
    await node.runtime.remove_container(container_id)
    with node.refused(NotFound, container_id):
        await pod.status(container_id)


async def test_labels_of_the_image_are_not_the_containers(node: Node, pod: Pod) -> None:
    image = await node.have(node.names.labelled)
    container_id = await pod.create(image=image, labels={"own": "1", "shared": "mine"})
    assert dict((await pod.status(container_id)).labels) == {"own": "1", "shared": "mine"}


async def test_whose_container_it_is_says_its_sandbox(node: Node, pod: Pod) -> None:
    # crictl draws a new uid each time that it reads a pod's config without one.
    other = cri.PodSandboxConfig()
    other.CopyFrom(pod.config)
    other.metadata.uid = unique("uid")
    config = pod.container_config()
    await node.have(config.image.image)
    container_id = await node.runtime.create_container(pod.id, config, other)
    await node.runtime.start_container(container_id)
    assert (await pod.status(container_id)).state == cri.CONTAINER_RUNNING
    listed = await node.runtime.list_containers(cri.ContainerFilter(pod_sandbox_id=pod.id))
    assert container_id in {container.id for container in listed}
    if node.is_docker:
        name = (await pod.status(container_id)).metadata.name
        again = pod.container_config(name=name)
        with node.refused(AlreadyExists, pod.config.metadata.uid):
            await node.runtime.create_container(pod.id, again, pod.config)


async def test_a_running_container_has_no_time_of_its_end(pod: Pod) -> None:
    async with pod.container() as container_id:
        status = await pod.status(container_id)
        assert status.state == cri.CONTAINER_RUNNING
        assert status.started_at >= status.created_at > 0
        assert (status.finished_at, status.exit_code, status.reason) == (0, 0, "")


async def test_a_container_that_fails_says_error_and_its_exit_code(pod: Pod) -> None:
    status = await pod.ended(await pod.run(("sh", "-c", "exit 42")))
    assert (status.exit_code, status.reason) == (42, "Error")


async def test_a_container_that_is_killed_for_memory_says_so(pod: Pod) -> None:
    # Grows until the limit ends it; busybox' dd takes its buffer in one piece. It begins once the
    # start was answered: until then the engine may not watch the memory yet.
    dd = "exec dd if=/dev/zero of=/dev/null bs=200M count=50"
    command = ("sh", "-c", f"until [ -e /tmp/go ]; do sleep 0.1; done; {dd}")
    resources = cri.LinuxContainerResources(
        memory_limit_in_bytes=32 << 20, memory_swap_limit_in_bytes=32 << 20
    )
    container_id = await pod.run(command, resources=resources)
    await pod.sh(container_id, ": >/tmp/go")
    assert (await pod.ended(container_id)).exit_code == 137

    async def is_told() -> bool:
        return (await pod.status(container_id)).reason == "OOMKilled"

    await until(is_told, "the reason is known; engines tell it before or after the end")


async def test_a_container_whose_command_is_not_there_cannot_be_started_and_says_why(
    node: Node, pod: Pod
) -> None:
    container_id = await pod.create(("/no/such/command",))
    with node.refused(FailedPrecondition, "/no/such/command"):
        await node.runtime.start_container(container_id)
    status = await pod.status(container_id)
    assert status.state == cri.CONTAINER_EXITED
    assert status.exit_code != 0
    if node.is_docker:
        assert status.reason == "ContainerCannotRun"
        assert "/no/such/command" in status.message
        assert status.finished_at >= status.started_at > 0
    await node.runtime.remove_container(container_id)


async def test_a_container_starts_once(node: Node, pod: Pod) -> None:
    async with pod.container() as container_id:
        with node.refused(FailedPrecondition, "RUNNING"):
            await node.runtime.start_container(container_id)
    ended = await pod.run(("true",))
    await pod.ended(ended)
    with node.refused(FailedPrecondition, "EXITED"):
        await node.runtime.start_container(ended)


async def test_attempts_count_restarts(node: Node, pod: Pod) -> None:
    name = unique("restarted")
    ids = []
    for attempt in range(3):
        config = pod.container_config(("true",), name=name)
        config.metadata.attempt = attempt
        ids.append(await node.runtime.create_container(pod.id, config, pod.config))
        assert (await pod.status(ids[-1])).metadata.attempt == attempt
    assert len(set(ids)) == 3


async def test_containers_are_listed_by_id_state_sandbox_and_labels(node: Node, pod: Pod) -> None:
    label = unique("label")
    created = await pod.create(labels={"which": label, "n": "1"})
    async with pod.container(labels={"which": label, "n": "2"}) as running:

        async def found(**wanted: object) -> set[str]:
            selected = cri.ContainerFilter(label_selector={"which": label}, **wanted)  # type: ignore[arg-type]
            plain = {item.id for item in await node.runtime.list_containers(selected)}
            assert plain == {
                item.id for item in await node.runtime.list_containers(selected, stream=True)
            }
            return plain

        assert await found() == {created, running}
        assert await found(pod_sandbox_id=pod.id) == {created, running}
        assert await found(pod_sandbox_id="f" * 64) == set()
        assert await found(state=cri.ContainerStateValue(state=cri.CONTAINER_CREATED)) == {created}
        assert await found(state=cri.ContainerStateValue(state=cri.CONTAINER_RUNNING)) == {running}
        assert await found(id=running) == {running}
        item = (await node.runtime.list_containers(cri.ContainerFilter(id=running)))[0]
        status = await pod.status(running)
        assert item.pod_sandbox_id == pod.id
        assert item.metadata == status.metadata
        assert item.labels == status.labels
        assert item.created_at == status.created_at
        assert item.image_id == status.image_id


async def test_a_container_is_found_by_an_unambiguous_prefix(node: Node, pod: Pod) -> None:
    async with pod.container() as container_id:
        prefix = container_id[:13]
        assert (await pod.status(prefix)).id == container_id
        assert [
            item.id for item in await node.runtime.list_containers(cri.ContainerFilter(id=prefix))
        ] == [container_id]
        assert (await node.runtime.exec_sync(prefix, ("true",))).exit_code == 0
        await node.runtime.stop_container(prefix, 0)
        await node.runtime.remove_container(prefix)
        with node.refused(NotFound, container_id):
            await pod.status(container_id)


async def test_verbose_status_is_json_with_the_pid(node: Node, pod: Pod) -> None:
    async with pod.container(
        envs=[cri.KeyValue(key="SECRET", value=b"do not tell")]
    ) as container_id:
        answer = await node.runtime.container_status(container_id, verbose=True)
        info = json.loads(answer.info["info"])
        assert os.path.exists(f"/proc/{info['pid']}")
        if node.is_docker:
            assert info["inspect"]["Id"] == container_id
            assert "do not tell" not in answer.info["info"]


async def test_a_container_runs_the_command_with_its_arguments(pod: Pod) -> None:
    async with pod.container(("sleep",), args=["77777"]) as container_id:
        assert await pod.sh(
            container_id,
            "tr '\\0' ' ' < /proc/1/cmdline | grep -c . ; ps -o args | grep 'sleep 77777'",
        )


async def test_arguments_alone_replace_the_images_and_neither_takes_the_images_own(
    node: Node, pod: Pod
) -> None:
    async with pod.container((), args=["sleep", "88888"]) as container_id:
        assert "sleep 88888" in await pod.sh(container_id, "ps -o args")
    # The image's own command is a shell, which waits on its standard input.
    async with pod.container((), stdin=True) as container_id:
        assert (await pod.status(container_id)).state == cri.CONTAINER_RUNNING


async def test_working_directory(pod: Pod) -> None:
    async with pod.container(working_dir="/tmp") as container_id:
        assert (await pod.sh(container_id, "pwd; readlink /proc/1/cwd")).split() == ["/tmp", "/tmp"]


async def test_environment_is_given_byte_by_byte(pod: Pod) -> None:
    envs = [
        cri.KeyValue(key="PLAIN", value=b"1"),
        cri.KeyValue(key="EMPTY", value=b""),
        cri.KeyValue(key="SPACED", value=b" a=b  c\nd "),
        cri.KeyValue(key="WIDE", value="päivä 日".encode()),
        cri.KeyValue(key="PATH", value=b"/bin:/elsewhere"),
    ]
    async with pod.container(envs=envs) as container_id:
        answer = await pod.node.runtime.exec_sync(
            container_id, ("sh", "-c", "tr '\\0' '|' < /proc/1/environ")
        )
        for entry in envs:
            assert entry.key.encode() + b"=" + entry.value + b"|" in answer.stdout


async def test_a_value_that_is_not_utf8_is_given_or_refused(node: Node, pod: Pod) -> None:
    envs = [cri.KeyValue(key="BYTES", value=b"\xff\xfe")]
    if node.is_docker:
        with node.refused(InvalidArgument, "BYTES", "UTF-8"):
            await pod.create(envs=envs)


async def test_stdin_stays_open_and_without_it_is_empty(pod: Pod) -> None:
    async with pod.container(("cat",), stdin=True) as container_id:
        assert (await pod.status(container_id)).state == cri.CONTAINER_RUNNING
    assert (await pod.ended(await pod.run(("cat",)))).exit_code == 0


async def test_tty_gives_a_terminal_and_without_it_there_is_none(pod: Pod) -> None:
    async with pod.container(
        ("sh", "-c", "test -t 1 && exec sleep 100000"), tty=True
    ) as container_id:
        assert (await pod.status(container_id)).state == cri.CONTAINER_RUNNING
    assert (await pod.ended(await pod.run(("sh", "-c", "test -t 1")))).exit_code == 1


async def test_log_path_is_told_as_the_whole_path(node: Node) -> None:
    directory = f"{node.log_root}/{unique('logs')}"
    os.makedirs(directory)
    async with node.pod(log_directory=directory) as pod:
        container_id = await pod.create(log_path="main/0.log")
        assert (await pod.status(container_id)).log_path == f"{directory}/main/0.log"


async def test_the_log_file_is_there_when_the_start_is_answered(node: Node) -> None:
    directory = f"{node.log_root}/{unique('logs')}"
    os.makedirs(directory)
    async with node.pod(log_directory=directory) as pod:
        for number in range(3):
            container_id = await pod.create(log_path=f"{number}.log")
            assert not os.path.exists(f"{directory}/{number}.log")
            await node.runtime.start_container(container_id)
            assert os.path.exists(f"{directory}/{number}.log")


async def test_the_image_of_a_container_is_the_same_in_every_call(node: Node, pod: Pod) -> None:
    container_id = await pod.create()
    status = await pod.status(container_id)
    item = (await node.runtime.list_containers(cri.ContainerFilter(id=container_id)))[0]
    image_id = await node.images.pull_image(node.names.busybox)
    assert status.image_id == image_id or (not status.image_id and not node.is_docker)
    assert item.image_id == image_id or (not item.image_id and not node.is_docker)
    assert (await node.images.image_status(node.names.busybox)).image.id == image_id
    assert status.image_ref
    config = pod.container_config(image=image_id)
    config.image.user_specified_image = "as/the/manifest:has-it"
    by_id = await pod.status(await node.runtime.create_container(pod.id, config, pod.config))
    assert by_id.image_id == status.image_id
    if node.is_docker:
        assert by_id.image.user_specified_image == "as/the/manifest:has-it"


async def test_the_same_container_twice_is_created_once(node: Node, pod: Pod) -> None:
    config = pod.container_config(name=unique("same"))
    ids: list[str] = []

    async def create() -> None:
        ids.append(await node.runtime.create_container(pod.id, config, pod.config))

    node.only_docker("containerd answers the second that the name is reserved")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create)
        tasks.start_soon(create)
    assert len(set(ids)) == 1


async def test_calls_about_what_is_not_there_say_not_found(node: Node, pod: Pod) -> None:
    nobody = "f" * 64
    config = pod.container_config()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: node.runtime.container_status(nobody),
        lambda: node.runtime.start_container(nobody),
        lambda: node.runtime.exec_sync(nobody, ("true",)),
        lambda: node.runtime.exec(nobody, ("true",)),
        lambda: node.runtime.attach(nobody),
        lambda: node.runtime.port_forward(nobody),
        lambda: node.runtime.container_stats(nobody),
        lambda: node.runtime.pod_sandbox_stats(nobody),
        lambda: node.runtime.update_container_resources(
            nobody, cri.LinuxContainerResources(cpu_shares=2)
        ),
        lambda: node.runtime.reopen_container_log(nobody),
        lambda: node.runtime.create_container(nobody, config, pod.config),
        lambda: node.runtime.checkpoint_container(nobody, "/tmp/x.tar"),
    ]
    for call in calls:
        with node.refused(NotFound, nobody):
            await call()


async def test_a_container_without_name_or_image_is_refused(node: Node, pod: Pod) -> None:
    node.only_docker("containerd takes either")
    nameless = pod.container_config()
    nameless.metadata.Clear()
    with node.refused(InvalidArgument, "name"):
        await node.runtime.create_container(pod.id, nameless, pod.config)
    imageless = pod.container_config()
    imageless.image.Clear()
    with node.refused(InvalidArgument, "image"):
        await node.runtime.create_container(pod.id, imageless, pod.config)


async def test_an_image_may_be_named_as_a_status_names_it(node: Node, pod: Pod) -> None:
    node.only_docker("only Docker's shims have such an image_ref")
    first = await pod.create()
    reference = (await pod.status(first)).image_ref
    assert reference.startswith("docker-pullable://")
    for image in (reference, f"docker://{(await pod.status(first)).image_id}"):
        config = pod.container_config(image=image)
        container_id = await node.runtime.create_container(pod.id, config, pod.config)
        assert (await pod.status(container_id)).image_id == (await pod.status(first)).image_id
        await node.runtime.start_container(container_id)
    unknown = "docker-pullable://localhost/no/such@sha256:" + "0" * 64
    with node.refused(NotFound, unknown):
        config = pod.container_config(image=unknown)
        await node.runtime.create_container(pod.id, config, pod.config)


async def test_an_image_that_is_not_there_is_named(node: Node, pod: Pod) -> None:
    config = pod.container_config(image="localhost/no/such:image")
    with node.refused(NotFound, "localhost/no/such:image"):
        await node.runtime.create_container(pod.id, config, pod.config)


_UNKNOWN: Any = 9


def _namespaces(**modes: Any) -> cri.LinuxContainerSecurityContext:
    return cri.LinuxContainerSecurityContext(namespace_options=cri.NamespaceOption(**modes))


async def test_what_is_not_of_this_platform_or_cannot_be_is_refused(node: Node, pod: Pod) -> None:
    node.only_docker("other runtimes pass over it")
    for fields, word in (
        ({"windows": cri.WindowsContainerConfig()}, "windows"),
        ({"labels": {"io.kubernetes.docker.type": "podsandbox"}}, "io.kubernetes.docker.type"),
        ({"labels": {"annotation.x": "1"}}, "annotation.x"),
        ({"envs": [cri.KeyValue(key="A=B", value=b"")]}, "A=B"),
        ({"log_path": "/absolute"}, "/absolute"),
        ({"log_path": "../above.log"}, "../above.log"),
        ({"args": ["cut\0off"]}, "zero byte"),
        ({"envs": [cri.KeyValue(key="A", value=b"cut\0off")]}, "zero byte"),
        ({"stop_signal": 99}, "stop_signal 99"),
        ({"mounts": [cri.Mount(container_path="/a", host_path="relative")]}, "relative"),
        (
            {"mounts": [cri.Mount(container_path="/a", host_path="/tmp", propagation=_UNKNOWN)]},
            "propagation 9",
        ),
        ({"devices": [cri.Device(host_path="dev/null")]}, "dev/null"),
        ({"devices": [cri.Device(host_path="/etc/passwd")]}, "/etc/passwd"),
        (
            {
                "security": cri.LinuxContainerSecurityContext(
                    seccomp=cri.SecurityProfile(profile_type=_UNKNOWN)
                )
            },
            "profile_type 9",
        ),
        (
            {"security": cri.LinuxContainerSecurityContext(supplemental_groups_policy=_UNKNOWN)},
            "supplemental_groups_policy 9",
        ),
        (
            {
                "security": cri.LinuxContainerSecurityContext(
                    run_as_user=cri.Int64Value(value=2**31)
                )
            },
            "run_as_user 2147483648",
        ),
        (
            {"security": cri.LinuxContainerSecurityContext(supplemental_groups=[2**31])},
            "supplemental_groups 2147483648",
        ),
        ({"security": _namespaces(network=cri.CONTAINER)}, "network namespace mode CONTAINER"),
        ({"security": _namespaces(ipc=cri.TARGET)}, "ipc namespace mode TARGET"),
        ({"security": _namespaces(pid=_UNKNOWN)}, "pid 9"),
    ):
        with node.refused(InvalidArgument, word):
            await pod.create(SLEEP, **fields)


async def test_checkpoints_are_refused_with_a_reason(node: Node, pod: Pod) -> None:
    node.only_docker("a runtime with CRIU may do it")
    async with pod.container() as container_id:
        with node.refused(Unimplemented, container_id[:12], "checkpoint"):
            await node.runtime.checkpoint_container(container_id, "/tmp/checkpoint.tar")
        with node.refused(InvalidArgument, "location"):
            await node.runtime.checkpoint_container(container_id, "relative.tar")
        with node.refused(Unimplemented, pod.id[:12]):
            await node.runtime.checkpoint_pod(pod.id, "/tmp/checkpoint.tar", (container_id,))
    with node.refused(Unimplemented, "/tmp/checkpoint.tar"):
        await node.runtime.restore_pod("/tmp/checkpoint.tar", pod.config)


async def test_exec_of_a_container_that_does_not_run_is_refused(node: Node, pod: Pod) -> None:
    created = await pod.create()
    with node.refused((FailedPrecondition, DeadlineExceeded), created[:12]):
        await node.runtime.exec_sync(created, ("true",))
