"""A container of a Pod as a CRI configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

from asupervisor.client.containers import GRACE_ANNOTATION, PRE_STOP_ANNOTATION
from asupervisor.client.manifest.actions import Action, as_document, read_hook, read_probe
from asupervisor.client.manifest.environment import (
    Surroundings,
    expand,
    expand_words,
    read_environment,
)
from asupervisor.client.manifest.fields import Fields
from asupervisor.client.manifest.quantity import parse_quantity
from asupervisor.client.manifest.security import read_container_security
from asupervisor.client.manifest.volumes import default_pull_policy
from asupervisor.client.plan import (
    CPU_SHARES_OF_ONE,
    LEAST_CPU_SHARES,
    ContainerPlan,
    PullPolicy,
    Resources,
    RestartPolicy,
    VolumeMount,
)
from asupervisor.errors import ConfigError
from asupervisor.proto import cri

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PROTOCOLS = {"TCP": cri.TCP, "UDP": cri.UDP, "SCTP": cri.SCTP}
_PULL_POLICIES = ("IfNotPresent", "Always", "Never")
_PROPAGATIONS = {
    "None": cri.PROPAGATION_PRIVATE,
    "HostToContainer": cri.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": cri.PROPAGATION_BIDIRECTIONAL,
}
_PASSED_OVER = ("terminationMessagePath", "terminationMessagePolicy")


@dataclass(slots=True)
class PodReading:
    """What the reading of a pod's containers needs, and what it adds to.

    Args:
        sandbox: gets the ports; its labels and security context are filled in already.
        known: labels of every container.
        grace_s: seconds between the stop signal and SIGKILL.
        not_as_root: the pod's ``runAsNonRoot``.
        around: for the environment.
        notes: gets the fields that are ignored.
        amounts: gets the resources of each container.
    """

    sandbox: cri.PodSandboxConfig
    known: dict[str, str]
    grace_s: int
    not_as_root: bool
    around: Surroundings
    notes: list[str]
    amounts: dict[str, dict[str, Decimal]] = field(default_factory=dict)


def read_container(  # long: field by field
    fields: Fields, pod: PodReading, restart: RestartPolicy
) -> ContainerPlan:
    """Read a container.

    Args:
        fields: of the container; all of them are taken out.
        pod: what it needs of its pod.
        restart: when it is started again.

    Raises:
        ConfigError: a field is malformed or not supported; the message names it.
    """
    name, image = fields.text("name"), fields.text("image")
    if not NAME.fullmatch(name):
        raise ConfigError(
            f'{fields.place("name")}: "{name}" is not a DNS label of lower case letters, digits'
            ' and "-"'
        )
    if name in pod.amounts:
        raise ConfigError(f'{fields.where}.name: there is another container "{name}"')
    resources = cri.LinuxContainerResources()
    amounts = pod.amounts[name] = _resources(fields.below("resources"), resources, pod.notes)
    variables = read_environment(fields, amounts, pod.around)
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
        labels={**pod.known, "io.kubernetes.container.name": name},
        annotations={GRACE_ANNOTATION: str(pod.grace_s)},
    )
    ports: dict[str, int] = {}
    for port in fields.each("ports"):
        _port(port, pod.sandbox, ports)
    mounts = tuple(_mount(each, variables) for each in fields.each("volumeMounts"))
    not_as_root = read_container_security(
        fields.below("securityContext"),
        pod.sandbox.linux.security_context,
        config.linux.security_context,
    )
    if config.linux.security_context.privileged:
        pod.sandbox.linux.security_context.privileged = True
    probes = {
        kind: read_probe(fields.below(f"{kind}Probe"), ports)
        for kind in ("startup", "liveness", "readiness")
        if fields.has(f"{kind}Probe")
    }
    post_start = _lifecycle(fields.below("lifecycle"), ports, config)
    policy = fields.choice("imagePullPolicy", default_pull_policy(image), _PULL_POLICIES)
    pod.notes += fields.pass_over(_PASSED_OVER)
    return ContainerPlan(
        config,
        cast(PullPolicy, policy),
        mounts,
        pod.not_as_root if not_as_root is None else not_as_root,
        restart,
        probes,
        post_start,
    )


def _lifecycle(fields: Fields, ports: dict[str, int], config: cri.ContainerConfig) -> Action | None:
    """Read ``postStart``. ``preStop`` becomes an annotation: another process may stop the
    container.
    """
    if fields.has("preStop"):
        import orjson

        hook = read_hook(fields.below("preStop"), ports)
        config.annotations[PRE_STOP_ANNOTATION] = orjson.dumps(as_document(hook)).decode()
    has_post_start = fields.has("postStart")
    post_start = read_hook(fields.below("postStart"), ports) if has_post_start else None
    if fields.has("stopSignal"):
        signal = fields.text("stopSignal")
        number = dict(cri.Signal.items()).get(f"SIGNAL_{signal}")
        if number is None:
            raise ConfigError(f'{fields.place("stopSignal")}: "{signal}" is not a signal')
        config.stop_signal = cast(cri.Signal, number)
    fields.done()
    return post_start


def _mount(fields: Fields, variables: dict[str, bytes]) -> VolumeMount:
    sub_path, expression = fields.text("subPath", ""), fields.text("subPathExpr", "")
    if expression:
        sub_path = expand(expression.encode(), variables).decode(errors="surrogateescape")
    if sub_path and any(part in ("", ".", "..") for part in sub_path.split("/")):
        raise ConfigError(f'{fields.where}: subPath "{sub_path}" is not a path in the volume')
    name = fields.text("name")
    propagation = _PROPAGATIONS[fields.choice("mountPropagation", "None", tuple(_PROPAGATIONS))]
    recursive = fields.choice("recursiveReadOnly", "Disabled", ("Disabled", "Enabled"))
    mount = cri.Mount(
        container_path=fields.text("mountPath"),
        readonly=fields.flag("readOnly"),
        propagation=propagation,
        recursive_read_only=recursive == "Enabled",
    )
    return VolumeMount(name, sub_path, mount, fields.where)


def _port(port: Fields, sandbox: cri.PodSandboxConfig, named: dict[str, int]) -> None:
    name = port.text("name", "")
    container_port, host_port = port.number("containerPort"), port.number("hostPort", 0)
    for field_name, number in (("containerPort", container_port), ("hostPort", host_port or 1)):
        if not 0 < number < 65536:
            raise ConfigError(f"{port.place(field_name)}: {number} is not between 1 and 65535")
    if name:
        named[name] = container_port
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


def _resources(
    fields: Fields, resources: cri.LinuxContainerResources, notes: list[str]
) -> dict[str, Decimal]:
    """Fill the message, and return the amounts that are above 0, by path."""
    amounts: dict[str, Decimal] = {}
    for kind in ("limits", "requests"):
        below = fields.below(kind)
        for name in ("cpu", "memory"):
            if text := below.quantity(name):
                amounts[f"{kind}.{name}"] = parse_quantity(text, below.place(name))
        notes += below.pass_over(("ephemeral-storage",))
        below.done()
    fields.done()
    amounts = {path: amount for path, amount in amounts.items() if amount}
    for name in ("cpu", "memory"):  # as the API server does it
        if (limit := amounts.get(f"limits.{name}")) is not None:
            amounts.setdefault(f"requests.{name}", limit)
    cpu, memory = amounts.get("limits.cpu"), amounts.get("limits.memory")
    Resources(
        cpu_cores=float(cpu) if cpu else None, memory_bytes=int(memory) if memory else None
    ).fill(resources)
    if request := amounts.get("requests.cpu"):
        resources.cpu_shares = max(LEAST_CPU_SHARES, int(request * CPU_SHARES_OF_ONE))
    return amounts
