"""Makes an image of this machine's busybox and loads it into the engine of the service that runs
here: ``busybox_image.py REFERENCE``.

The service is found as by ``asupervisor`` itself: at ``$ASUPERVISOR_ENDPOINT``, else at the usual
socket."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import platform
import re
import shutil
import socket
import subprocess
import sys
import tarfile
from pathlib import Path


def archive(reference: str, busybox: str) -> bytes:
    """An archive for ``docker load``: one layer with busybox, the libraries that it needs (a
    static one needs none) and a link for each of its commands.
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for directory in ("bin", "tmp", "root", "etc"):
            info = tarfile.TarInfo(directory)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(info)
        for library in libraries(busybox):
            _add(tar, library.lstrip("/"), Path(library).read_bytes(), 0o755)
        _add(tar, "bin/busybox", Path(busybox).read_bytes(), 0o755)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644)
        for command in subprocess.run(
            [busybox, "--list"], check=True, capture_output=True, text=True
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


def libraries(program: str) -> list[str]:
    """The paths of the shared libraries of a program, its loader among them."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return re.findall(r"(/\S+) \(0x", told.stdout) if told.returncode == 0 else []


def engine_socket() -> str:
    """The socket of the engine that the running service uses."""
    command = [sys.executable, "-m", "asupervisor", "info", "-o", "json"]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout
    if not told:  # the client has said why
        sys.exit(1)
    document = json.loads(told)
    if reasons := [c["message"] for c in document["status"]["conditions"] if not c["status"]]:
        sys.exit(f"the node is not ready: {'; '.join(reasons)}")
    endpoint = str(document["info"]["info"]["engine"]["endpoint"])
    if not endpoint.startswith("unix://"):
        sys.exit(f"the engine at {endpoint} is not on this machine; docker load the image there")
    return endpoint.removeprefix("unix://")


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
    if len(sys.argv) != 2:
        sys.exit("usage: busybox_image.py IMAGE:TAG")
    found = shutil.which("busybox")
    if found is None:
        sys.exit("there is no busybox on this machine; install busybox-static")
    load(engine_socket(), archive(sys.argv[1], found))
    print(f"{sys.argv[1]} is there")
