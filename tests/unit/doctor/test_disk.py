"""Disks that are full, and certificates that are out of date."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from asupervisor.config import StreamingConfig
from asupervisor.doctor import certificates, disk
from asupervisor.doctor.finding import Level
from tests.harness.made_node import MadeNode, assert_finds, only


@pytest.fixture
def made(tmp_path: Path) -> MadeNode:
    return MadeNode(tmp_path)


def file_system(free: int, inodes: int = 100, flags: int = 0) -> Any:
    """100 GiB, of which so many are free, and so many of 100 inodes."""
    gib = 1 << 18
    return lambda path: os.statvfs_result(
        (4096, 4096, 100 * gib, free * gib, free * gib, 100, inodes, inodes, flags, 255)
    )


@pytest.mark.parametrize(
    ("free", "inodes", "level"),
    [
        (50, 50, Level.OK),
        (12, 50, Level.WARNING),
        (2, 50, Level.ERROR),
        (50, 4, Level.WARNING),
        (50, 1, Level.ERROR),
    ],
)
def test_room_for_images(
    made: MadeNode, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int, level: Level
) -> None:
    monkeypatch.setattr(os, "statvfs", file_system(free, inodes))
    words = (f"images in /var/lib/docker: {free}.0 GiB ({free}%)", f"{inodes}% of the inodes")
    assert_finds(only(disk.images(made.node)), level, *words)


def test_a_disk_that_cannot_be_written(made: MadeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", file_system(50, 50, os.ST_RDONLY))
    assert_finds(only(disk.logs(made.node)), Level.ERROR, "/var/log/pods", "read-only")


def test_each_place_is_named(made: MadeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", file_system(9))
    assert_finds(only(disk.state(made.node)), Level.WARNING, "var/lib/cri-dockerd")
    assert_finds(only(disk.volumes(made.node)), Level.WARNING, "var/lib/kubelet")
    node = made.node
    node.engine = None
    assert disk.images(node) == []


def certificate(directory: Path, name: str = "one", days: int = 365) -> StreamingConfig:
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", "/CN=node", "-days", str(days)]
    command += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return StreamingConfig(tls_cert_file=str(cert), tls_private_key_file=str(key))


def test_a_good_certificate(made: MadeNode) -> None:
    assert_finds(only(certificates.streaming(made.node)), Level.OK, "no certificate of its own")
    made.config["streaming"] = certificate(made.root)
    assert_finds(only(certificates.streaming(made.node)), Level.OK, "is valid until 20")


def test_a_certificate_that_soon_expires(made: MadeNode) -> None:
    made.config["streaming"] = certificate(made.root, days=5)
    assert_finds(only(certificates.streaming(made.node)), Level.WARNING, "expires on 20")


def test_dates_that_are_over_or_to_come() -> None:
    over = certificates.judge_dates("c.pem", 1e9, 1.1e9, 1.2e9, "renew it")
    assert_finds(over, Level.ERROR, "c.pem expired on 2004-11-09")
    to_come = certificates.judge_dates("c.pem", 1.1e9, 1.2e9, 1e9, "renew it")
    assert_finds(to_come, Level.ERROR, "not valid yet")


def test_a_certificate_of_kubelets_that_is_over(
    made: MadeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert certificates.kubelet(made.node) == []
    text = Path(certificate(made.root, days=5).tls_cert_file).read_text()
    file = made.write("var/lib/kubelet/pki/kubelet-client-current.pem", text)
    assert_finds(only(certificates.kubelet(made.node)), Level.OK)  # it is renewed by kubelet
    later = time.time() + 6 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    found = only(certificates.kubelet(made.node))
    assert_finds(found, Level.ERROR, f"{file} expired on", "the API server refuses kubelet")
    file.write_text("nothing")
    assert_finds(only(certificates.kubelet(made.node)), Level.ERROR, "cannot be used")


def test_a_key_of_another_certificate(made: MadeNode) -> None:
    one, other = certificate(made.root), certificate(made.root, "other")
    made.config["streaming"] = StreamingConfig(
        tls_cert_file=one.tls_cert_file, tls_private_key_file=other.tls_private_key_file
    )
    assert_finds(only(certificates.streaming(made.node)), Level.ERROR, "cannot be used")


@pytest.mark.parametrize(
    "content",
    ["", "x", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "x" * (2 << 20)],
    ids=["empty", "words", "hollow", "endless"],
)
def test_a_file_that_is_no_certificate(made: MadeNode, content: str) -> None:
    file = made.write("one.crt", content)
    made.config["streaming"] = StreamingConfig(
        tls_cert_file=str(file), tls_private_key_file=str(file)
    )
    assert_finds(only(certificates.streaming(made.node)), Level.ERROR, "cannot be used")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x30", b"\x30\x84", b"\x30\x02\x30\x00", b"\x31\x00", b"\x30\xff" + b"\x7f" * 200],
)
def test_bytes_that_are_no_certificate(data: bytes) -> None:
    with pytest.raises(ValueError, match="it"):
        certificates.validity(data)
