"""The rules that the plugins' adjustments of every container must keep: NRI's default validator.

Source: containerd/nri, plugins/default-validator."""

from __future__ import annotations

from collections.abc import Collection

from asupervisor.config import NriConfig
from asupervisor.errors import FailedPrecondition
from asupervisor.nri.merge import Creation
from asupervisor.proto.nri.v1alpha1 import api_pb2 as api

REQUIRED_PLUGINS = "required-plugins.noderesource.dev"
_SECCOMP = {
    api.SecurityProfile.RUNTIME_DEFAULT: "runtime-default-seccomp",
    api.SecurityProfile.UNCONFINED: "unconfined-seccomp",
    api.SecurityProfile.LOCALHOST: "custom-seccomp",
}
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


def check_creation(
    config: NriConfig, pod: api.PodSandbox, creation: Creation, plugins: Collection[str]
) -> None:
    """Refuse adjustments that the configuration or the pod's annotations forbid.

    Args:
        config: the rules.
        pod: of the container.
        creation: what the plugins want.
        plugins: the names of all that were asked, as ``10-name``.

    Raises:
        FailedPrecondition: a rule is broken; the message names rule and plugins.
    """
    container = creation.container
    owners = creation.owners.message.owners[container.id]
    where = f"container {container.name} of pod {pod.namespace}/{pod.name}"

    def reject(kind: str, what: str, names: Collection[str]) -> None:
        if kind in config.reject and names:
            raise FailedPrecondition(
                f"{where}: {what} set by the NRI plugins {', '.join(sorted(set(names)))}, which"
                f" --nri-reject={kind} rules out"
            )

    hooks = owners.simple.get(api.OciHooks, "")
    reject("hooks", "hooks were", [hooks] if hooks else [])
    seccomp = owners.simple.get(api.SeccompPolicy, "")
    kind = api.SecurityProfile.UNCONFINED
    if container.linux.HasField("seccomp_profile"):
        kind = container.linux.seccomp_profile.profile_type
    rule = _SECCOMP.get(kind, "custom-seccomp")
    reject(rule, "the seccomp policy was", [seccomp] if seccomp else [])
    for rule, field, what in (
        ("namespaces", api.Namespace, "namespaces were"),
        ("sysctls", api.Sysctl, "sysctls were"),
    ):
        reject(rule, what, list(owners.compound[field].owners.values()))
    spellings = {*plugins, *(name.partition("-")[2] for name in plugins)}
    missing = sorted(set(_required(config, pod, container.name, where)) - spellings)
    if missing:
        raise FailedPrecondition(
            f"{where}: the NRI plugins {', '.join(missing)} are required and not there",
            subject=container.id,
        )


def _required(config: NriConfig, pod: api.PodSandbox, container: str, where: str) -> list[str]:
    if config.tolerate_missing_annotation:
        tolerated = _annotation(pod, config.tolerate_missing_annotation, container)
        if tolerated is not None and tolerated.lower() not in (*_TRUE, *_FALSE):
            raise FailedPrecondition(
                f"{where}: the annotation {config.tolerate_missing_annotation} is neither true nor"
                f' false: "{tolerated[:64]}"'
            )
        if tolerated is not None and tolerated.lower() in _TRUE:
            return []
    text = _annotation(pod, REQUIRED_PLUGINS, container)
    if text is None:
        return list(config.required_plugins)
    import yaml  # slow to import, and only needed for pods that require plugins

    try:
        names = yaml.safe_load(text) or []
    except (yaml.YAMLError, RecursionError) as error:
        raise FailedPrecondition(
            f"{where}: the annotation {REQUIRED_PLUGINS} is not YAML"
        ) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FailedPrecondition(f"{where}: the annotation {REQUIRED_PLUGINS} is not a list")
    return [*config.required_plugins, *names]


def _annotation(pod: api.PodSandbox, key: str, container: str) -> str | None:
    """An annotation for the container wins over one for its pod."""
    for spelling in (f"{key}/container.{container}", f"{key}/pod", key):
        if spelling in pod.annotations:
            return str(pod.annotations[spelling])
    return None
