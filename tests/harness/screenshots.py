"""Pictures of the status page for docs/: ``python -m tests.harness.screenshots`` (as root, with an
engine and a browser).
"""

from __future__ import annotations

import tempfile
import urllib.request
from pathlib import Path

import anyio

from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from tests.harness.browser import look_at
from tests.harness.engine import BUSYBOX_IMAGE, Engine, busybox_archive, eventually
from tests.harness.namespace import leave_the_network
from tests.harness.service import Service

PLACE = Path(__file__).parents[2] / "docs" / "images"
_KINDS = {
    "status-light": ("--window-size=1200,2400", "--blink-settings=preferredColorScheme=1"),
    "status-dark": ("--window-size=1200,1700", "--blink-settings=preferredColorScheme=0"),
    "status-phone": ("--window-size=500,1400", "--blink-settings=preferredColorScheme=1"),
}
_AFTER_S = 60.0
"""At most: a busy machine paints nothing for many seconds."""
_BLANK_BYTES = 20000
_PODS = {"web": ("nginx", "sidecar"), "database": ("postgres",), "queue": ("worker",)}


def main() -> None:
    """Run an engine, the service and some pods, and look at the page."""
    leave_the_network()
    PLACE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        engine = Engine()
        engine.start()
        try:
            engine.load(busybox_archive())
            service = Service(engine, flags=("--metrics-bind-addr", "127.0.0.1:0"))
            service.start()
            try:
                anyio.run(_fill, service.endpoint)
                page = f"{service.pages_url}/"
                eventually(lambda: "lines are ok" in _read(page), "what doctor found", 120.0)
                for name, flags in _KINDS.items():
                    picture = PLACE / f"{name}.png"
                    shot = f"--screenshot={picture}"
                    look_at(page, Path(directory) / name, shot, *flags, after_s=_AFTER_S)
                    assert picture.stat().st_size > _BLANK_BYTES, f"{picture} is blank"
                    print(picture)
            finally:
                service.stop()
        finally:
            engine.remove_all()
            engine.destroy()


def _read(page: str) -> str:
    """As a browser would ask for it, which has doctor look at the node."""
    with urllib.request.urlopen(page, timeout=60) as answer:
        text: str = answer.read().decode()
        return text


async def _fill(endpoint: str) -> None:
    """Three pods, a container that failed, and a call that did."""
    async with (
        RemoteRuntimeService.connect(endpoint) as runtime,
        RemoteImageService.connect(endpoint, sharing=runtime) as images,
    ):
        for name, containers in _PODS.items():
            pod = cri.PodSandboxConfig(
                metadata=cri.PodSandboxMetadata(name=name, namespace="shop", uid=f"uid-{name}"),
                labels={"app": name, "tier": "backend"},
                linux=cri.LinuxPodSandboxConfig(),
            )
            sandbox = await runtime.run_pod_sandbox(pod)
            for container in containers:
                config = cri.ContainerConfig(
                    metadata=cri.ContainerMetadata(name=container),
                    image=cri.ImageSpec(image=BUSYBOX_IMAGE),
                    command=["sh", "-c", "exit 3" if name == "queue" else "sleep 3600"],
                )
                created = await runtime.create_container(sandbox, config, pod)
                await runtime.start_container(created)
        try:
            await images.pull_image(cri.ImageSpec(image="127.0.0.1:1/shop/web:2"))
        except Exception as error:
            print(f"as it should: {error}")
        for _ in range(200):
            await runtime.list_containers()


if __name__ == "__main__":
    main()
