"""Makes an image of the distribution's static busybox and loads it into an engine:
``busybox_image.py SOCKET REFERENCE``.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import platform
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

BUSYBOX = "/bin/busybox"


def archive(reference: str) -> bytes:
    """What ``docker load`` takes: one layer that holds busybox and a link for each of its
    commands.
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for directory in ("bin", "tmp", "root", "etc"):
            info = tarfile.TarInfo(directory)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(info)
        _add(tar, "bin/busybox", Path(BUSYBOX).read_bytes(), 0o755)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644)
        for command in subprocess.run(
            [BUSYBOX, "--list"], check=True, capture_output=True, text=True
        ).stdout.split():
            if command != "busybox":
                info = tarfile.TarInfo(f"bin/{command}")
                info.type, info.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(info)
    content = layer.getvalue()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(
            platform.machine(), platform.machine()
        ),
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
    }
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as tar:
        _add(tar, "layer.tar", content, 0o644)
        _add(tar, "config.json", json.dumps(config).encode(), 0o644)
        manifest = [{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]
        _add(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)
    return image.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def load(engine_socket: str, image: bytes) -> None:
    """``POST /images/load`` on the engine's socket."""
    connection = http.client.HTTPConnection("engine", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(engine_socket)
    connection.request("POST", "/images/load?quiet=1", image, {"Content-Type": "application/x-tar"})
    response = connection.getresponse()
    answer = response.read().decode()
    connection.close()
    if response.status != 200:
        sys.exit(f"the engine did not load the image: {answer}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: busybox_image.py ENGINE-SOCKET IMAGE:TAG")
    load(sys.argv[1], archive(sys.argv[2]))
