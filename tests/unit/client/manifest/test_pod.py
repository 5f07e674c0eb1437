"""What of a Pod manifest becomes what in the CRI, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from asupervisor.client.containers import (
    GRACE_ANNOTATION,
    PRE_STOP_ANNOTATION,
    STOP_STAGE_ANNOTATION,
)
from asupervisor.client.manifest import read_manifest, read_one_pod
from asupervisor.client.manifest.actions import Exec, Grpc, HttpGet, Probe, read_hook
from asupervisor.client.manifest.fields import Fields
from asupervisor.client.plan import HostPath, PodPlan
from asupervisor.errors import ConfigError
from asupervisor.proto import cri

EXAMPLE = Path(__file__).parents[4] / "examples" / "pod.yaml"
MINIMAL = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
    - name: main
      image: example.test/web:1
"""
FULL = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  uid: 0b0f
  labels: {app: web}
  annotations: {note: kept}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 7
  hostname: front
  hostIPC: true
  shareProcessNamespace: true
  runtimeClassName: gvisor
  dnsPolicy: None
  dnsConfig:
    nameservers: [192.0.2.53]
    searches: [svc.test]
    options: [{name: ndots, value: "5"}, {name: edns0}]
  securityContext:
    runAsUser: 1000
    runAsGroup: 1001
    supplementalGroups: [7, 8]
    sysctls: [{name: net.ipv4.ip_forward, value: "1"}]
    seccompProfile: {type: Unconfined}
  volumes:
    - name: data
      hostPath: {path: /srv/data, type: Directory}
  containers:
    - name: main
      image: example.test/web@sha256:0000000000000000000000000000000000000000000000000000000000000000
      command: [serve]
      args: ["--port", "80"]
      workingDir: /srv
      env: [{name: A, value: b}, {name: EMPTY}]
      ports:
        - {name: http, containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1}
        - {containerPort: 53, protocol: UDP}
      volumeMounts: [{name: data, mountPath: /data, readOnly: true}]
      resources:
        requests: {cpu: 250m, memory: 32Mi}
        limits: {cpu: 1.5, memory: 64Mi}
      securityContext:
        runAsUser: 2000
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities: {add: [NET_ADMIN], drop: [ALL]}
        seccompProfile: {type: Localhost, localhostProfile: /etc/seccomp.json}
      tty: true
      stdin: true
    - name: side
      image: example.test/side
      imagePullPolicy: Never
      securityContext: {privileged: true}
