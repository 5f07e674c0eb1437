"""NamespaceOption: POD, CONTAINER, NODE, TARGET for pid, ipc, network, and user namespaces."""

from __future__ import annotations

import os
import socket

import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument, NotFound
from asupervisor.proto import cri
from tests.conformance.node import Node, Pod


def _container(**options: object) -> cri.LinuxContainerSecurityContext:
    return cri.LinuxContainerSecurityContext(namespace_options=cri.NamespaceOption(**options))  # type: ignore[arg-type]


def _sandbox(**options: object) -> cri.LinuxSandboxSecurityContext:
    return cri.LinuxSandboxSecurityContext(namespace_options=cri.NamespaceOption(**options))  # type: ignore[arg-type]


def _here(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{kind}")


async def test_pid_container_each_container_sees_itself_as_the_first(pod: Pod) -> None:
    async with pod.container(security=_container(pid=cri.CONTAINER)) as container_id:
        assert "sleep" in await pod.sh(container_id, "tr '\\0' ' ' < /proc/1/cmdline")


async def test_pid_pod_containers_see_each_other(pod: Pod) -> None:
    async with (
        pod.container(("sleep", "4242"), security=_container(pid=cri.POD)),
        pod.container(security=_container(pid=cri.POD)) as container_id,
    ):
        processes = await pod.sh(container_id, "ps -o args")
        assert "sleep 4242" in processes
        assert "sleep" not in (await pod.sh(container_id, "tr '\\0' ' ' < /proc/1/cmdline"))


async def test_pid_node_is_the_hosts_and_told_so(node: Node) -> None:
    async with (
        node.pod(node.security_pod(_sandbox(pid=cri.NODE))) as pod,
        pod.container(security=_container(pid=cri.NODE)) as container_id,
    ):
        assert (await pod.sh(container_id, f"tr '\\0' ' ' < /proc/{os.getpid()}/cmdline")).split()
        assert (await pod.sh(container_id, "readlink /proc/self/ns/pid")).strip() == _here("pid")
        assert (
            await node.runtime.pod_sandbox_status(pod.id)
        ).status.linux.namespaces.options.pid == cri.NODE


async def test_pid_target_joins_the_target_container(pod: Pod) -> None:
    async with (
        pod.container(("sleep", "3131"), security=_container(pid=cri.CONTAINER)) as target,
        pod.container(security=_container(pid=cri.TARGET, target_id=target)) as container_id,
    ):
        assert "sleep 3131" in await pod.sh(container_id, "tr '\\0' ' ' < /proc/1/cmdline")


async def test_pid_target_must_name_a_running_container_of_the_same_pod(
    node: Node, pod: Pod
) -> None:
    with node.refused((InvalidArgument, NotFound), "f" * 64):
        await pod.create(security=_container(pid=cri.TARGET, target_id="f" * 64))
    with node.refused(InvalidArgument, "target_id"):
        await pod.create(security=_container(pid=cri.TARGET))
    created = await pod.create(security=_container(pid=cri.CONTAINER))
    with node.refused(FailedPrecondition, created[:12]):
        await pod.run(security=_container(pid=cri.TARGET, target_id=created))


async def test_pid_target_of_another_pod_is_refused(node: Node, pod: Pod) -> None:
    async with pod.container(security=_container(pid=cri.CONTAINER)) as target, node.pod() as other:
        with node.refused(InvalidArgument, target[:12]):
            await other.create(security=_container(pid=cri.TARGET, target_id=target))


async def test_pid_target_is_not_valid_for_a_sandbox(node: Node) -> None:
    node.only_docker("containerd takes it for a sandbox too")
    with node.refused(InvalidArgument, "TARGET"):
        async with node.pod(node.security_pod(_sandbox(pid=cri.TARGET))):
            pass


async def test_ipc_pod_is_shared_by_its_containers_and_not_the_hosts(pod: Pod) -> None:
    async with pod.container() as one, pod.container() as two:
        first = (await pod.sh(one, "readlink /proc/self/ns/ipc")).strip()
        assert first == (await pod.sh(two, "readlink /proc/self/ns/ipc")).strip()
        assert first != _here("ipc")


async def test_ipc_node_is_the_hosts(node: Node) -> None:
    async with (
        node.pod(node.security_pod(_sandbox(ipc=cri.NODE))) as pod,
        pod.container(security=_container(ipc=cri.NODE)) as container_id,
    ):
        assert (
            await node.runtime.pod_sandbox_status(pod.id)
        ).status.linux.namespaces.options.ipc == cri.NODE
        assert (await pod.sh(container_id, "readlink /proc/self/ns/ipc")).startswith("ipc:[")


async def test_network_pod_is_shared_by_its_containers(pod: Pod) -> None:
    async with (
        pod.container(("nc", "-l", "-p", "7070", "-e", "echo", "reached")),
        pod.container() as two,
    ):
        script = (
            "for i in 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 7070 < /dev/null && exit 0; sleep 0.2;"
            " done; exit 1"
        )
        assert (await pod.sh(two, script)).strip() == "reached"


async def test_network_node_shares_the_hosts_network_and_name(node: Node) -> None:
    async with (
        node.pod(node.security_pod(_sandbox(network=cri.NODE))) as pod,
        pod.container(security=_container(network=cri.NODE)) as container_id,
    ):
        status = (await node.runtime.pod_sandbox_status(pod.id)).status
        assert status.linux.namespaces.options.network == cri.NODE
        assert status.network.ip == ""
        assert (await pod.sh(container_id, "hostname")).strip() == socket.gethostname()


async def test_a_container_cannot_have_the_hosts_network_by_itself(node: Node, pod: Pod) -> None:
    node.only_docker("other runtimes take the sandbox's network without a word")
    with node.refused(InvalidArgument, "network"):
        await pod.create(security=_container(network=cri.NODE))


@pytest.mark.parametrize("mode", [cri.CONTAINER, cri.TARGET])
async def test_user_namespace_modes_that_do_not_exist_are_refused(
    node: Node, mode: cri.NamespaceMode
) -> None:
    options = cri.UserNamespace(mode=mode)
    with node.refused(InvalidArgument, "user namespace"):
        async with node.pod(node.security_pod(_sandbox(userns_options=options))):
            pass


async def test_user_namespace_node_works(node: Node) -> None:
    options = cri.UserNamespace(mode=cri.NODE)
    async with (
        node.pod(node.security_pod(_sandbox(userns_options=options))) as pod,
        pod.container(security=_container(userns_options=options)) as container_id,
    ):
        assert (await pod.sh(container_id, "cat /proc/self/uid_map")).split() == [
            "0",
            "0",
            "4294967295",
        ]


async def test_user_namespace_pod_is_refused_with_a_reason_where_it_is_not_announced(
    node: Node,
) -> None:
    node.only_docker("other runtimes may have them")
    mapping = cri.IDMapping(host_id=100000, container_id=0, length=65536)
    options = cri.UserNamespace(mode=cri.POD, uids=[mapping], gids=[mapping])
    with node.refused(InvalidArgument, "user namespace", "Docker"):
        async with node.pod(node.security_pod(_sandbox(userns_options=options))):
            pass


async def test_user_namespace_node_takes_no_mappings(node: Node) -> None:
    node.only_docker("containerd passes over them")
    mapping = cri.IDMapping(host_id=100000, container_id=0, length=65536)
    with node.refused(InvalidArgument, "mappings"):
        async with node.pod(
            node.security_pod(
                _sandbox(userns_options=cri.UserNamespace(mode=cri.NODE, uids=[mapping]))
            )
        ):
            pass
