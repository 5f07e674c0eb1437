"""A Kubernetes Pod (``apiVersion: v1, kind: Pod``) as CRI configurations: the fields that need no
cluster.

A field becomes what kubelet makes of it. A field that is not read here is an error that names it: a
pod that runs without what its manifest asks for is worse than one that does not run."""

from __future__ import annotations

import re
import uuid
from typing import cast

from asupervisor.client.containers import STOP_STAGE_ANNOTATION
from asupervisor.client.manifest.container import NAME, PodReading, read_container
from asupervisor.client.manifest.environment import Data, Surroundings
from asupervisor.client.manifest.fields import Fields
from asupervisor.client.manifest.pull_secrets import read_pull_secrets
from asupervisor.client.manifest.security import read_pod_security
from asupervisor.client.manifest.volumes import read_volume
from asupervisor.client.plan import ContainerPlan, PodPlan, RestartPolicy, Volume, identity
from asupervisor.client.values import UID
from asupervisor.errors import ConfigError
from asupervisor.proto import cri

_POD_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_RESTARTS = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("Default", "None", "ClusterFirst", "ClusterFirstWithHostNet")

_OF_THE_API_SERVER = (
    *("status", "creationTimestamp", "resourceVersion", "generation", "managedFields"),
    *("ownerReferences", "finalizers", "generateName", "selfLink"),
)
_OF_THE_SCHEDULER = (
    *("nodeName", "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints"),
    *("schedulerName", "schedulingGates", "priority", "priorityClassName", "preemptionPolicy"),
    *("enableServiceLinks", "automountServiceAccountToken", "readinessGates", "os"),
)


def read_pod(top: Fields, data: Data, notes: list[str]) -> PodPlan:  # long: field by field
    """Read a Pod.

    Args:
        top: the document, without its kind.
        data: ConfigMaps and Secrets that it may name.
        notes: gets the fields that are ignored, since nothing here does what they ask for.

    Raises:
        ConfigError: it is not such a Pod; the message names the field.
    """
    meta, spec = top.below("metadata"), top.below("spec")
    notes += top.pass_over(_OF_THE_API_SERVER) + meta.pass_over(_OF_THE_API_SERVER)
    notes += spec.pass_over(_OF_THE_SCHEDULER)
    top.done()
    name = meta.text("name")
    if not _POD_NAME.fullmatch(name):
        raise ConfigError(
            f'metadata.name: "{name}" is not a DNS name of lower case letters, digits, "-" and "."'
        )
    namespace = meta.text("namespace", "default")
    if not NAME.fullmatch(namespace):
        raise ConfigError(
            f'metadata.namespace: "{namespace}" is not a DNS label of lower case letters, digits'
            ' and "-"'
        )
    uid = meta.text("uid", "") or str(uuid.uuid4())
    if not UID.fullmatch(uid):
        raise ConfigError(f'metadata.uid: "{uid}" is not letters, digits, "-", "_" and "."')
    labels, annotations = meta.mapping("labels"), meta.mapping("annotations")
    meta.done()
    known = identity(name, namespace, uid)
    pod = {"metadata.name": name, "metadata.namespace": namespace, "metadata.uid": uid}
    around = Surroundings(namespace, pod, labels, annotations, data)

    restart = cast(RestartPolicy, spec.choice("restartPolicy", "Always", _RESTARTS))
    grace_s = spec.number("terminationGracePeriodSeconds", 30)
    sandbox = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name=name, uid=uid, namespace=namespace),
        labels={**labels, **known},
        annotations=annotations,
    )
    _namespaces(spec, name, sandbox)
    if spec.choice("dnsPolicy", "Default", _DNS_POLICIES).startswith("Cluster"):
        notes.append("spec.dnsPolicy")  # there is no name server of a cluster
    if (dns := _dns(spec.below("dnsConfig"))) is not None:
        sandbox.dns_config.CopyFrom(dns)
    runtime_handler = spec.text("runtimeClassName", "")
    fs_group, not_as_root = read_pod_security(spec.below("securityContext"), sandbox.linux)
    reading = PodReading(sandbox, known, grace_s, not_as_root, around, notes)
    init_containers = _init_containers(spec, reading, restart)
    containers = tuple(read_container(each, reading, restart) for each in spec.each("containers"))
    volumes = _volumes(spec, reading)
    for mount in (each for one in (*init_containers, *containers) for each in one.mounts):
        if mount.volume not in volumes:
            raise ConfigError(
                f'{mount.place}.name: there is no volume "{mount.volume}" in spec.volumes'
            )
    hosts = tuple(
        "\t".join((alias.text("ip"), *alias.texts("hostnames")))
        for alias in spec.each("hostAliases")
    )
    keyring = read_pull_secrets(spec, around)
    spec.done()
    if not containers:
        raise ConfigError("spec.containers is missing")
    return PodPlan(
        sandbox, runtime_handler, containers, init_containers, volumes, fs_group, hosts, keyring
    )


def _namespaces(spec: Fields, name: str, sandbox: cri.PodSandboxConfig) -> None:
    host_network = spec.flag("hostNetwork")
    namespaces = sandbox.linux.security_context.namespace_options
    namespaces.network = cri.NODE if host_network else cri.POD
    namespaces.pid = cri.NODE if spec.flag("hostPID") else cri.CONTAINER
    namespaces.ipc = cri.NODE if spec.flag("hostIPC") else cri.POD
    if spec.flag("shareProcessNamespace"):
        namespaces.pid = cri.POD
    hostname = spec.text("hostname", name)[:63].rstrip("-.")
    sandbox.hostname = "" if host_network else hostname


def _init_containers(
    spec: Fields, reading: PodReading, restart: RestartPolicy
) -> tuple[ContainerPlan, ...]:
    """A failed one is tried again, unless the pod's restart policy is ``Never``."""
    found: list[ContainerPlan] = []
    for fields in spec.each("initContainers"):
        is_sidecar = fields.choice("restartPolicy", "", ("", "Always")) == "Always"
        again: RestartPolicy = "Never" if restart == "Never" else "OnFailure"
        plan = read_container(fields, reading, "Always" if is_sidecar else again)
        if not is_sidecar and (plan.probes or plan.post_start):
            raise ConfigError(f"{fields.where}: probes and hooks are for sidecars")
        found.append(plan)
    sidecars = [each for each in found if each.restart == "Always"]
    for stage, sidecar in enumerate(reversed(sidecars), 1):
        sidecar.config.annotations[STOP_STAGE_ANNOTATION] = str(stage)
    return tuple(found)


def _volumes(spec: Fields, reading: PodReading) -> dict[str, Volume]:
    volumes: dict[str, Volume] = {}
    for fields in spec.each("volumes"):
        name = fields.text("name")
        if not NAME.fullmatch(name) or name in volumes:
            raise ConfigError(
                f'{fields.place("name")}: "{name}" is not a DNS label of its own of lower case'
                ' letters, digits and "-"'
            )
        volumes[name] = read_volume(fields, reading.around, reading.amounts, reading.notes)
    return volumes


def _dns(fields: Fields) -> cri.DNSConfig | None:
    dns = cri.DNSConfig(servers=fields.texts("nameservers"), searches=fields.texts("searches"))
    for option in fields.each("options"):
        name, value = option.text("name"), option.text("value", "")
        dns.options.append(f"{name}:{value}" if value else name)
    fields.done()
    return dns if dns.ByteSize() else None
