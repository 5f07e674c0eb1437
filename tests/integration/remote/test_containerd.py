"""The client against somebody else's CRI server: containerd, whose pods run on the embedded pause
image.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from asupervisor import errors
from asupervisor.dockershim.image.embedded_pause import EMBEDDED_PAUSE_REFERENCE, pause_archive
from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from tests.harness.engine import eventually

CONFIG = """
version = 2
root = "{root}/root"
state = "{root}/state"
[grpc]
  address = "{root}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
  restrict_oom_score_adj = true
  sandbox_image = "{pause}"
"""


@pytest.fixture(scope="module")
def containerd() -> Iterator[str]:
    """The endpoint of a containerd of the tests' own (the distribution's, which Docker Engine
    brings) with the pause image.
    """
    if shutil.which("containerd") is None or shutil.which("ctr") is None:
        pytest.skip("containerd is not installed")
    root = Path(tempfile.mkdtemp(prefix="asv-ctd-", dir="/var/tmp"))
    socket = root / "containerd.sock"
    (root / "config.toml").write_text(CONFIG.format(root=root, pause=EMBEDDED_PAUSE_REFERENCE))
    (root / "pause.tar").write_bytes(pause_archive(platform.machine()))
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            ["containerd", "--config", str(root / "config.toml")], stdout=log, stderr=log
        )
    try:
        eventually(
            lambda: socket.exists() or process.poll() is not None,
            f"containerd listens; its log: {root / 'log'}",
        )
        assert process.poll() is None, (root / "log").read_text()[-2000:]
        image = [
            "ctr",
            "--address",
            str(socket),
            "--namespace",
            "k8s.io",
            "images",
            "import",
            str(root / "pause.tar"),
        ]
        subprocess.run(image, check=True, stdout=subprocess.DEVNULL)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait(30)
        subprocess.run(
            [
                "sh",
                "-c",
                f"mount | awk '{{print $3}}' | grep '^{root}/' | sort -r | xargs -r umount -l",
            ],
            check=False,
        )
        shutil.rmtree(root, ignore_errors=True)


async def test_a_pod_from_start_to_end(containerd: str) -> None:
    config = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name="pod", namespace="default", uid="1"),
        linux=cri.LinuxPodSandboxConfig(
            security_context=cri.LinuxSandboxSecurityContext(
                namespace_options=cri.NamespaceOption(network=cri.NODE)
            )
        ),
    )

    async with (
        RemoteRuntimeService.connect(containerd, 30.0) as runtime,
        RemoteImageService.connect(containerd, 30.0, sharing=runtime) as images,
    ):
        assert (await runtime.version()).runtime_name == "containerd"
        # containerd learns of an image that was imported past its CRI by an event.
        with anyio.fail_after(30):
            while not (await images.image_status(EMBEDDED_PAUSE_REFERENCE)).HasField("image"):  # noqa: ASYNC110
                await anyio.sleep(0.02)
        sandbox = await runtime.run_pod_sandbox(config)
        try:
            assert (await runtime.pod_sandbox_status(sandbox)).status.state == cri.SANDBOX_READY
            assert [pod.id for pod in await runtime.list_pod_sandbox(stream=True)] == [sandbox], (
                "in one piece: it has no stream"
            )
        finally:
            await runtime.stop_pod_sandbox(sandbox)
            await runtime.remove_pod_sandbox(sandbox)
        assert await runtime.list_pod_sandbox() == []


async def test_errors(containerd: str) -> None:
    async with RemoteRuntimeService.connect(containerd, 30.0) as runtime:
        with pytest.raises(errors.NotFound, match="RuntimeService/ContainerStatus at unix://"):
            await runtime.container_status("none")
        with pytest.raises(errors.Unimplemented):
            await runtime.checkpoint_pod("none", "/nowhere")
