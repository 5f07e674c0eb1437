"""Mounts as the engine has them, and back."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.mounts import cri_mounts, engine_mounts

_OLD, _NEW = (1, 41), (1, 51)
_IMAGE = "sha256:" + "a" * 64


def _mounts(
    api: tuple[int, int] = _NEW, selinux: bool = False, **fields: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    fields = {"host_path": "/h", "container_path": "/c", **fields}
    return engine_mounts([cri.Mount(**fields)], api, selinux, "container x")


def _id_of(reference: str) -> str:
    digits = reference.removeprefix("sha256:")
    return next(
        image
        for image in (_IMAGE, "sha256:" + "b" * 64)
        if len(digits) >= 12 and image[7:].startswith(digits)
    )


def test_a_new_engine_is_kept_from_making_read_only_recursive_by_itself() -> None:
    (entry,), _ = _mounts(readonly=True)
    assert entry["BindOptions"] == {"ReadOnlyNonRecursive": True}
    (entry,), _ = _mounts(_OLD, readonly=True)
    assert entry["BindOptions"] == {}
    (entry,), _ = _mounts(readonly=True, recursive_read_only=True)
    assert entry["BindOptions"] == {"Propagation": "rprivate", "ReadOnlyForceRecursive": True}


def test_a_private_mount_is_left_to_the_engine_which_refuses_one_of_its_data() -> None:
    (entry,), _ = _mounts(host_path="/")
    assert "Propagation" not in entry["BindOptions"]
    (entry,), _ = _mounts(propagation=cri.PROPAGATION_HOST_TO_CONTAINER)
    assert entry["BindOptions"] == {"Propagation": "rslave"}
    (entry,), _ = _mounts(propagation=cri.PROPAGATION_BIDIRECTIONAL)
    assert entry["BindOptions"] == {"Propagation": "rshared"}


def test_files_are_relabelled_in_the_engines_older_form_and_only_with_selinux() -> None:
    assert _mounts(selinux_relabel=True) == _mounts()
    fields: dict[str, Any] = {
        "selinux_relabel": True,
        "readonly": True,
        "propagation": cri.PROPAGATION_HOST_TO_CONTAINER,
    }
    assert _mounts(selinux=True, **fields) == ([], ["/h:/c:z,rslave,ro"])
    assert _mounts(selinux=True) == _mounts()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"host_path": "/a:b", "selinux_relabel": True}, InvalidArgument),
        (
            {"selinux_relabel": True, "readonly": True, "recursive_read_only": True},
            FailedPrecondition,
        ),
    ],
)
def test_what_cannot_be_relabelled_is_refused(
    fields: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match="/c"):
        _mounts(selinux=True, **fields)


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({"readonly": True, "recursive_read_only": True}, r"1\.44"),
        ({"host_path": "", "image": cri.ImageSpec(image="i"), "readonly": True}, r"1\.48"),
    ],
)
def test_what_an_old_engine_cannot_do_names_the_version_that_can(
    fields: dict[str, Any], version: str
) -> None:
    with pytest.raises(FailedPrecondition, match=version):
        _mounts(_OLD, **fields)


def test_a_mounted_image_is_told_back_with_its_id_before_and_after_the_start() -> None:
    (entry,), _ = _mounts(
        host_path="", image=cri.ImageSpec(image=_IMAGE), image_sub_path="data", readonly=True
    )
    asked = {"HostConfig": {"Mounts": [entry]}, "Mounts": []}
    there = {
        "HostConfig": {"Mounts": [entry]},
        "Mounts": [{"Type": "image", "Source": _IMAGE, "Destination": "/c"}],
    }
    for document in (asked, there):
        (mount,) = cri_mounts(document, _id_of)
        assert (mount.container_path, mount.image.image, mount.image.image_ref) == (
            "/c",
            _IMAGE,
            _IMAGE,
        )
        assert (mount.image_sub_path, mount.readonly) == ("data", True)


def test_an_image_that_is_gone_is_told_back_by_the_name_that_was_asked_for() -> None:
    (entry,), _ = _mounts(host_path="", image=cri.ImageSpec(image=_IMAGE), readonly=True)
    (mount,) = cri_mounts({"HostConfig": {"Mounts": [entry]}, "Mounts": []})
    assert (mount.image.image, mount.image.image_ref) == (_IMAGE, "")


def test_the_same_image_is_mounted_many_times_under_as_many_spellings_of_its_id() -> None:
    other = "sha256:" + "b" * 64
    images = [_IMAGE, other, *[_IMAGE] * 20]
    mounts = [
        cri.Mount(container_path=f"/{number}", image=cri.ImageSpec(image=image), readonly=True)
        for number, image in enumerate(images)
    ]
    entries, _ = engine_mounts(mounts, _NEW, False, "container x")
    sources = [entry["Source"] for entry in entries]
    assert sources[:2] == [_IMAGE, other]
    assert len(set(sources)) == len(sources)
    told = cri_mounts({"HostConfig": {"Mounts": entries}, "Mounts": []}, _id_of)
    assert (
        [mount.image.image for mount in told] == [mount.image.image_ref for mount in told] == images
    )


def test_volumes_of_the_image_are_not_the_requests_and_a_peers_binds_are() -> None:
    document = {
        "HostConfig": {"Binds": ["/h:/c"]},
        "Mounts": [
            {"Type": "volume", "Source": "/v", "Destination": "/data", "RW": True},
            {
                "Type": "bind",
                "Source": "/h",
                "Destination": "/c",
                "RW": True,
                "Propagation": "rslave",
            },
        ],
    }
    (mount,) = cri_mounts(document)
    assert (mount.host_path, mount.container_path, mount.propagation) == (
        "/h",
        "/c",
        cri.PROPAGATION_HOST_TO_CONTAINER,
    )
