"""Which directory images are under."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from asupervisor.stats.filesystem import image_root, measure
from asupervisor.translate.images import uses_containerd_store

CONTAINERD = {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
OVERLAY = {"Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]}


def test_the_engines_own_store_is_under_its_root() -> None:
    assert image_root({"DockerRootDir": "/data", **OVERLAY}, ["/data/overlay2/x/diff"]) == "/data"
    assert image_root({}, []) == ""
    assert not uses_containerd_store(OVERLAY) and not uses_containerd_store({"DriverStatus": None})


def test_the_containerd_store_shows_in_any_layer() -> None:
    info = {"DockerRootDir": "/data", **CONTAINERD}
    layers = ["/elsewhere", "/var/lib/other/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs"]
    assert image_root(info, layers) == "/var/lib/other"


def test_the_containerd_store_before_the_first_container(tmp_path: Path) -> None:
    info = {"DockerRootDir": str(tmp_path), **CONTAINERD}
    own = tmp_path / "containerd" / "daemon"
    (own / "io.containerd.content.v1.content").mkdir(parents=True)
    assert image_root(info, []) == str(own)


def test_the_containerd_that_the_engine_names_tells_its_root_by_its_open_database(
    tmp_path: Path,
) -> None:
    # This process plays containerd: it listens, and holds the database open.
    address = f"{tmp_path}/c.sock"
    database = tmp_path / "moved" / "io.containerd.metadata.v1.bolt" / "meta.db"
    database.parent.mkdir(parents=True)
    info = {"DockerRootDir": "/data", "Containerd": {"Address": address}, **CONTAINERD}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, database.open("wb"):
        listener.bind(address)
        listener.listen()
        assert image_root(info, []) == str(tmp_path / "moved")
    assert image_root(info, []) in ("/data", "/var/lib/containerd")


@pytest.mark.parametrize("containerd", [None, "odd", {}, {"Address": "/nowhere"}])
def test_a_containerd_that_cannot_be_seen(containerd: object) -> None:
    info = {"DockerRootDir": "/data", "Containerd": containerd, **CONTAINERD}
    assert image_root(info, []) in ("/data", "/var/lib/containerd")


def test_figures_of_a_file_system(tmp_path: Path) -> None:
    whole, known = measure(str(tmp_path), None), measure(str(tmp_path), 7)
    kernel = os.statvfs(tmp_path)
    assert 0 < whole.used_bytes <= kernel.f_blocks * kernel.f_frsize
    assert (known.used_bytes, known.mountpoint) == (7, str(tmp_path))
    assert known.time_ns > 0
    with pytest.raises(FileNotFoundError):
        measure(str(tmp_path / "none"), None)
