"""Mounts as the engine has them, and back."""

from __future__ import annotations

from typing import Any

import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.mounts import cri_mounts, engine_mounts

_OLD, _NEW = (1, 41), (1, 51)


def _mounts(api: tuple[int, int] = _NEW, selinux: bool = False, **fields: Any) -> tuple[list[dict[str, Any]], list[str]]:
    fields = {"host_path": "/h", "container_path": "/c", **fields}
    return engine_mounts([cri.Mount(**fields)], api, selinux, "container x")


def test_a_new_engine_is_kept_from_making_read_only_recursive_by_itself() -> None:
    (entry,), _ = _mounts(readonly=True)
    assert entry["BindOptions"] == {"Propagation": "rprivate", "ReadOnlyNonRecursive": True}
    (entry,), _ = _mounts(_OLD, readonly=True)
    assert entry["BindOptions"] == {"Propagation": "rprivate"}
    (entry,), _ = _mounts(readonly=True, recursive_read_only=True)
    assert entry["BindOptions"] == {"Propagation": "rprivate", "ReadOnlyForceRecursive": True}


def test_files_are_relabelled_in_the_engines_older_form_and_only_with_selinux() -> None:
    assert _mounts(selinux_relabel=True) == _mounts()
    fields: dict[str, Any] = {"selinux_relabel": True, "readonly": True, "propagation": cri.PROPAGATION_HOST_TO_CONTAINER}
    assert _mounts(selinux=True, **fields) == ([], ["/h:/c:z,rslave,ro"])
    assert _mounts(selinux=True) == _mounts()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"host_path": "/a:b", "selinux_relabel": True}, InvalidArgument),
        ({"selinux_relabel": True, "readonly": True, "recursive_read_only": True}, FailedPrecondition),
    ],
)
def test_what_cannot_be_relabelled_is_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="/c"):
        _mounts(selinux=True, **fields)


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({"readonly": True, "recursive_read_only": True}, r"1\.44"),
        ({"host_path": "", "image": cri.ImageSpec(image="i"), "readonly": True}, r"1\.48"),
    ],
)
def test_what_an_old_engine_cannot_do_names_the_version_that_can(fields: dict[str, Any], version: str) -> None:
    with pytest.raises(FailedPrecondition, match=version):
        _mounts(_OLD, **fields)


def test_a_mounted_image_is_told_back_with_its_id_before_and_after_the_start() -> None:
    (entry,), _ = _mounts(host_path="", image=cri.ImageSpec(image="sha256:1"), image_sub_path="data", readonly=True)
    asked = {"HostConfig": {"Mounts": [entry]}, "Mounts": []}
    there = {"HostConfig": {"Mounts": [entry]}, "Mounts": [{"Type": "image", "Source": "sha256:1", "Destination": "/c"}]}
    for document in (asked, there):
        (mount,) = cri_mounts(document, lambda reference: f"id of {reference}")
        assert (mount.container_path, mount.image.image, mount.image.image_ref) == ("/c", "sha256:1", "id of sha256:1")
        assert (mount.image_sub_path, mount.readonly) == ("data", True)


def test_volumes_of_the_image_are_not_the_requests_and_a_peers_binds_are() -> None:
    document = {
        "HostConfig": {"Binds": ["/h:/c"]},
        "Mounts": [
            {"Type": "volume", "Source": "/v", "Destination": "/data", "RW": True},
            {"Type": "bind", "Source": "/h", "Destination": "/c", "RW": True, "Propagation": "rslave"},
        ],
    }
    (mount,) = cri_mounts(document)
    assert (mount.host_path, mount.container_path, mount.propagation) == ("/h", "/c", cri.PROPAGATION_HOST_TO_CONTAINER)
