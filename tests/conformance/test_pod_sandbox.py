"""RunPodSandbox, PodSandboxStatus, ListPodSandbox, StopPodSandbox, RemovePodSandbox and what a
sandbox config says.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument, NotFound, Unimplemented
from asupervisor.proto import cri
from tests.conformance.node import Node, Pod, unique
from tests.harness.session import CONFORMANCE_SLICE


async def test_a_sandbox_that_runs_is_ready_and_told_as_it_was_asked_for(node: Node) -> None:
    before = time.time_ns()
    config = node.pod_config(
        labels={"a": "1", "with/slash.dot": "x"}, annotations={"note": "päivä", "empty": ""}
    )
    config.metadata.attempt = 3
    async with node.pod(config) as pod:
        status = (await node.runtime.pod_sandbox_status(pod.id)).status
        assert status.id == pod.id
        assert status.metadata == config.metadata
        assert status.state == cri.SANDBOX_READY
        assert before - 2_000_000_000 <= status.created_at <= time.time_ns() + 2_000_000_000
        assert dict(status.labels) == dict(config.labels)
        assert dict(status.annotations) == dict(config.annotations)
        assert status.runtime_handler == ""
        assert status.network.ip
        options = status.linux.namespaces.options
        assert (options.network, options.ipc, options.pid) == (cri.POD, cri.POD, cri.POD)


async def test_verbose_status_is_json_with_the_pid_of_the_sandbox(node: Node) -> None:
    async with node.pod() as pod:
        assert not (await node.runtime.pod_sandbox_status(pod.id)).info
        info = json.loads(
            (await node.runtime.pod_sandbox_status(pod.id, verbose=True)).info["info"]
        )
        assert os.path.exists(f"/proc/{info['pid']}/ns/net")
        if node.is_docker:
            assert info["inspect"]["Id"] == pod.id


async def test_sandboxes_are_listed_by_id_state_and_labels(node: Node) -> None:
    label = unique("label")
    async with (
        node.pod(labels={"which": label, "n": "1"}) as one,
        node.pod(labels={"which": label, "n": "2"}) as two,
    ):
        by_label = await node.runtime.list_pod_sandbox(
            cri.PodSandboxFilter(label_selector={"which": label})
        )
        assert {item.id for item in by_label} == {one.id, two.id}
        assert {item.id: item.metadata.name for item in by_label}[
            one.id
        ] == one.config.metadata.name
        both = await node.runtime.list_pod_sandbox(
            cri.PodSandboxFilter(label_selector={"which": label, "n": "2"})
        )
        assert [item.id for item in both] == [two.id]
        assert [
            item.id for item in await node.runtime.list_pod_sandbox(cri.PodSandboxFilter(id=one.id))
        ] == [one.id]
        await node.runtime.stop_pod_sandbox(two.id)
        for state, expected in ((cri.SANDBOX_READY, one.id), (cri.SANDBOX_NOTREADY, two.id)):
            wanted = cri.PodSandboxFilter(
                state=cri.PodSandboxStateValue(state=state), label_selector={"which": label}
            )
            assert [item.id for item in await node.runtime.list_pod_sandbox(wanted)] == [expected]
            assert [
                item.id for item in await node.runtime.list_pod_sandbox(wanted, stream=True)
            ] == [expected]
        assert await node.runtime.list_pod_sandbox(cri.PodSandboxFilter(id="0" * 64)) == []
        assert {one.id, two.id} <= {item.id for item in await node.runtime.list_pod_sandbox()}


async def test_a_sandbox_is_found_by_an_unambiguous_prefix_of_its_id(node: Node, pod: Pod) -> None:
    assert [
        item.id
        for item in await node.runtime.list_pod_sandbox(cri.PodSandboxFilter(id=pod.id[:13]))
    ] == [pod.id]
    assert (await node.runtime.pod_sandbox_status(pod.id[:13])).status.id == pod.id


async def test_a_stopped_sandbox_stays_until_it_is_removed_and_both_can_be_repeated(
    node: Node,
) -> None:
    async with node.pod() as pod:
        for _ in range(2):
            await node.runtime.stop_pod_sandbox(pod.id)
            assert (
                await node.runtime.pod_sandbox_status(pod.id)
            ).status.state == cri.SANDBOX_NOTREADY
        for _ in range(2):
            await node.runtime.remove_pod_sandbox(pod.id)
        with node.refused(NotFound, pod.id):
            await node.runtime.pod_sandbox_status(pod.id)
        await node.runtime.stop_pod_sandbox(pod.id)


async def test_stop_and_remove_of_a_sandbox_that_never_was_succeed(node: Node) -> None:
    await node.runtime.stop_pod_sandbox("f" * 64)
    await node.runtime.remove_pod_sandbox("f" * 64)


async def test_stopping_a_sandbox_stops_what_runs_in_it_and_removing_removes_it(node: Node) -> None:
    async with node.pod() as pod:
        stubborn = await pod.run(("sh", "-c", "trap '' TERM; while :; do sleep 1; done"))
        created = await pod.create()
        await node.runtime.stop_pod_sandbox(pod.id)
        assert (await pod.status(stubborn)).state == cri.CONTAINER_EXITED
        await node.runtime.remove_pod_sandbox(pod.id)
        for container_id in (stubborn, created):
            with node.refused(NotFound, container_id):
                await node.runtime.container_status(container_id)


async def test_a_running_sandbox_can_be_removed_at_once(node: Node) -> None:
    async with node.pod() as pod:
        await pod.run()
        await node.runtime.remove_pod_sandbox(pod.id)
        with node.refused(NotFound, pod.id):
            await node.runtime.pod_sandbox_status(pod.id)


async def test_a_further_attempt_of_a_pod_is_a_sandbox_of_its_own(node: Node) -> None:
    config = node.pod_config()
    async with node.pod(config) as first:
        await node.runtime.stop_pod_sandbox(first.id)
        again = cri.PodSandboxConfig()
        again.CopyFrom(config)
        again.metadata.attempt = 1
        async with node.pod(again) as second:
            assert second.id != first.id
            assert (await node.runtime.pod_sandbox_status(second.id)).status.metadata.attempt == 1


async def test_no_container_is_created_in_a_stopped_sandbox(node: Node) -> None:
    node.only_docker("containerd creates it all the same")
    async with node.pod() as pod:
        await node.runtime.stop_pod_sandbox(pod.id)
        with node.refused(FailedPrecondition, "not ready"):
            await pod.create()


async def test_hostname(node: Node) -> None:
    for name in ("a-host-name", "h" * 64):
        async with node.pod(hostname=name) as pod:
            assert (await pod.see("hostname")).strip() == name


async def test_a_hostname_that_is_too_long_is_refused(node: Node) -> None:
    with node.refused(InvalidArgument, "hostname"):
        async with node.pod(hostname="h" * 65):
            pass


async def test_dns_config_is_what_a_container_reads(node: Node) -> None:
    dns = cri.DNSConfig(
        servers=["10.1.2.3", "fd00::1"],
        searches=["a.example", "b.example"],
        options=["ndots:5", "timeout:2"],
    )
    async with node.pod(dns_config=dns) as pod:
        lines = (await pod.see("cat /etc/resolv.conf")).splitlines()
        assert [line for line in lines if line.startswith("nameserver")] == [
            "nameserver 10.1.2.3",
            "nameserver fd00::1",
        ]
        assert "search a.example b.example" in lines
        assert "options ndots:5 timeout:2" in lines
        assert len(lines) == 4


async def test_safe_and_unsafe_sysctls(node: Node) -> None:
    sysctls = {
        "kernel.shm_rmid_forced": "1",
        "net.ipv4.ip_local_port_range": "32000\t60000",
        "fs.mqueue.msg_max": "97",
    }
    async with (
        node.pod(linux=cri.LinuxPodSandboxConfig(sysctls=sysctls)) as pod,
        pod.container() as container_id,
    ):
        assert (await pod.sh(container_id, "cat /proc/sys/kernel/shm_rmid_forced")).strip() == "1"
        assert (
            await pod.sh(container_id, "cat /proc/sys/net/ipv4/ip_local_port_range")
        ).split() == ["32000", "60000"]
        assert (await pod.sh(container_id, "cat /proc/sys/fs/mqueue/msg_max")).strip() == "97"


@pytest.mark.parametrize("name", ["vm.swappiness", "kernel.panic", "no.such.thing"])
async def test_a_sysctl_that_no_pod_can_have_is_refused(node: Node, name: str) -> None:
    with node.refused(InvalidArgument, name):
        async with node.pod(linux=cri.LinuxPodSandboxConfig(sysctls={name: "1"})):
            pass


async def test_a_sysctl_that_the_kernel_refuses_is_told_and_leaves_nothing(node: Node) -> None:
    node.only_docker("other runtimes answer with another code")
    config = node.pod_config(
        linux=cri.LinuxPodSandboxConfig(sysctls={"net.ipv4.ip_forward": "perhaps"})
    )
    with node.refused(FailedPrecondition, config.metadata.name, "ip_forward"):
        await node.runtime.run_pod_sandbox(config)
    assert not [
        sandbox
        for sandbox in await node.runtime.list_pod_sandbox()
        if sandbox.metadata.uid == config.metadata.uid
    ]


async def test_what_the_cri_does_not_know_and_ids_that_are_none_are_refused(node: Node) -> None:
    node.only_docker("other runtimes pass over it")
    unknown: Any = 9
    context = cri.LinuxSandboxSecurityContext
    for wrong, word in (
        (context(namespace_options=cri.NamespaceOption(pid=unknown)), "pid 9"),
        (context(apparmor=cri.SecurityProfile(profile_type=unknown)), "profile_type 9"),
        (context(supplemental_groups_policy=unknown), "supplemental_groups_policy 9"),
        (context(run_as_user=cri.Int64Value(value=2**31)), "2147483648"),
        (context(supplemental_groups=[2**31]), "2147483648"),
    ):
        with node.refused(InvalidArgument, word):
            await node.runtime.run_pod_sandbox(node.security_pod(wrong))


async def test_a_network_sysctl_of_a_pod_on_the_hosts_network_is_refused(node: Node) -> None:
    context = cri.LinuxSandboxSecurityContext(
        namespace_options=cri.NamespaceOption(network=cri.NODE)
    )
    linux = cri.LinuxPodSandboxConfig(
        security_context=context, sysctls={"net.ipv4.ip_forward": "1"}
    )
    with node.refused(InvalidArgument, "net.ipv4.ip_forward"):
        async with node.pod(linux=linux):
            pass


async def test_an_unknown_runtime_handler_is_refused_and_leaves_nothing(node: Node) -> None:
    config = node.pod_config(labels={"which": unique("label")})
    with node.refused(InvalidArgument, "no-such-handler"):
        async with node.pod(config, handler="no-such-handler"):
            pass
    assert (
        await node.runtime.list_pod_sandbox(cri.PodSandboxFilter(label_selector=config.labels))
        == []
    )


async def test_each_handler_that_status_lists_runs_a_pod_and_is_told_back(node: Node) -> None:
    node.only_docker("other runtimes list handlers that may need software of their own")
    handlers = [
        handler.name
        for handler in node.status.runtime_handlers
        if handler.name in ("runc", "io.containerd.runc.v2")
    ]
    assert "runc" in handlers
    for handler in handlers:
        async with node.pod(handler=handler) as pod, pod.container():
            assert (await node.runtime.pod_sandbox_status(pod.id)).status.runtime_handler == handler
            items = await node.runtime.list_pod_sandbox(cri.PodSandboxFilter(id=pod.id))
            assert [item.runtime_handler for item in items] == [handler]


async def test_the_cgroup_parent_holds_the_sandbox_and_its_containers(node: Node) -> None:
    if (await node.runtime.runtime_config()).linux.cgroup_driver == cri.SYSTEMD:
        name = f"{CONFORMANCE_SLICE}-{unique('p').replace('-', '_')}"
        parent = f"/{CONFORMANCE_SLICE}.slice/{name}.slice"
    else:
        parent = f"/{CONFORMANCE_SLICE}/{unique('parent')}"
    async with (
        node.pod(linux=cri.LinuxPodSandboxConfig(cgroup_parent=parent)) as pod,
        pod.container() as container_id,
    ):
        info = json.loads(
            (await node.runtime.container_status(container_id, verbose=True)).info["info"]
        )
        lines = Path(f"/proc/{info['pid']}/cgroup").read_text().splitlines()
        assert any(os.path.basename(parent) in line for line in lines)


async def test_a_config_without_metadata_is_refused(node: Node) -> None:
    with node.refused(InvalidArgument, "metadata"):
        await node.runtime.run_pod_sandbox(cri.PodSandboxConfig())


async def test_what_is_not_of_this_platform_or_cannot_be_is_refused(node: Node) -> None:
    node.only_docker("other runtimes pass over it")
    for fields, word in (
        ({"windows": cri.WindowsPodSandboxConfig()}, "windows"),
        ({"labels": {"annotation.x": "1"}}, "annotation.x"),
        ({"port_mappings": [cri.PortMapping(container_port=70000)]}, "70000"),
        (
            {
                "port_mappings": [
                    cri.PortMapping(container_port=80, host_port=8080, host_ip="nowhere")
                ]
            },
            "nowhere",
        ),
        ({"dns_config": cri.DNSConfig(servers=["nowhere"])}, "nowhere"),
        ({"log_directory": "not/absolute"}, "not/absolute"),
    ):
        with node.refused(InvalidArgument, word):
            async with node.pod(**fields):
                pass


async def test_resources_and_overhead_are_kept_and_can_be_changed(node: Node) -> None:
    resources = cri.LinuxContainerResources(cpu_shares=512, memory_limit_in_bytes=256 << 20)
    overhead = cri.LinuxContainerResources(memory_limit_in_bytes=16 << 20)
    linux = cri.LinuxPodSandboxConfig(resources=resources, overhead=overhead)
    async with node.pod(linux=linux) as pod:
        changed = cri.LinuxContainerResources(cpu_shares=1024, memory_limit_in_bytes=512 << 20)
        try:
            await node.runtime.update_pod_sandbox_resources(pod.id, resources=changed)
        except Unimplemented:
            assert not node.is_docker
        assert (await node.runtime.pod_sandbox_status(pod.id)).status.state == cri.SANDBOX_READY
        if node.is_docker:
            info = json.loads(
                (await node.runtime.pod_sandbox_status(pod.id, verbose=True)).info["info"]
            )
            assert info["resources"]["memory_limit_in_bytes"] == str(512 << 20)
            assert info["overhead"]["memory_limit_in_bytes"] == str(16 << 20)


async def test_resources_of_a_sandbox_that_is_not_there_cannot_be_changed(node: Node) -> None:
    with node.refused(NotFound, "f" * 64):
        await node.runtime.update_pod_sandbox_resources(
            "f" * 64, resources=cri.LinuxContainerResources(cpu_shares=2)
        )
