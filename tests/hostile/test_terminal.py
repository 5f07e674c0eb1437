"""What a container says does not steer the terminal of who runs the command line."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import anyio.to_thread

from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.service import running_service, service_config
from tests.hostile.conftest import MakeImage
from tests.hostile.tenants import run_pod

_STEERS = "\x1b[31mred\u202e"

_PROBED = """
apiVersion: v1
kind: Pod
metadata: {{name: probed}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: {image}
    imagePullPolicy: Never
    command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    readinessProbe:
      periodSeconds: 1
      exec: {{command: [sh, -c, "[ -e /seen ] || {{ touch /seen; cat /says; exit 1; }}"]}}
"""


def _archive() -> bytes:
    """A folder, and a file of the same name."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, kind in (("f", tarfile.DIRTYPE), *((f"f/{_STEERS}", k) for k in (b"5", b"0"))):
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o755
            tar.addfile(info)
    return content.getvalue()


async def _asupervisor(*words: str) -> subprocess.CompletedProcess[str]:
    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "asupervisor", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return await anyio.to_thread.run_sync(run)


async def test_the_names_in_an_archive_that_a_container_sends(
    engine: Engine, directory: Path, make_image: MakeImage
) -> None:
    script = b"#!/bin/sh\ncat /archive\n"
    image = make_image(extra={"archive": _archive(), "sent": script})
    async with Supervisor(service_config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "tenant", image)
        replaced = ("sh", "-c", "rm /bin/tar; cp /sent /bin/tar; chmod 755 /bin/tar")
        assert (await supervisor.runtime.exec_sync(pod.container_id, replaced, 60)).exit_code == 0
        endpoint = f"unix://{directory}/cri.sock"
        told = await _asupervisor(
            "cp", "--endpoint", endpoint, "tenant/main:/f", str(directory / "out")
        )
        await pod.remove()
    assert told.returncode == 1 and "a folder already" in told.stderr, told.stderr
    assert "\x1b" not in told.stderr and "\u202e" not in told.stderr


async def test_the_words_of_a_probe_that_fails(
    engine: Engine, directory: Path, make_image: MakeImage
) -> None:
    image = make_image(extra={"says": _STEERS.encode()})
    manifest = directory / "probed.yaml"
    manifest.write_text(_PROBED.format(image=image))
    with running_service(engine) as service:
        told = await _asupervisor("run", "-d", "--endpoint", service.endpoint, str(manifest))
    assert told.returncode == 0 and "exit code 1" in told.stderr, told.stderr
    assert "\x1b" not in told.stderr and "\u202e" not in told.stderr
