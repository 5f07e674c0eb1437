"""A Kubernetes Pod (``apiVersion: v1, kind: Pod``) as CRI configurations: the fields that need no
cluster.

What a field becomes is what kubelet makes of it. A field that is not read here is refused by its
name: a pod that runs without what its manifest asks for is worse than one that does not run."""

from __future__ import annotations

import re
import uuid
from decimal import Decimal
from typing import cast

from asupervisor.client.containers import GRACE_ANNOTATION
from asupervisor.client.manifest.environment import (
    Data,
    Surroundings,
    expand_words,
    read_environment,
)
from asupervisor.client.manifest.fields import Fields
from asupervisor.client.manifest.quantity import parse_quantity
from asupervisor.client.plan import (
    CPU_SHARES_OF_ONE,
    LEAST_CPU_SHARES,
    ContainerPlan,
    PodPlan,
    PullPolicy,
    Resources,
    identity,
)
from asupervisor.errors import ConfigError
from asupervisor.proto import cri

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_POD_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$")
_PROTOCOLS = {"TCP": cri.TCP, "UDP": cri.UDP, "SCTP": cri.SCTP}
_PULL_POLICIES = ("IfNotPresent", "Always", "Never")
_SECCOMP = {
    "RuntimeDefault": cri.SecurityProfile.RuntimeDefault,
    "Unconfined": cri.SecurityProfile.Unconfined,
    "Localhost": cri.SecurityProfile.Localhost,
}

_OF_THE_API_SERVER = (
    *("status", "creationTimestamp", "resourceVersion", "generation", "managedFields"),
    *("ownerReferences", "finalizers", "generateName", "selfLink"),
)
_OF_THE_SCHEDULER = (
    *("nodeName", "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints"),
    *("schedulerName", "schedulingGates", "priority", "priorityClassName", "preemptionPolicy"),
    "enableServiceLinks",
)


def read_pod(top: Fields, data: Data, notes: list[str]) -> PodPlan:  # long: field by field
    """Read a Pod.

    Args:
        top: the document, without its kind.
        data: ConfigMaps and Secrets that it may name.
        notes: takes the fields that count only in a cluster, and are passed over.

    Raises:
        ConfigError: it is not such a Pod; the field is named.
    """
    meta, spec = top.below("metadata"), top.below("spec")
    notes += top.pass_over(_OF_THE_API_SERVER) + meta.pass_over(_OF_THE_API_SERVER)
    notes += spec.pass_over(_OF_THE_SCHEDULER)
    top.done()
    name = meta.text("name")
    if not _POD_NAME.match(name):
        raise ConfigError(
            f'metadata.name: "{name}" is not a DNS name of lower case letters, digits, "-" and "."'
        )
    namespace = meta.text("namespace", "default")
    if not _NAME.match(namespace):
        raise ConfigError(
            f'metadata.namespace: "{namespace}" is not a DNS label of lower case letters, digits'
            ' and "-"'
        )
    uid = meta.text("uid", "") or str(uuid.uuid4())
    labels, annotations = meta.mapping("labels"), meta.mapping("annotations")
    meta.done()
    known = identity(name, namespace, uid)
    pod = {"metadata.name": name, "metadata.namespace": namespace, "metadata.uid": uid}
    around = Surroundings(namespace, pod, labels, annotations, data)

    spec.choice(
        "restartPolicy",
        "Never",
        ("Never",),
        ", since nothing restarts containers without a kubelet",
    )
    grace_s = spec.number("terminationGracePeriodSeconds", 30)
    host_network = spec.flag("hostNetwork")
    namespaces = cri.NamespaceOption(
        network=cri.NODE if host_network else cri.POD,
        pid=cri.NODE if spec.flag("hostPID") else cri.CONTAINER,
        ipc=cri.NODE if spec.flag("hostIPC") else cri.POD,
    )
    if spec.flag("shareProcessNamespace"):
        namespaces.pid = cri.POD
    sandbox = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name=name, uid=uid, namespace=namespace),
        hostname="" if host_network else spec.text("hostname", name)[:63].rstrip("-."),
        labels={**labels, **known},
        annotations=annotations,
        linux=cri.LinuxPodSandboxConfig(
            security_context=cri.LinuxSandboxSecurityContext(namespace_options=namespaces)
        ),
    )
    spec.choice("dnsPolicy", "Default", ("Default", "None"))
    if (dns := _dns(spec.below("dnsConfig"))) is not None:
        sandbox.dns_config.CopyFrom(dns)
    runtime_handler = spec.text("runtimeClassName", "")
    _pod_security(spec.below("securityContext"), sandbox.linux)
    volumes = {volume.text("name"): _host_path(volume) for volume in spec.each("volumes")}
    plans, names = [], set()
    for fields in spec.each("containers"):
        plan = _container(fields, sandbox, volumes, grace_s, around)
        container_name = plan.config.metadata.name
        if container_name in names:
            raise ConfigError(f'{fields.where}.name: there is another container "{container_name}"')
        names.add(container_name)
        plan.config.labels.update({**known, "io.kubernetes.container.name": container_name})
        plans.append(plan)
        if plan.config.linux.security_context.privileged:
            sandbox.linux.security_context.privileged = True
    spec.done()
    if not plans:
        raise ConfigError("spec.containers is missing")
    return PodPlan(sandbox, runtime_handler, tuple(plans))