"""


def read(text: str) -> PodPlan:
    (plan,) = read_manifest(text, "pod.yaml").pods
    return plan


def test_the_least_that_a_pod_needs() -> None:
    plan = read(MINIMAL)
    metadata = plan.sandbox.metadata
    assert (metadata.name, metadata.namespace, metadata.attempt) == ("web", "default", 0)
    assert plan.sandbox.hostname == "web"
    assert plan.sandbox.labels["io.kubernetes.pod.name"] == "web"
    assert not plan.sandbox.HasField("dns_config")
    namespaces = plan.sandbox.linux.security_context.namespace_options
    assert (namespaces.network, namespaces.pid, namespaces.ipc) == (cri.POD, cri.CONTAINER, cri.POD)
    (container,) = plan.containers
    assert container.pull_policy == "IfNotPresent"
    assert container.config.log_path == "main/0.log"
    assert container.config.labels["io.kubernetes.container.name"] == "main"
    assert container.config.annotations[GRACE_ANNOTATION] == "30"
    assert not container.config.linux.security_context.no_new_privs
    assert container.config.linux.resources == cri.LinuxContainerResources()


def test_two_readings_are_two_pods() -> None:
    assert read(MINIMAL).sandbox.metadata.uid != read(MINIMAL).sandbox.metadata.uid


def test_every_field() -> None:
    plan = read(FULL)
    sandbox = plan.sandbox
    assert (sandbox.metadata.namespace, sandbox.metadata.uid, sandbox.hostname) == (
        "shop",
        "0b0f",
        "front",
    )
    assert plan.runtime_handler == "gvisor"
    assert sandbox.labels["app"] == "web" and sandbox.annotations == {"note": "kept"}
    assert sandbox.dns_config == cri.DNSConfig(
        servers=["192.0.2.53"], searches=["svc.test"], options=["ndots:5", "edns0"]
    )
    assert list(sandbox.port_mappings) == [
        cri.PortMapping(protocol=cri.TCP, container_port=80, host_port=8080, host_ip="127.0.0.1")
    ]
    assert sandbox.linux.sysctls == {"net.ipv4.ip_forward": "1"}
    pod_context = sandbox.linux.security_context
    assert (pod_context.namespace_options.pid, pod_context.namespace_options.ipc) == (
        cri.POD,
        cri.NODE,
    )
    assert (pod_context.run_as_user.value, pod_context.run_as_group.value) == (1000, 1001)
    assert pod_context.privileged, "a privileged container needs a privileged sandbox"

    main, side = (container.config for container in plan.containers)
    assert (list(main.command), list(main.args), main.working_dir) == (
        ["serve"],
        ["--port", "80"],
        "/srv",
    )
    assert [(pair.key, pair.value) for pair in main.envs] == [("A", b"b"), ("EMPTY", b"")]
    assert main.mounts == [] and plan.volumes == {"data": HostPath("/srv/data", "Directory")}
    (mount,) = plan.containers[0].mounts
    assert (mount.volume, mount.sub_path) == ("data", "")
    assert mount.mount == cri.Mount(container_path="/data", readonly=True)
    assert main.linux.resources == cri.LinuxContainerResources(
        cpu_shares=256, cpu_period=100000, cpu_quota=150000, memory_limit_in_bytes=64 << 20
    )
    context = main.linux.security_context
    assert (
        context.run_as_user.value,
        context.run_as_group.value,
        list(context.supplemental_groups),
    ) == (2000, 1001, [7, 8])
    assert context.readonly_rootfs and context.no_new_privs and not context.privileged
    assert list(context.capabilities.add_capabilities) == ["NET_ADMIN"]
    assert list(context.capabilities.drop_capabilities) == ["ALL"]
    assert (context.seccomp.profile_type, context.seccomp.localhost_ref) == (
        cri.SecurityProfile.Localhost,
        "/etc/seccomp.json",
    )
    assert main.tty and main.stdin and main.annotations[GRACE_ANNOTATION] == "7"
    assert side.linux.security_context.privileged
    assert side.linux.security_context.seccomp.profile_type == cri.SecurityProfile.Unconfined
    assert side.linux.security_context.namespace_options == pod_context.namespace_options
    assert [container.pull_policy for container in plan.containers] == ["IfNotPresent", "Never"]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("a/b", "Always"),
        ("a/b:latest", "Always"),
        ("registry.test:5000/a", "Always"),
        ("registry.test:5000/a:1", "IfNotPresent"),
        ("a/b@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_when_an_image_is_pulled(image: str, policy: str) -> None:
    assert read(MINIMAL.replace("example.test/web:1", image)).containers[0].pull_policy == policy


def test_the_nodes_network_has_the_nodes_name() -> None:
    sandbox = read(MINIMAL.replace("spec:", "spec:\n  hostNetwork: true")).sandbox
    assert sandbox.linux.security_context.namespace_options.network == cri.NODE
    assert sandbox.hostname == ""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("kind: Pod", "kind: Deployment", 'kind: "Deployment" is not supported, only "Pod"'),
        ("kind: Pod", "kind: ConfigMap", "spec is not supported"),
        ("v1", "v2", 'apiVersion: "v2" is not supported'),
        ("{name: web}", "{name: Web}", 'metadata.name: "Web" is not a DNS name'),
        ("{name: web}", "{}", "metadata.name is missing"),
        ("{name: web}", '{name: "web\\n"}', "is not a DNS name"),
        ("{name: web}", '{name: web, uid: "a\\n"}', "is not letters, digits"),
        ("- name: main", '- name: "main\\n"', "is not a DNS label"),
        (
            "{name: web}",
            "{name: web, labels: {a: 1}}",
            "metadata.labels: a: keys and values must be texts",
        ),
        ("spec:", "spec:\n  serviceAccountName: x", "spec.serviceAccountName is not supported"),
        (
            "spec:",
            "spec:\n  restartPolicy: Sometimes",
            'spec.restartPolicy: "Sometimes" is not supported, only "Always"',
        ),
        ("spec:", "spec:\n  hostNetwork: sure", "spec.hostNetwork must be true or false"),
        (
            "spec:",
            "spec:\n  volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]",
            "spec.volumes[0].persistentVolumeClaim is not supported",
        ),
        (
            "spec:",
            "spec:\n  volumes: [{name: ../v}]",
            'spec.volumes[0].name: "../v" is not a DNS label',
        ),
        (
            "spec:",
            "spec:\n  volumes: [{name: v, emptyDir: {}, hostPath: {path: /}}]",
            "spec.volumes[0]: emptyDir and hostPath exclude each other",
        ),
        (
            "spec:",
            "spec:\n  volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]",
            "spec.volumes[0].projected.sources[0]: a token or a trust bundle needs a cluster",
        ),
        (
            "spec:",
            "spec:\n  volumes: [{name: v, downwardAPI: {items: [{path: ../x}]}}]",
            'items[0].path: "../x" is not a relative path',
        ),
        ("{name: web}", "{name: web, uid: ../x}", 'metadata.uid: "../x" is not letters'),
        (
            "image:",
            "volumeMounts: [{name: v, mountPath: /v, subPath: a/../..}]\n      image:",
            'subPath "a/../.." is not a path in the volume',
        ),
        (
            "image:",
            "lifecycle: {stopSignal: SIGNONE}\n      image:",
            'spec.containers[0].lifecycle.stopSignal: "SIGNONE" is not a signal',
        ),
        (
            "image:",
            "lifecycle: {postStart: {tcpSocket: {port: 1}}}\n      image:",
            "spec.containers[0].lifecycle.postStart must have one of exec, httpGet, sleep",
        ),
        (
            "image:",
            "readinessProbe: {tcpSocket: {port: http}}\n      image:",
            'readinessProbe.tcpSocket.port: "http" is neither a port',
        ),
        (
            "image:",
            "readinessProbe: {exec: {command: [a]}, periodSeconds: 0}\n      image:",
            "readinessProbe.periodSeconds: 0 is not above 0",
        ),
        (
            "containers:",
            "initContainers: [{name: i, image: i, startupProbe: {exec: {command: [a]}}}]\n  containers:",
            "spec.initContainers[0]: probes and hooks are for sidecars",
        ),
        (
            "image:",
            "livenessProbe: {}\n      image:",
            "spec.containers[0].livenessProbe must have one of exec, httpGet, tcpSocket, grpc",
        ),
        (
            "image:",
            "ports: [{containerPort: 0}]\n      image:",
            "spec.containers[0].ports[0].containerPort: 0 is not between",
        ),
        (
            "image:",
            "volumeMounts: [{name: v, mountPath: /v}]\n      image:",
            'there is no volume "v" in spec.volumes',
        ),
        (
            "image:",
            "resources: {limits: {cpu: lots}}\n      image:",
            'limits.cpu: "lots" is not a quantity',
        ),
        (
            "image:",
            "resources: {limits: {gpu: 1}}\n      image:",
            "spec.containers[0].resources.limits.gpu is not supported",
        ),
        ("image:", "command: sh\n      image:", "spec.containers[0].command must be a list"),
        (
            "image:",
            "env: [{name: A, valueFrom: {fileRef: {}}}]\n      image:",
            "spec.containers[0].env[0].valueFrom.fileRef is not supported",
        ),
        ("image: example.test/web:1", "args: []", "spec.containers[0].image is missing"),
        ("containers:", "initContainers:", "spec.containers is missing"),
    ],
)
def test_what_cannot_be_had_is_refused_by_its_name(old: str, new: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as told:
        read(MINIMAL.replace(old, new, 1))
    assert complaint in str(told.value)
    assert str(told.value).startswith("pod.yaml: ") and "\n" not in str(told.value)


def test_two_containers_of_one_name() -> None:
    with pytest.raises(ConfigError, match='there is another container "main"'):
        read(MINIMAL + "    - name: main\n      image: a:1\n")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "a: ["])
def test_what_is_no_manifest(text: str) -> None:
    with pytest.raises(ConfigError):
        read(text)


def test_the_example_is_one() -> None:
    plan = read(EXAMPLE.read_text())
    assert plan.sandbox.metadata.name == "hello"
    assert [container.config.metadata.name for container in plan.containers] == ["greeter"]


LIFE = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  restartPolicy: OnFailure
  dnsPolicy: ClusterFirst
  hostAliases: [{ip: 192.0.2.7, hostnames: [one, two]}]
  securityContext: {fsGroup: 42, supplementalGroups: [7], runAsNonRoot: true}
  initContainers:
    - {name: first, image: "a:1"}
    - {name: side, image: "a:1", restartPolicy: Always}
    - {name: beside, image: "a:1", restartPolicy: Always}
  containers:
    - name: main
      image: a:1
      ports: [{name: http, containerPort: 80}]
      startupProbe: {httpGet: {port: http, path: /up, httpHeaders: [{name: A, value: b}]}}
      livenessProbe: {exec: {command: [check]}, failureThreshold: 1, terminationGracePeriodSeconds: 3}
      readinessProbe: {grpc: {port: 9000, service: x}, initialDelaySeconds: 2}
      lifecycle:
        postStart: {exec: {command: [hello]}}
        preStop: {httpGet: {port: http, host: 127.0.0.1}}
        stopSignal: SIGUSR1
      securityContext: {runAsNonRoot: false}
      terminationMessagePath: /dev/termination-log
"""


