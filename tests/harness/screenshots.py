"""Pictures of ``top`` and of the status page for docs/: ``python -m tests.harness.screenshots`` (as
root, with an engine, tmux and a browser). ``top`` as an argument makes that one alone, without a
browser.
"""

from __future__ import annotations

import re
import sys
import tempfile
import urllib.request
from html import escape
from pathlib import Path

import anyio

from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from tests.harness.browser import look_at
from tests.harness.engine import BUSYBOX_IMAGE, Engine, busybox_archive, eventually
from tests.harness.namespace import leave_the_network
from tests.harness.service import Service
from tests.harness.tmux import pane

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
_METRICS = "127.0.0.1:18095"
_WORK = {
    "nginx": "while :; do usleep 20000; seq 500 >/tmp/x; done",
    "postgres": "dd if=/dev/zero of=/data bs=1M count=24; while :; do seq 999 >/tmp/x; done",
    "worker": "exit 3",
}
"""Of a container, so that there is something to be seen."""
_TERMINAL = (112, 18)
_CHARACTER = (8.4, 18.0)
_ENDS = {"0": {"0", "1", "7", "31"}, "39": {"39", "31"}, "27": {"27", "7"}, "22": {"22", "1"}}
"""Which styles a code ends; it is none itself."""
_STYLES = {"1": "font-weight='bold'", "31": "fill='#ff8170'", "7": "fill='#1b1d23'"}


def main() -> None:
    """Run an engine, the service and some pods, and look at the page."""
    leave_the_network()
    PLACE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        engine = Engine()
        engine.start()
        try:
            engine.load(busybox_archive())
            service = Service(engine, flags=("--metrics-bind-addr", _METRICS))
            service.start()
            try:
                anyio.run(_fill, service.endpoint)
                _terminal(service.endpoint, Path(directory))
                if sys.argv[1:] == ["top"]:
                    return
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


def _terminal(endpoint: str, directory: Path) -> None:
    """``top`` in a terminal, once it has counted for a while."""
    with pane(directory, *_TERMINAL) as terminal:
        terminal.line(f"exec {sys.executable} -m asupervisor top -r {endpoint}")

        def counts() -> object:
            screen = terminal.screen
            return "half within" in screen and re.search(r"shop/database .* 25\.\d MB", screen)

        eventually(counts, "top has figures", 120.0)
        picture = PLACE / "top.svg"
        picture.write_text(
            _drawn(terminal.styled.replace(endpoint, "unix:///run/asupervisor.sock"))
        )
        print(picture)


def _drawn(styled: str) -> str:
    """What a terminal shows, as SVG."""
    wide, high = _CHARACTER
    size = f"width='{_TERMINAL[0] * wide + 24:g}' height='{_TERMINAL[1] * high + 24:g}'"
    drawn = [
        f"<svg xmlns='http://www.w3.org/2000/svg' {size} font-family='monospace' font-size='14'"
        " fill='#d8dce6'>",
        "<rect width='100%' height='100%' rx='8' fill='#1b1d23'/>",
    ]
    for number, line in enumerate(styled.splitlines()):
        across, styles = 12.0, set[str]()
        for text, codes in re.findall(r"([^\x1b]*)(?:\x1b\[([\d;]*)m)?", line):
            width = len(text) * wide
            top = 12 + number * high
            if text and "7" in styles:
                drawn.append(
                    f"<rect x='{across:g}' y='{top:g}' width='{width:g}' height='{high:g}'/>"
                )
            if text.strip():
                style = " ".join(_STYLES[one] for one in sorted(styles) if one in _STYLES)
                drawn.append(
                    f"<text x='{across:g}' y='{top + 13:g}' textLength='{width:g}'"
                    f" xml:space='preserve' {style}>{escape(text)}</text>"
                )
            across += width
            for code in codes.split(";"):
                styles = {*styles, code} - _ENDS.get(code, set())
    return "\n".join([*drawn, "</svg>", ""])


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
                    command=["sh", "-c", _WORK.get(container, "sleep 3600")],
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