def _dns(fields: Fields) -> cri.DNSConfig | None:
    dns = cri.DNSConfig(servers=fields.texts("nameservers"), searches=fields.texts("searches"))
    for option in fields.each("options"):
        name, value = option.text("name"), option.text("value", "")
        dns.options.append(f"{name}:{value}" if value else name)
    fields.done()
    return dns if dns.ByteSize() else None


def _pod_security(fields: Fields, linux: cri.LinuxPodSandboxConfig) -> None:
    context = linux.security_context
    if (user := fields.optional_number("runAsUser")) is not None:
        context.run_as_user.value = user
    if (group := fields.optional_number("runAsGroup")) is not None:
        context.run_as_group.value = group
    context.supplemental_groups.extend(fields.numbers("supplementalGroups"))
    for sysctl in fields.each("sysctls"):
        linux.sysctls[sysctl.text("name")] = sysctl.text("value")
    _seccomp(fields.below("seccompProfile"), context.seccomp)
    fields.done()


def _seccomp(fields: Fields, profile: cri.SecurityProfile) -> None:
    profile.profile_type = _SECCOMP[fields.choice("type", "RuntimeDefault", tuple(_SECCOMP))]
    profile.localhost_ref = fields.text("localhostProfile", "")
    fields.done()


def _host_path(volume: Fields) -> str:
    source = volume.below("hostPath")
    path = source.text("path")
    source.choice("type", "", ("", "Directory", "File", "Socket"))
    source.done()
    return path


def _container(
    fields: Fields,
    sandbox: cri.PodSandboxConfig,
    volumes: dict[str, str],
    grace_s: int,
    around: Surroundings,
) -> ContainerPlan:
    name, image = fields.text("name"), fields.text("image")
    if not _NAME.match(name):
        raise ConfigError(
            f'{fields.place("name")}: "{name}" is not a DNS label of lower case letters, digits'
            ' and "-"'
        )
    latest = "@" not in image and (":" not in image.rpartition("/")[2] or image.endswith(":latest"))
    resources = cri.LinuxContainerResources()
    amounts = _resources(fields.below("resources"), resources)
    variables = read_environment(fields, amounts, around)
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name),
        image=cri.ImageSpec(image=image, user_specified_image=image),
        command=expand_words(fields.texts("command"), variables),
        args=expand_words(fields.texts("args"), variables),
        envs=[cri.KeyValue(key=key, value=value) for key, value in variables.items()],
        linux=cri.LinuxContainerConfig(resources=resources),
        working_dir=fields.text("workingDir", ""),
        log_path=f"{name}/0.log",
        stdin=fields.flag("stdin"),
        stdin_once=fields.flag("stdinOnce"),
        tty=fields.flag("tty"),
        annotations={GRACE_ANNOTATION: str(grace_s)},
    )
    for port in fields.each("ports"):
        _port(port, sandbox)
    for mount in fields.each("volumeMounts"):
        volume = mount.text("name")
        if volume not in volumes:
            raise ConfigError(
                f'{mount.place("name")}: there is no volume "{volume}" in spec.volumes'
            )
        config.mounts.append(
            cri.Mount(
                host_path=volumes[volume],
                container_path=mount.text("mountPath"),
                readonly=mount.flag("readOnly"),
            )
        )
    _security(
        fields.below("securityContext"),
        sandbox.linux.security_context,
        config.linux.security_context,
    )
    policy = fields.choice(
        "imagePullPolicy", "Always" if latest else "IfNotPresent", _PULL_POLICIES
    )
    return ContainerPlan(config, cast(PullPolicy, policy))