def test_what_lives_with_the_pod() -> None:
    manifest = read_manifest(LIFE, "pod.yaml")
    assert manifest.notes == ("spec.containers[0].terminationMessagePath", "spec.dnsPolicy")[::-1]
    (plan,) = manifest.pods
    assert plan.hosts == ("192.0.2.7\tone\ttwo",) and plan.fs_group == 42
    assert list(plan.sandbox.linux.security_context.supplemental_groups) == [7, 42]
    first, side, _ = plan.init_containers
    assert (first.restart, side.restart, first.not_as_root) == ("OnFailure", "Always", True)
    stages = [each.config.annotations.get(STOP_STAGE_ANNOTATION) for each in plan.init_containers]
    assert stages == [None, "2", "1"], "the sidecar that started last is stopped first"
    (main,) = plan.containers
    assert (main.restart, main.not_as_root, main.config.stop_signal) == (
        "OnFailure",
        False,
        cri.SIGNAL_SIGUSR1,
    )
    assert main.post_start == Exec(("hello",))
    assert main.probes["startup"].action == HttpGet(80, "", "/up", "HTTP", (("A", "b"),))
    assert main.probes["liveness"] == Probe(Exec(("check",)), 0, 10, 1, 1, 1, 3)
    assert main.probes["readiness"] == Probe(Grpc(9000, "x"), 2, 10, 1, 1, 3, None)
    noted = json.loads(main.config.annotations[PRE_STOP_ANNOTATION])
    assert read_hook(Fields(noted), {}) == HttpGet(80, "127.0.0.1", "/", "HTTP", ())


def test_a_mapping_is_a_manifest_too() -> None:
    plan = read_one_pod(yaml.safe_load(MINIMAL))
    assert plan.sandbox.metadata.name == "web" and plan.containers[0].restart == "Always"
    with pytest.raises(ConfigError, match="there are 2 Pods"):
        read_one_pod(f"{MINIMAL}---\n{MINIMAL}")
