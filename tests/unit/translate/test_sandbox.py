"""A CRI sandbox as an engine container, field by field as the peers make it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.checkpoint import CheckpointPort
from asupervisor.translate.engine_facts import EngineFacts
from asupervisor.translate.sandbox import (
    SandboxPlan,
    check_sandbox_config,
    plan_sandbox,
    resolv_conf,
    sandbox_checkpoint,
    sandbox_name,
)
from tests.harness.pods import pod_config

FACTS = EngineFacts(api_version=(1, 41))


def plan(
    config: cri.PodSandboxConfig,
    handler: str = "",
    facts: EngineFacts = FACTS,
    publish_ports: bool = False,
) -> SandboxPlan:
    request = cri.RunPodSandboxRequest(config=config, runtime_handler=handler)
    before = request.SerializeToString(deterministic=True)
    made = plan_sandbox(
        request,
        image="pause",
        engine_network_mode="none",
        publish_ports=publish_ports,
        facts=facts,
        profile=b"{}",
    )
    assert request.SerializeToString(deterministic=True) == before, "a request is not changed"
    return made


def body(config: cri.PodSandboxConfig, **settings: Any) -> dict[str, Any]:
    return plan(config, **settings).body


def test_what_every_sandbox_has() -> None:
    config = pod_config(
        "web",
        linux=cri.LinuxPodSandboxConfig(
            cgroup_parent="/kubepods/pod1", sysctls={"net.ipv4.ip_forward": "1"}
        ),
    )
    made = body(config)
    host = made["HostConfig"]
    assert made["Image"] == "pause" and made["Healthcheck"] == {"Test": ["NONE"]}
    expected = {
        "NetworkMode": "none",
        "IpcMode": "shareable",
        "PidMode": "",
        "CpuShares": 2,
        "OomScoreAdj": -998,
        "MemorySwap": 0,
        "ShmSize": 64 << 20,
        "CgroupParent": "/kubepods/pod1",
        "Sysctls": {"net.ipv4.ip_forward": "1"},
        "RestartPolicy": {"Name": "no"},
        "Privileged": False,
    }
    assert {key: host[key] for key in expected} == expected
    assert "no-new-privileges" in host["SecurityOpt"]
    assert "Runtime" not in host, "the engine's default"
    assert body(config, handler="kata")["HostConfig"]["Runtime"] == "kata"
    assert body(config, facts=replace(FACTS, oom_floor=0))["HostConfig"]["OomScoreAdj"] == 0
    assert sandbox_name(config.metadata) == "k8s_POD_web_default_uid-web_0"


def test_a_pod_on_the_host_network_has_neither_hostname_nor_ports_of_its_own() -> None:
    options = cri.NamespaceOption(network=cri.NODE, ipc=cri.NODE, pid=cri.NODE)
    linux = cri.LinuxPodSandboxConfig(
        security_context=cri.LinuxSandboxSecurityContext(namespace_options=options)
    )
    config = pod_config(
        "web",
        hostname="web",
        linux=linux,
        port_mappings=[cri.PortMapping(container_port=80, host_port=80)],
    )
    made = body(config, publish_ports=True)
    assert {
        key: made["HostConfig"][key] for key in ("NetworkMode", "IpcMode", "PidMode")
    } == dict.fromkeys(("NetworkMode", "IpcMode", "PidMode"), "host")
    assert "Hostname" not in made and "ExposedPorts" not in made
    assert sandbox_checkpoint(config, "").host_network


def test_a_plan_holds_what_the_verb_needs_besides_the_body() -> None:
    made = plan(pod_config("web"), handler="kata")
    assert (made.subject, made.name) == (
        "pod default/web",
        sandbox_name(pod_config("web").metadata),
    )
    assert made.checkpoint == sandbox_checkpoint(pod_config("web"), "kata")
    assert made.resolv_conf is None, "the engine's own is kept"
    dns = cri.DNSConfig(servers=["192.0.2.1"])
    assert plan(pod_config("web", dns_config=dns)).resolv_conf == "nameserver 192.0.2.1\n"


def test_the_default_handlers_leave_the_runtime_to_the_engine() -> None:
    for handler in ("", "docker"):
        made = plan(pod_config("web"), handler=handler)
        assert "Runtime" not in made.body["HostConfig"]
        assert made.checkpoint.runtime_handler == handler


def test_the_engine_publishes_ports_only_where_the_network_plugin_leaves_them_to_it() -> None:
    ports = [
        cri.PortMapping(protocol=cri.TCP, container_port=80, host_port=8080),
        cri.PortMapping(protocol=cri.UDP, container_port=53, host_port=5353, host_ip="127.0.0.1"),
        cri.PortMapping(protocol=cri.TCP, container_port=81),
    ]
    config = pod_config("web", port_mappings=ports)
    assert "ExposedPorts" not in body(config)
    made = body(config, publish_ports=True)
    assert set(made["ExposedPorts"]) == {"80/tcp", "53/udp"}, (
        "a port without a host port is not published"
    )
    assert made["HostConfig"]["PortBindings"]["53/udp"] == [
        {"HostIp": "127.0.0.1", "HostPort": "5353"}
    ]
    assert sandbox_checkpoint(config, "kata").port_mappings == (
        CheckpointPort("tcp", 80, 8080, ""),
        CheckpointPort("udp", 53, 5353, "127.0.0.1"),
        CheckpointPort("tcp", 81, 0, ""),
    )


def test_a_fresh_checkpoint_is_not_complete() -> None:
    checkpoint = sandbox_checkpoint(pod_config("web", attempt=3), "kata")
    assert not checkpoint.complete
    assert (checkpoint.name, checkpoint.namespace, checkpoint.uid, checkpoint.attempt) == (
        "web",
        "default",
        "uid-web",
        3,
    )
    assert checkpoint.runtime_handler == "kata"


@pytest.mark.parametrize(
    ("dns", "text"),
    [
        (cri.DNSConfig(), ""),
        (
            cri.DNSConfig(servers=["192.0.2.1", "2001:db8::1"]),
            "nameserver 192.0.2.1\nnameserver 2001:db8::1\n",
        ),
        (
            cri.DNSConfig(
                servers=["192.0.2.1"], searches=["a.test", "b.test"], options=["ndots:5", "edns0"]
            ),
            "nameserver 192.0.2.1\nsearch a.test b.test\noptions ndots:5 edns0\n",
        ),
    ],
)
def test_resolv_conf(dns: cri.DNSConfig, text: str) -> None:
    assert resolv_conf(dns) == text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"metadata": cri.PodSandboxMetadata(name="web", namespace="default")}, "uid"),
        ({"metadata": cri.PodSandboxMetadata()}, "metadata"),
        ({"hostname": "x" * 65}, "hostname"),
        ({"hostname": "ü" * 33}, "hostname"),
        ({"hostname": "web\n192.0.2.66 kubernetes.default"}, "hostname"),
        ({"hostname": "web evil"}, "hostname"),
        ({"dns_config": cri.DNSConfig(servers=["fe80::1%a\nsearch evil"])}, "DNS server"),
        ({"dns_config": cri.DNSConfig(servers=["fe80::1%eth0 192.0.2.66"])}, "DNS server"),
        ({"dns_config": cri.DNSConfig(searches=["a.test\u2028evil"])}, "search domain"),
        ({"dns_config": cri.DNSConfig(options=["ndots:5\0"])}, "option"),
        (
            {"metadata": cri.PodSandboxMetadata(name="a;K8S_POD_UID=0", namespace="b", uid="c")},
            "semicolon",
        ),
        (
            {"metadata": cri.PodSandboxMetadata(name="a", namespace="b\n", uid="c")},
            "namespace",
        ),
        (
            {"linux": cri.LinuxPodSandboxConfig(sysctls={"net/../kernel/panic": "1"})},
            "not the name of a kernel setting",
        ),
        ({"linux": cri.LinuxPodSandboxConfig(sysctls={"net.a\nb": "1"})}, "sysctl"),
        (
            {
                "port_mappings": [
                    cri.PortMapping(container_port=80, host_port=80, host_ip="fe80::1%a b")
                ]
            },
            "host_ip",
        ),
        ({"labels": {"io.kubernetes.container.name": "mine"}}, "io.kubernetes.container.name"),
        (
            {"dns_config": cri.DNSConfig(searches=["a.test\nnameserver 192.0.2.66"])},
            "search domain",
        ),
        ({"dns_config": cri.DNSConfig(searches=["a.test", ""])}, "search domain"),
        ({"dns_config": cri.DNSConfig(options=["ndots:5 debug"])}, "option"),
        ({"port_mappings": [cri.PortMapping(container_port=0, host_port=80)]}, "port mapping"),
        ({"port_mappings": [cri.PortMapping(container_port=80, host_port=65536)]}, "port mapping"),
        (
            {"port_mappings": [cri.PortMapping(container_port=80, host_port=80, host_ip="here")]},
            "host_ip",
        ),
        (
            {"port_mappings": [cri.PortMapping(container_port=80, host_ip="fe80::1%eth0")]},
            "host_ip",
        ),
        ({"windows": cri.WindowsPodSandboxConfig()}, "windows"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_made(
    change: dict[str, Any], named: str
) -> None:
    config = pod_config("web")
    check_sandbox_config(config)
    for field in change:
        config.ClearField(field)
    config.MergeFrom(cri.PodSandboxConfig(**change))
    with pytest.raises(InvalidArgument, match=named):
        check_sandbox_config(config)


@pytest.mark.parametrize(
    "words",
    [
        {"hostname": "x" * 64},
        {"dns_config": cri.DNSConfig(servers=["fe80::1%eth0"])},
        {"linux": cri.LinuxPodSandboxConfig(sysctls={"net.ipv4.conf.eth0/7.forwarding": "1"})},
    ],
)
def test_what_stands_as_one_word_is_let_through(words: dict[str, Any]) -> None:
    config = pod_config("web")
    config.MergeFrom(cri.PodSandboxConfig(**words))
    check_sandbox_config(config)


@pytest.mark.parametrize(
    ("context", "mode"),
    [
        ({}, None),
        ({"privileged": True}, "host"),
        ({"namespace_options": cri.NamespaceOption(network=cri.NODE)}, "host"),
        ({"namespace_options": cri.NamespaceOption(pid=cri.NODE)}, "host"),
        ({"namespace_options": cri.NamespaceOption(pid=cri.CONTAINER)}, None),
    ],
)
def test_what_mapped_users_cannot_have_runs_with_the_hosts_users(
    context: dict[str, Any], mode: str | None
) -> None:
    config = pod_config("web")
    config.linux.security_context.CopyFrom(cri.LinuxSandboxSecurityContext(**context))
    assert (
        body(config, facts=replace(FACTS, security=frozenset({"userns"})))["HostConfig"].get(
            "UsernsMode"
        )
        == mode
    )
    assert "UsernsMode" not in body(config)["HostConfig"], "an engine that maps nobody"
