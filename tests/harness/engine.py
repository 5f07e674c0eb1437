"""A real Docker Engine of the tests' own: own socket, data root, exec root, pid file, in the tests'
own network namespace.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.harness.session import remember_containers

ENGINE = os.environ.get("ASUPERVISOR_ENGINE", "")
"""Path of another ``dockerd`` to test with; what it needs is looked for beside it first."""
STORE = os.environ.get("ASUPERVISOR_STORE", "")
"""Where it keeps images: ``containerd`` or ``classic``; its default where empty."""
BUSYBOX = "/bin/busybox"
BUSYBOX_IMAGE = os.environ.get("ASUPERVISOR_TEST_IMAGE", "asupervisor.test/busybox:1")
"""The image that tests run; of another server it may be one that it has already."""


def eventually(
    condition: Callable[[], Any], what: str, timeout_s: float = 60.0, every_s: float = 0.02
) -> Any:
    """Wait until ``condition()`` is true and return what it gave; fail by name after ``timeout_s``
    seconds.
    """
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(every_s)  # the pause of this poll: engines and the kernel tell nobody


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("engine", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def busybox_archive(
    reference: str = BUSYBOX_IMAGE,
    config: dict[str, Any] | None = None,
    extra: dict[str, bytes] | None = None,
) -> bytes:
    """A ``docker load`` archive made on the spot from the distribution's static busybox."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for directory in ("bin", "tmp", "etc", "root", "var", "www", "dev", "proc", "sys"):
            info = tarfile.TarInfo(directory)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(info)
        binary = Path(BUSYBOX).read_bytes()
        info = tarfile.TarInfo("bin/busybox")
        info.size, info.mode = len(binary), 0o755
        tar.addfile(info, io.BytesIO(binary))
        for applet in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
            if applet != "busybox":
                info = tarfile.TarInfo(f"bin/{applet}")
                info.type, info.linkname, info.mode = tarfile.LNKTYPE, "bin/busybox", 0o755
                tar.addfile(info)
        files = {
            "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
            "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
        }
        for name, content in (files | (extra or {})).items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    layer_bytes = layer.getvalue()
    document = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], **(config or {})},
        "rootfs": {
            "type": "layers",
            "diff_ids": ["sha256:" + hashlib.sha256(layer_bytes).hexdigest()],
        },
    }
    members = {
        "layer.tar": layer_bytes,
        "config.json": json.dumps(document).encode(),
        "manifest.json": (
            json.dumps(
                [{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]
            ).encode()
        ),
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()


class Engine:
    """One ``dockerd`` (with the containerd it brings) in a directory of its own.

    Args:
        root: an empty directory for all of its files; made when not given.
        arguments: further ``dockerd`` flags, e.g. ``("--exec-opt",
            "native.cgroupdriver=cgroupfs")``.
        dockerd: the binary.
        store: where it keeps images: ``containerd`` or ``classic``; its default where empty.
    """

    def __init__(
        self,
        root: Path | None = None,
        arguments: tuple[str, ...] = (),
        dockerd: str = ENGINE or "dockerd",
        store: str = STORE,
    ) -> None:
        self.root = root or Path(tempfile.mkdtemp(prefix="asv-engine-", dir="/var/tmp"))
        self.socket = self.root / "docker.sock"
        self.arguments = arguments
        self.dockerd = dockerd
        self.store = store
        self.log = self.root / "dockerd.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The engine's address as a ``DOCKER_HOST`` value."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start ``dockerd`` and wait until it answers a ping."""
        self.root.mkdir(parents=True, exist_ok=True)
        command = [
            self.dockerd,
            "-H",
            self.endpoint,
            "--data-root",
            str(self.root / "data"),
            "--exec-root",
            str(self.root / "exec"),
            "--pidfile",
            str(self.root / "pid"),
            "--config-file",
            str(self.root / "daemon.json"),
            *self.arguments,
        ]
        # Of a killed daemon: its pid file, and that of its containerd, which it takes for alive as
        # long as nobody reaped it.
        for stale in (self.root / "pid", self.root / "exec" / "containerd" / "containerd.pid"):
            stale.unlink(missing_ok=True)
        if not (self.root / "daemon.json").exists():
            features = {"features": {"containerd-snapshotter": self.store == "containerd"}}
            (self.root / "daemon.json").write_text(json.dumps(features if self.store else {}))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        eventually(
            self.answers, f"dockerd answers on {self.socket}; its log: {self.log}", timeout_s=60
        )

    def answers(self) -> bool:
        """Whether the engine answers ``GET /_ping`` now."""
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(
                f"dockerd exited with {self.process.returncode}: {self.log.read_text()[-2000:]}"
            )
        try:
            return self.request("GET", "/_ping", timeout_s=2)[0] == 200
        except OSError:
            return False

    def request(
        self, method: str, path: str, body: Any = None, timeout_s: float = 60.0, raw: bool = False
    ) -> tuple[int, Any]:
        """One request to the engine's API, past the service under test. Returns status and decoded
        JSON (or bytes).
        """
        connection = _UnixConnection(str(self.socket), timeout_s)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
            connection.request(method, path, data, {"Content-Type": kind})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if raw:
            return response.status, content
        try:
            return response.status, json.loads(content) if content else None
        except ValueError:
            return response.status, content.decode(errors="replace")

    @property
    def containerd_store(self) -> bool:
        """Whether it keeps images in containerd, as it says itself."""
        return ["driver-type", "io.containerd.snapshotter.v1"] in (
            self.request("GET", "/info")[1]["DriverStatus"] or []
        )

    def load(self, archive: bytes) -> None:
        """``docker load`` of an archive's bytes."""
        status, answer = self.request("POST", "/images/load?quiet=1", archive)
        assert status == 200, answer

    def containers(self) -> list[dict[str, Any]]:
        """Every container that the engine has, running or not."""
        answer: list[dict[str, Any]] = self.request("GET", "/containers/json?all=1")[1]
        return answer

    def inspect(self, container_id: str) -> dict[str, Any]:
        """One container's inspect document."""
        status, answer = self.request("GET", f"/containers/{container_id}/json")
        assert status == 200, answer
        document: dict[str, Any] = answer
        return document

    def remove_all(self) -> None:
        """Remove every container by force."""
        for container in self.containers():
            self.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")

    def signal(self, number: int) -> None:
        """Send a signal to ``dockerd`` itself (SIGSTOP freezes it, SIGKILL ends it without a
        word).
        """
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def stop(self) -> None:
        """Stop ``dockerd`` in order, killing what does not end."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def destroy(self) -> None:
        """Stop it and remove every file of it."""
        with contextlib.suppress(FileNotFoundError):
            remember_containers(os.listdir(self.root / "data" / "containers"))
        if self.process is not None:
            with contextlib.suppress(OSError, AssertionError):
                self.remove_all()
        self.stop()
        remove_tree(self.root)


def remove_tree(root: Path) -> None:
    """Remove an engine's directory; it leaves mounts below (its data root, where it was shared)."""
    subprocess.run(
        [
            "sh",
            "-c",
            f"mount | awk '{{print $3}}' | grep '^{root}/' | sort -r | xargs -r umount -l",
        ],
        check=False,
    )
    shutil.rmtree(root, ignore_errors=True)
