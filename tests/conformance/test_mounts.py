"""Mount, Device, CDIDevice: what a container sees of the node."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument, NotFound, ServiceError
from asupervisor.proto import cri
from tests.conformance.node import Node, Pod, unique


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A directory whose mounts propagate."""
    path = tmp_path / "shared"
    path.mkdir()
    subprocess.run(["mount", "--bind", path, path], check=True)
    subprocess.run(["mount", "--make-rshared", path], check=True)
    yield path
    subprocess.run(["umount", "-R", "-l", path], check=True)


async def _told(pod: Pod, container_id: str, container_path: str) -> cri.Mount:
    return next(
        mount
        for mount in (await pod.status(container_id)).mounts
        if mount.container_path == container_path
    )


async def test_a_directory_is_mounted_writable_and_told_back(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host")
    mount = cri.Mount(host_path=str(tmp_path), container_path="/mnt/dir")
    async with pod.container(mounts=[mount]) as container_id:
        assert (
            await pod.sh(container_id, "cat /mnt/dir/file; echo back > /mnt/dir/new")
            == "from the host"
        )
        assert (tmp_path / "new").read_text() == "back\n"
        told = await _told(pod, container_id, "/mnt/dir")
        assert (told.host_path, told.readonly, told.propagation) == (
            str(tmp_path),
            False,
            cri.PROPAGATION_PRIVATE,
        )


async def test_a_file_is_mounted(pod: Pod, tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("content\n")
    async with pod.container(
        mounts=[cri.Mount(host_path=str(file), container_path="/etc/one-file")]
    ) as container_id:
        assert await pod.sh(container_id, "cat /etc/one-file") == "content\n"


async def test_read_only(pod: Pod, tmp_path: Path) -> None:
    mount = cri.Mount(host_path=str(tmp_path), container_path="/mnt/ro", readonly=True)
    async with pod.container(mounts=[mount]) as container_id:
        assert "Read-only" in await pod.fails(container_id, "touch /mnt/ro/new")
        assert (await _told(pod, container_id, "/mnt/ro")).readonly


async def test_a_symlinked_host_path_is_followed(pod: Pod, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "file").write_text("behind the link")
    (tmp_path / "link").symlink_to("real")
    async with pod.container(
        mounts=[cri.Mount(host_path=str(tmp_path / "link"), container_path="/mnt/link")]
    ) as container_id:
        assert await pod.sh(container_id, "cat /mnt/link/file") == "behind the link"


async def test_a_host_path_that_is_missing_is_made_as_a_directory(
    node: Node, pod: Pod, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    missing = tmp_path / "link" / "missing" / "deeper"
    mount = cri.Mount(host_path=f"{missing}/", container_path="/mnt/missing")
    if node.is_docker:
        with node.refused(NotFound, "/dev/no-such-device"):
            await pod.create(mounts=[mount], devices=[cri.Device(host_path="/dev/no-such-device")])
        assert not missing.parent.exists(), "a request that is refused makes nothing"
    async with pod.container(mounts=[mount]) as container_id:
        assert await pod.sh(container_id, "echo here > /mnt/missing/file; ls /mnt/missing") == (
            "file\n"
        )
    made = tmp_path / "real" / "missing" / "deeper"
    assert (made / "file").read_text() == "here\n"
    assert stat.S_IMODE(made.stat().st_mode) == 0o755 and made.stat().st_uid == 0


async def test_a_host_path_that_leads_nowhere_is_an_error_and_nothing_is_made_there(
    node: Node, pod: Pod, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    dangling = tmp_path / "dangling"
    dangling.symlink_to(missing)
    (tmp_path / "file").touch()
    for path, kind in (
        (dangling, NotFound),
        (dangling / "below", NotFound),
        (tmp_path / "file" / "below", FailedPrecondition),
    ):
        with node.refused(kind, str(path)):
            await pod.create(mounts=[cri.Mount(host_path=str(path), container_path="/mnt/m")])
    assert not missing.exists()


@pytest.mark.parametrize(
    ("propagation", "host_to_container", "container_to_host"),
    [
        (cri.PROPAGATION_PRIVATE, False, False),
        (cri.PROPAGATION_HOST_TO_CONTAINER, True, False),
        (cri.PROPAGATION_BIDIRECTIONAL, True, True),
    ],
)
async def test_propagation_is_what_was_asked_for_and_told_back(
    node: Node,
    shared: Path,
    propagation: cri.MountPropagation,
    host_to_container: bool,
    container_to_host: bool,
) -> None:
    (shared / "host").mkdir()
    (shared / "container").mkdir()
    mount = cri.Mount(host_path=str(shared), container_path="/mnt/p", propagation=propagation)
    capabilities = cri.LinuxContainerSecurityContext(
        capabilities=cri.Capability(add_capabilities=["SYS_ADMIN"]),
        apparmor=cri.SecurityProfile(profile_type=cri.SecurityProfile.Unconfined),
    )
    async with (
        node.pod() as pod,
        pod.container(mounts=[mount], security=capabilities) as container_id,
    ):
        subprocess.run(["mount", "-t", "tmpfs", "none", shared / "host"], check=True)
        (shared / "host" / "seen").touch()
        seen = (await pod.sh(container_id, "ls /mnt/p/host")).split() == ["seen"]
        assert seen is host_to_container
        await pod.sh(
            container_id, "mount -t tmpfs none /mnt/p/container && touch /mnt/p/container/seen"
        )
        assert (shared / "container" / "seen").exists() is container_to_host
        assert (await _told(pod, container_id, "/mnt/p")).propagation == propagation


async def test_the_whole_of_the_host_is_mounted(node: Node, tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    mount = cri.Mount(host_path="/", container_path="/mnt/host", readonly=True)
    async with node.pod() as pod, pod.container(mounts=[mount]) as container_id:
        assert await pod.sh(container_id, f"ls /mnt/host{tmp_path}") == "here\n"
        assert "Read-only" in await pod.fails(container_id, "touch /mnt/host/new")


async def test_a_propagation_that_the_host_mount_cannot_have_is_refused(
    node: Node, pod: Pod, tmp_path: Path
) -> None:
    private = tmp_path / "private"
    private.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", private], check=True)
    subprocess.run(["mount", "--make-private", private], check=True)
    try:
        with node.refused((FailedPrecondition, InvalidArgument), str(private)):
            await pod.run(
                mounts=[
                    cri.Mount(
                        host_path=str(private),
                        container_path="/mnt/p",
                        propagation=cri.PROPAGATION_BIDIRECTIONAL,
                    )
                ]
            )
    finally:
        subprocess.run(["umount", "-l", private], check=True)


async def test_read_only_leaves_submounts_writable_unless_recursive(
    node: Node, pod: Pod, shared: Path
) -> None:
    (shared / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", shared / "sub"], check=True)
    plain = cri.Mount(host_path=str(shared), container_path="/mnt/ro", readonly=True)
    async with pod.container(mounts=[plain]) as container_id:
        await pod.fails(container_id, "touch /mnt/ro/new")
        await pod.sh(container_id, "touch /mnt/ro/sub/new")
    recursive = cri.Mount(
        host_path=str(shared), container_path="/mnt/ro", readonly=True, recursive_read_only=True
    )
    if node.features.recursive_read_only_mounts:
        async with pod.container(mounts=[recursive]) as container_id:
            await pod.fails(container_id, "touch /mnt/ro/sub/other")
            assert (await _told(pod, container_id, "/mnt/ro")).recursive_read_only
    else:
        with node.refused(FailedPrecondition, "recursive", "1.44"):
            await pod.create(mounts=[recursive])


async def test_impossible_combinations_of_recursive_read_only_are_refused(
    node: Node, pod: Pod, tmp_path: Path
) -> None:
    for fields in (
        {"readonly": False},
        {"readonly": True, "propagation": cri.PROPAGATION_HOST_TO_CONTAINER},
        {"readonly": True, "propagation": cri.PROPAGATION_BIDIRECTIONAL},
    ):
        mount = cri.Mount(
            host_path=str(tmp_path), container_path="/mnt/x", recursive_read_only=True, **fields
        )
        with node.refused(InvalidArgument, "recursive_read_only"):
            await pod.create(mounts=[mount])


async def test_selinux_relabel_does_nothing_on_a_host_without_selinux(
    pod: Pod, tmp_path: Path
) -> None:
    mount = cri.Mount(host_path=str(tmp_path), container_path="/mnt/label", selinux_relabel=True)
    async with pod.container(mounts=[mount]) as container_id:
        await pod.sh(container_id, "touch /mnt/label/new")


async def test_mounts_that_make_no_sense_are_refused(node: Node, pod: Pod, tmp_path: Path) -> None:
    node.only_docker("other runtimes fail elsewhere or pass over them")
    mapping = cri.IDMapping(host_id=1, container_id=0, length=1)
    host = {"host_path": str(tmp_path), "container_path": "/mnt/x"}
    for fields, word in (
        ({"host_path": str(tmp_path)}, "container_path"),
        ({"container_path": "/mnt/x"}, "host_path"),
        ({**host, "uidMappings": [mapping]}, "id-mapped"),
        ({**host, "mount_options": ["nosuid"]}, "mount_options"),
        ({**host, "image_sub_path": "data"}, "image_sub_path"),
        ({**host, "image": cri.ImageSpec(image=node.names.busybox), "readonly": True}, "both"),
    ):
        with node.refused(InvalidArgument, word):
            await pod.create(mounts=[cri.Mount(**fields)])


async def test_an_image_is_mounted_and_its_digest_told_back(node: Node, pod: Pod) -> None:
    image_id = await node.have(node.names.by_uid)
    image = cri.ImageSpec(image=image_id, user_specified_image=node.names.by_uid)
    mount = cri.Mount(container_path="/mnt/image", image=image, readonly=True)
    try:
        container_id = await pod.run(mounts=[mount])
    except ServiceError as error:
        assert not node.is_docker or isinstance(error, FailedPrecondition), error
        assert not node.is_docker or "1.48" in error.message
        pytest.skip("this runtime has no image volumes")
    assert await pod.sh(container_id, "cat /mnt/image/mark") == "by-uid"
    assert "Read-only" in await pod.fails(container_id, "touch /mnt/image/new")
    if node.is_docker:
        told = await _told(pod, container_id, "/mnt/image")
        assert told.image.image_ref == image_id
        assert told.readonly
        part = cri.Mount(
            container_path="/mnt/part", image=image, image_sub_path="data/inner", readonly=True
        )
        async with pod.container(mounts=[part]) as other:
            assert await pod.sh(other, "ls /mnt/part") == "file\n"
            assert (await _told(pod, other, "/mnt/part")).image_sub_path == "data/inner"
        async with pod.container(
            mounts=[mount, part, cri.Mount(container_path="/mnt/again", image=image, readonly=True)]
        ) as several:
            assert (
                await pod.sh(several, "cat /mnt/image/mark /mnt/again/mark; ls /mnt/part")
                == "by-uidby-uidfile\n"
            )
            for path in ("/mnt/image", "/mnt/part", "/mnt/again"):
                assert (await _told(pod, several, path)).image.image_ref == image_id
        with node.refused(NotFound, "no-such-path"):
            await pod.create(
                mounts=[
                    cri.Mount(
                        container_path="/mnt/p",
                        image=image,
                        image_sub_path="no-such-path",
                        readonly=True,
                    )
                ]
            )
        with node.refused(NotFound, "localhost/no/such:image"):
            await pod.create(
                mounts=[
                    cri.Mount(
                        container_path="/mnt/p",
                        image=cri.ImageSpec(image="localhost/no/such:image"),
                        readonly=True,
                    )
                ]
            )
        with node.refused(InvalidArgument, "readonly"):
            await pod.create(mounts=[cri.Mount(container_path="/mnt/p", image=image)])


async def test_devices(pod: Pod) -> None:
    device = cri.Device(host_path="/dev/null", container_path="/dev/nothing", permissions="rw")
    async with pod.container(devices=[device]) as container_id:
        await pod.sh(container_id, "test -c /dev/nothing && echo gone > /dev/nothing")
    async with pod.container() as container_id:
        await pod.fails(container_id, "test -e /dev/nothing")


async def test_a_device_that_is_missing_or_has_no_such_permission_is_refused(
    node: Node, pod: Pod
) -> None:
    with node.refused(NotFound, "/dev/no-such-device"):
        await pod.run(
            devices=[
                cri.Device(
                    host_path="/dev/no-such-device", container_path="/dev/x", permissions="r"
                )
            ]
        )
    node.only_docker("other runtimes leave odd letters to the kernel")
    with node.refused(InvalidArgument, "xyz"):
        await pod.create(
            devices=[cri.Device(host_path="/dev/null", container_path="/dev/x", permissions="xyz")]
        )


async def test_cdi_devices_are_there_or_refused(node: Node, pod: Pod) -> None:
    name = f"conformance.test/{unique('kind')}=none"
    kinds = (FailedPrecondition, InvalidArgument, NotFound)
    with node.refused(kinds, "CDI" if node.is_docker else ""):
        await pod.run(CDI_devices=[cri.CDIDevice(name=name)])


@contextlib.contextmanager
def _cdi_spec(kind: str) -> Iterator[None]:
    path = Path("/var/run/cdi") / f"{os.getpid()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    device = {"name": "one", "containerEdits": {"env": ["FROM_CDI=yes"]}}
    path.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": kind, "devices": [device]}))
    try:
        yield
    finally:
        path.unlink()


async def test_a_cdi_device_changes_the_container(node: Node, pod: Pod) -> None:
    kind = "conformance.test/widget"
    with _cdi_spec(kind):
        try:
            container_id = await pod.run(CDI_devices=[cri.CDIDevice(name=f"{kind}=one")])
        except ServiceError as error:
            assert not node.is_docker or "CDI" in error.message
            pytest.skip("this runtime has no CDI")
        answer = await node.runtime.exec_sync(
            container_id, ("sh", "-c", "tr '\\0' '\\n' < /proc/1/environ")
        )
        assert b"FROM_CDI=yes" in answer.stdout