def _port(port: Fields, sandbox: cri.PodSandboxConfig) -> None:
    port.text("name", "")
    container_port, host_port = port.number("containerPort"), port.number("hostPort", 0)
    for field, number in (("containerPort", container_port), ("hostPort", host_port or 1)):
        if not 0 < number < 65536:
            raise ConfigError(f"{port.place(field)}: {number} is not between 1 and 65535")
    protocol = _PROTOCOLS[port.choice("protocol", "TCP", tuple(_PROTOCOLS))]
    host_ip = port.text("hostIP", "")
    if host_port:
        sandbox.port_mappings.append(
            cri.PortMapping(
                protocol=protocol,
                container_port=container_port,
                host_port=host_port,
                host_ip=host_ip,
            )
        )


def _resources(fields: Fields, resources: cri.LinuxContainerResources) -> dict[str, Decimal]:
    """Fill the message, and return the amounts that are above 0, by path."""
    amounts: dict[str, Decimal] = {}
    for kind in ("limits", "requests"):
        below = fields.below(kind)
        for name in ("cpu", "memory"):
            if text := below.quantity(name):
                amounts[f"{kind}.{name}"] = parse_quantity(text, below.place(name))
        below.done()
    fields.done()
    amounts = {path: amount for path, amount in amounts.items() if amount}
    for name in ("cpu", "memory"):  # as the API server fills it in
        if (limit := amounts.get(f"limits.{name}")) is not None:
            amounts.setdefault(f"requests.{name}", limit)
    cpu, memory = amounts.get("limits.cpu"), amounts.get("limits.memory")
    Resources(
        cpu_cores=float(cpu) if cpu else None, memory_bytes=int(memory) if memory else None
    ).fill(resources)
    if request := amounts.get("requests.cpu"):
        resources.cpu_shares = max(LEAST_CPU_SHARES, int(request * CPU_SHARES_OF_ONE))
    return amounts


def _security(
    fields: Fields, pod: cri.LinuxSandboxSecurityContext, context: cri.LinuxContainerSecurityContext
) -> None:
    context.namespace_options.CopyFrom(pod.namespace_options)
    context.supplemental_groups.extend(pod.supplemental_groups)
    context.privileged = fields.flag("privileged")
    context.readonly_rootfs = fields.flag("readOnlyRootFilesystem")
    context.no_new_privs = not fields.flag("allowPrivilegeEscalation", True)
    user = fields.optional_number("runAsUser")
    group = fields.optional_number("runAsGroup")
    if user is not None or pod.HasField("run_as_user"):
        context.run_as_user.value = user if user is not None else pod.run_as_user.value
    if group is not None or pod.HasField("run_as_group"):
        context.run_as_group.value = group if group is not None else pod.run_as_group.value
    capabilities = fields.below("capabilities")
    context.capabilities.add_capabilities.extend(capabilities.texts("add"))
    context.capabilities.drop_capabilities.extend(capabilities.texts("drop"))
    capabilities.done()
    context.seccomp.CopyFrom(pod.seccomp)
    seccomp = fields.below("seccompProfile")
    if not seccomp.empty:
        _seccomp(seccomp, context.seccomp)
    fields.done()
