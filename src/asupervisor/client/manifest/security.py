"""Security contexts of a pod and of its containers."""

from __future__ import annotations

from asupervisor.client.manifest.fields import Fields
from asupervisor.proto import cri

_PROFILES = {
    "RuntimeDefault": cri.SecurityProfile.RuntimeDefault,
    "Unconfined": cri.SecurityProfile.Unconfined,
    "Localhost": cri.SecurityProfile.Localhost,
}
_GROUP_POLICIES = {"Merge": cri.Merge, "Strict": cri.Strict}


def read_pod_security(fields: Fields, linux: cri.LinuxPodSandboxConfig) -> tuple[int | None, bool]:
    """Fill the sandbox's message.

    Returns:
        ``fsGroup``, and ``runAsNonRoot``.
    """
    context = linux.security_context
    if (user := fields.optional_number("runAsUser")) is not None:
        context.run_as_user.value = user
    if (group := fields.optional_number("runAsGroup")) is not None:
        context.run_as_group.value = group
    context.supplemental_groups.extend(fields.numbers("supplementalGroups"))
    fs_group = fields.optional_number("fsGroup")
    if fs_group is not None and fs_group not in context.supplemental_groups:
        context.supplemental_groups.append(fs_group)
    # Both mean the same here: the volumes are new.
    fields.choice("fsGroupChangePolicy", "Always", ("Always", "OnRootMismatch"))
    policy = fields.choice("supplementalGroupsPolicy", "Merge", tuple(_GROUP_POLICIES))
    context.supplemental_groups_policy = _GROUP_POLICIES[policy]
    for sysctl in fields.each("sysctls"):
        linux.sysctls[sysctl.text("name")] = sysctl.text("value")
    _profile(fields.below("seccompProfile"), context.seccomp)
    if fields.has("appArmorProfile"):
        _profile(fields.below("appArmorProfile"), context.apparmor)
    _selinux(fields, context.selinux_options)
    not_as_root = fields.flag("runAsNonRoot")
    fields.done()
    return fs_group, not_as_root


def read_container_security(
    fields: Fields, pod: cri.LinuxSandboxSecurityContext, context: cri.LinuxContainerSecurityContext
) -> bool | None:
    """Fill the container's message; a field that it does not set is the pod's.

    Returns:
        ``runAsNonRoot``; None if it does not set it.
    """
    context.namespace_options.CopyFrom(pod.namespace_options)
    context.supplemental_groups.extend(pod.supplemental_groups)
    context.supplemental_groups_policy = pod.supplemental_groups_policy
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
    if fields.has("seccompProfile"):
        _profile(fields.below("seccompProfile"), context.seccomp)
    if pod.HasField("apparmor"):
        context.apparmor.CopyFrom(pod.apparmor)
    if fields.has("appArmorProfile"):
        _profile(fields.below("appArmorProfile"), context.apparmor)
    if pod.HasField("selinux_options"):
        context.selinux_options.CopyFrom(pod.selinux_options)
    _selinux(fields, context.selinux_options)
    fields.choice("procMount", "Default", ("Default",))
    not_as_root = fields.flag("runAsNonRoot") if fields.has("runAsNonRoot") else None
    fields.done()
    return not_as_root


def _profile(fields: Fields, profile: cri.SecurityProfile) -> None:
    profile.profile_type = _PROFILES[fields.choice("type", "RuntimeDefault", tuple(_PROFILES))]
    profile.localhost_ref = fields.text("localhostProfile", "")
    fields.done()


def _selinux(fields: Fields, options: cri.SELinuxOption) -> None:
    if fields.has("seLinuxOptions"):
        below = fields.below("seLinuxOptions")
        for name in ("user", "role", "type", "level"):
            setattr(options, name, below.text(name, ""))
        below.done()
