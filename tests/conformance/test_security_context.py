"""LinuxContainerSecurityContext and LinuxSandboxSecurityContext."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument, NotFound
from asupervisor.proto import cri
from tests.conformance.node import Node, Pod

_Context = cri.LinuxContainerSecurityContext
_Profile = cri.SecurityProfile


def _number(value: int) -> cri.Int64Value:
    return cri.Int64Value(value=value)


async def _ids(pod: Pod, **fields: Any) -> tuple[str, str, set[str]]:
    uid, gid, groups = (await pod.see("id -u; id -g; id -G", **fields)).splitlines()
    return uid, gid, set(groups.split())


async def _user(pod: Pod, **fields: Any) -> tuple[int, int, set[int]]:
    status = await pod.status(await pod.create(**fields))
    linux = status.user.linux
    return linux.uid, linux.gid, set(linux.supplemental_groups)


async def test_without_a_user_it_is_the_images(node: Node, pod: Pod) -> None:
    for image, expected in (
        (node.names.busybox, ("0", "0")),
        (node.names.by_uid, ("1002", "1003")),
        (node.names.by_name, ("1002", "1003")),
        (node.names.by_uid_gid, ("1003", "1004")),
    ):
        uid, gid, _ = await _ids(pod, image=image)
        assert (uid, gid) == expected, image


async def test_run_as_user_takes_its_primary_group_from_the_image(pod: Pod) -> None:
    assert (await _ids(pod, security=_Context(run_as_user=_number(1000))))[:2] == ("1000", "1000")
    assert (await _ids(pod, security=_Context(run_as_user=_number(4321))))[:2] == ("4321", "0")


async def test_run_as_username(pod: Pod) -> None:
    assert (await _ids(pod, security=_Context(run_as_username="www-data")))[:2] == ("1002", "1003")


async def test_run_as_group(pod: Pod) -> None:
    assert (
        await _ids(pod, security=_Context(run_as_user=_number(1000), run_as_group=_number(2345)))
    )[:2] == ("1000", "2345")
    assert (await _ids(pod, security=_Context(run_as_username="app", run_as_group=_number(2345))))[
        :2
    ] == ("1000", "2345")


async def test_run_as_group_without_a_user_is_refused(node: Node, pod: Pod) -> None:
    with node.refused(InvalidArgument, "run_as_group"):
        await pod.create(security=_Context(run_as_group=_number(1)))
    with node.refused(InvalidArgument, "run_as_group"):
        async with node.pod(
            node.security_pod(cri.LinuxSandboxSecurityContext(run_as_group=_number(1)))
        ):
            pass


async def test_a_user_that_the_image_does_not_know_is_named(node: Node, pod: Pod) -> None:
    # The second where the runtime looks it up at the start only.
    with node.refused((InvalidArgument, FailedPrecondition), "no-such-user"):
        await pod.run(security=_Context(run_as_username="no-such-user"))


async def test_a_user_by_number_and_by_name_is_refused(node: Node, pod: Pod) -> None:
    node.only_docker("other runtimes take the name")
    with node.refused(InvalidArgument, "run_as_username"):
        await pod.create(security=_Context(run_as_user=_number(1), run_as_username="app"))
    with node.refused(InvalidArgument, "-5"):
        await pod.create(security=_Context(run_as_user=_number(-5)))


async def test_supplemental_groups_are_merged_with_those_of_the_image(pod: Pod) -> None:
    context = _Context(run_as_user=_number(1000), supplemental_groups=[1234, 5678])
    assert await _ids(pod, security=context) == ("1000", "1000", {"1000", "1234", "5678", "50000"})
    with_group = _Context(
        run_as_user=_number(1000), run_as_group=_number(3000), supplemental_groups=[1234]
    )
    uid, gid, groups = await _ids(pod, security=with_group)
    assert (uid, gid) == ("1000", "3000")
    assert {"3000", "1234", "50000"} <= groups


async def test_strict_supplemental_groups_are_those_of_the_request_alone(
    node: Node, pod: Pod
) -> None:
    if not node.status.features.supplemental_groups_policy:
        pytest.skip("this runtime has no supplemental groups policy")
    context = _Context(
        run_as_user=_number(1000), supplemental_groups=[1234], supplemental_groups_policy=cri.Strict
    )
    assert await _ids(pod, security=context) == ("1000", "1000", {"1000", "1234"})
    async with pod.container(security=context) as container_id:
        answer = await node.runtime.exec_sync(container_id, ("id", "-G"))
        assert set(answer.stdout.decode().split()) == {"1000", "1234"}


async def test_the_user_is_told_back(node: Node, pod: Pod) -> None:
    if not node.status.features.supplemental_groups_policy:
        pytest.skip("this runtime does not tell the user")
    context = _Context(run_as_user=_number(1000), supplemental_groups=[1234])
    async with pod.container(security=context) as container_id:
        linux = (await pod.status(container_id)).user.linux
        assert (linux.uid, linux.gid, set(linux.supplemental_groups)) == (
            1000,
            1000,
            {1000, 1234, 50000},
        )


async def test_capabilities_are_added_and_dropped(pod: Pod) -> None:
    async def effective(**names: list[str]) -> int:
        context = _Context(capabilities=cri.Capability(**names))
        return int(
            (await pod.see("grep CapEff /proc/self/status", security=context)).split()[1], 16
        )

    net_admin, chown = 1 << 12, 1 << 0
    plain = await effective()
    assert plain & chown and not plain & net_admin
    assert await effective(add_capabilities=["NET_ADMIN"]) & net_admin
    if pod.node.is_docker:
        assert await effective(add_capabilities=["CAP_NET_ADMIN"]) & net_admin
    assert not await effective(drop_capabilities=["CHOWN"]) & chown
    assert await effective(drop_capabilities=["ALL"]) == 0
    assert await effective(drop_capabilities=["ALL"], add_capabilities=["CHOWN"]) == chown


async def test_all_capabilities_are_added(node: Node, pod: Pod) -> None:
    if node.is_docker and not _may_everything():
        pytest.skip("this machine has not all capabilities itself")
    context = _Context(capabilities=cri.Capability(add_capabilities=["ALL"]))
    mask = int((await pod.see("grep CapEff /proc/self/status", security=context)).split()[1], 16)
    assert mask & 1 << 12 and mask & 1 << 21


def _may_everything() -> bool:
    own = int(
        next(
            line
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("CapBnd")
        ).split()[1],
        16,
    )
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return own == (1 << last + 1) - 1


async def test_a_capability_that_there_is_not_is_refused(node: Node, pod: Pod) -> None:
    node.only_docker("containerd passes over it")
    with node.refused((InvalidArgument, FailedPrecondition), "NO_SUCH_THING"):
        await pod.run(
            security=_Context(capabilities=cri.Capability(add_capabilities=["NO_SUCH_THING"]))
        )


async def test_ambient_capabilities_are_refused_where_the_engine_has_none(
    node: Node, pod: Pod
) -> None:
    node.only_docker("other runtimes have them")
    with node.refused(InvalidArgument, "ambient"):
        await pod.create(
            security=_Context(capabilities=cri.Capability(add_ambient_capabilities=["CHOWN"]))
        )


async def test_privileged(node: Node) -> None:
    if not _may_everything():
        pytest.skip("this machine has not all capabilities itself")
    async with (
        node.pod(node.security_pod(cri.LinuxSandboxSecurityContext(privileged=True))) as pod,
        pod.container(security=_Context(privileged=True)) as container_id,
    ):
        assert (
            int((await pod.sh(container_id, "grep CapEff /proc/self/status")).split()[1], 16)
            & 1 << 21
        )
        assert (await pod.sh(container_id, "grep Seccomp: /proc/self/status")).split()[1] == "0"
        await pod.sh(container_id, "test -w /sys && test -e /dev/kmsg && mount -t tmpfs none /tmp")


async def test_a_privileged_container_needs_a_privileged_sandbox(node: Node, pod: Pod) -> None:
    with node.refused(InvalidArgument, "privileged"):
        await pod.create(security=_Context(privileged=True))


async def test_what_makes_a_sandbox_privileged_is_the_request(node: Node, pod: Pod) -> None:
    # As kubelet has it, which adds a privileged container to a pod that runs (kubectl debug).
    pod.config.linux.security_context.privileged = True
    container_id = await pod.create(security=_Context(privileged=True))
    if _may_everything():
        await node.runtime.start_container(container_id)
        await pod.sh(container_id, "mount -t tmpfs none /tmp")


async def test_without_privileges_mount_is_denied(pod: Pod) -> None:
    async with pod.container() as container_id:
        await pod.fails(container_id, "mount -t tmpfs none /tmp")


async def test_read_only_root(pod: Pod) -> None:
    async with pod.container(security=_Context(readonly_rootfs=True)) as container_id:
        assert "Read-only" in await pod.fails(container_id, "touch /new")
    async with pod.container() as container_id:
        await pod.sh(container_id, "touch /new")


async def test_no_new_privs(pod: Pod) -> None:
    for wanted, expected in ((True, "1"), (False, "0")):
        flag = await pod.see(
            "grep NoNewPrivs /proc/self/status", security=_Context(no_new_privs=wanted)
        )
        assert flag.split()[1] == expected


async def test_masked_and_readonly_paths_are_exactly_those(pod: Pod) -> None:
    context = _Context(masked_paths=["/proc/version", "/etc"], readonly_paths=["/proc/sys", "/tmp"])
    async with pod.container(security=context) as container_id:
        assert (
            await pod.sh(
                container_id,
                "cat /proc/version; ls /etc | grep -v -e resolv.conf -e hosts -e hostname || true",
            )
            == ""
        )
        assert "Read-only" in await pod.fails(container_id, "touch /tmp/new")
        assert await pod.sh(container_id, "cat /proc/keys || true") is not None
        mounts = await pod.sh(container_id, "cat /proc/self/mounts")
        assert " /proc/sys " in mounts
        assert " /proc/kcore " not in mounts


async def test_no_paths_means_none_are_masked(pod: Pod) -> None:
    # Any field of the context says that there is one; then the paths are what it says: none.
    mounts = await pod.see("cat /proc/self/mounts", security=_Context(no_new_privs=True))
    assert " /proc/kcore " not in mounts
    assert " /proc/sys " not in mounts


_DENY_CHMOD = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO"}],
}


async def _seccomp(pod: Pod, **fields: Any) -> str:
    return (await pod.see("grep Seccomp: /proc/self/status", security=_Context(**fields))).split()[
        1
    ]


async def test_seccomp_runtime_default_unconfined_and_nil(pod: Pod) -> None:
    assert await _seccomp(pod, seccomp=_Profile(profile_type=_Profile.RuntimeDefault)) == "2"
    assert await _seccomp(pod, seccomp=_Profile(profile_type=_Profile.Unconfined)) == "0"
    assert await _seccomp(pod) == "0"


async def test_seccomp_localhost_by_both_fields(node: Node, pod: Pod, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(_DENY_CHMOD))
    contexts = [
        _Context(seccomp=_Profile(profile_type=_Profile.Localhost, localhost_ref=str(profile)))
    ]
    if node.is_docker:
        contexts.append(_Context(seccomp_profile_path=f"localhost/{profile}"))
    for context in contexts:
        async with pod.container(security=context) as container_id:
            assert "Operation not permitted" in await pod.fails(container_id, "chmod 700 /tmp")


async def test_a_missing_or_broken_localhost_seccomp_profile_fails_before_the_creation(
    node: Node, pod: Pod, tmp_path: Path
) -> None:
    before = {item.id for item in await node.runtime.list_containers()}
    for reference, kind in (
        (str(tmp_path / "none.json"), NotFound),
        ("relative.json", InvalidArgument),
    ):
        profile = _Profile(profile_type=_Profile.Localhost, localhost_ref=reference)
        with node.refused(kind, os.path.basename(reference)):
            await pod.create(security=_Context(seccomp=profile))
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with node.refused(InvalidArgument, "broken.json"):
        await pod.create(
            security=_Context(
                seccomp=_Profile(profile_type=_Profile.Localhost, localhost_ref=str(broken))
            )
        )
    assert {item.id for item in await node.runtime.list_containers()} == before


async def test_apparmor_default_and_unconfined_run_everywhere(node: Node, pod: Pod) -> None:
    if not node.is_docker and not os.path.exists("/sys/kernel/security/apparmor"):
        pytest.skip("containerd takes none of these on a host without AppArmor")
    for context in (
        _Context(apparmor=_Profile(profile_type=_Profile.RuntimeDefault)),
        _Context(apparmor=_Profile(profile_type=_Profile.Unconfined)),
        _Context(apparmor_profile="runtime/default"),
        _Context(apparmor_profile="unconfined"),
    ):
        assert await pod.see("echo runs", security=context) == "runs\n"


async def test_an_apparmor_profile_that_is_not_there_is_refused(node: Node, pod: Pod) -> None:
    localhost = _Profile(profile_type=_Profile.Localhost, localhost_ref="no-such-profile")
    for context in (
        _Context(apparmor=localhost),
        _Context(apparmor_profile="localhost/no-such-profile"),
    ):
        with node.refused(FailedPrecondition, "no-such-profile"):
            await pod.run(security=context)
    with node.refused(InvalidArgument, "localhost_ref"):
        await pod.run(security=_Context(apparmor=_Profile(profile_type=_Profile.Localhost)))


async def test_selinux_options_are_taken(node: Node, pod: Pod) -> None:
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("a host with SELinux may refuse these labels")
    options = cri.SELinuxOption(
        user="system_u", role="system_r", type="svirt_lxc_net_t", level="s0:c1,c2"
    )
    assert await pod.see("echo runs", security=_Context(selinux_options=options)) == "runs\n"


async def test_the_sandboxs_own_context(node: Node) -> None:
    context = cri.LinuxSandboxSecurityContext(
        run_as_user=_number(1000),
        run_as_group=_number(1001),
        readonly_rootfs=True,
        supplemental_groups=[1234],
        seccomp=_Profile(profile_type=_Profile.RuntimeDefault),
    )
    async with node.pod(node.security_pod(context)) as pod:
        info = json.loads(
            (await node.runtime.pod_sandbox_status(pod.id, verbose=True)).info["info"]
        )
        if node.is_docker:
            status = Path(f"/proc/{info['pid']}/status").read_text().splitlines()
            fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
            assert fields["Uid"].split()[0] == "1000"
            assert fields["Gid"].split()[0] == "1001"
            assert "1234" in fields["Groups"].split()
            assert fields["Seccomp"] == "2"
            assert fields["NoNewPrivs"] == "1"
        assert await pod.see("id -u") == "0\n"
