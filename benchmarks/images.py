"""What many images cost: the start of the service, PullImage of an image that is there, and
RemoveImage, beside what the engine itself takes for the same.

Run as root on a machine with ``dockerd`` and ``docker-registry``: ``python -m benchmarks.images``.
``ASUPERVISOR_ENGINE`` names another ``dockerd``, ``ASUPERVISOR_STORE`` where it keeps images
(``containerd``, ``classic``). It starts an engine, a registry and a service of its own in a network
namespace of their own, and removes all three."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import statistics
import tarfile
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter

import anyio

from asupervisor.errors import ServiceError
from asupervisor.remote import RemoteImageService, RemoteRuntimeService
from tests.harness.engine import ENGINE, Engine, eventually
from tests.harness.namespace import leave_the_network
from tests.harness.registry import BuiltImage, Registry
from tests.harness.service import Service


def tiny_archive(reference: str) -> bytes:
    """A ``docker load`` archive of an image with one small file."""
    layer = _tar({"mark": reference.encode()})
    config = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "config": {"Cmd": ["/mark"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "layer.tar": layer,
            "config.json": json.dumps(config).encode(),
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


def _tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def name(number: int) -> str:
    """The reference of one of the many."""
    return f"benchmark.test/many/image-{number}:1"


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = perf_counter()
    call()
    return perf_counter() - start


def show(what: str, seconds: list[float]) -> None:
    """Print a line of figures."""
    print(
        f"{what:<48} {statistics.median(seconds) * 1000:8.0f} ms"
        f"   ({min(seconds) * 1000:.0f} to {max(seconds) * 1000:.0f})",
        flush=True,
    )


def engine_alone(engine: Engine, registry: Registry, images: int, rounds: int) -> None:
    """The engine's own part, with no service beside it."""
    repository = f"{registry.open}/benchmark/there"
    pull = f"/images/create?fromImage={repository}&tag=1"
    assert b"rror" not in engine.request("POST", pull, raw=True)[1]
    show(
        "engine: pull of an image that is there",
        _each(rounds, lambda _: engine.request("POST", pull, raw=True)),
    )
    show(
        "engine: list of all images",
        _each(rounds, lambda _: engine.request("GET", "/images/json", raw=True)),
    )
    with ThreadPoolExecutor(4) as four:
        start = perf_counter()
        for _ in four.map(
            lambda n: engine.request("GET", f"/images/{name(n)}/json"), range(images)
        ):
            pass
        show("engine: inspect of all images, four at a time", [perf_counter() - start])
    show(
        "engine: removal of an image",
        _each(rounds, lambda n: engine.request("DELETE", f"/images/{name(images + n)}")),
    )


def _each(rounds: int, call: Callable[[int], object]) -> list[float]:
    return [timed(lambda: call(number)) for number in range(rounds)]  # noqa: B023 - called at once


async def through_service(service: Service, there: str, images: int, rounds: int) -> None:
    """The same, asked of the service."""
    pulls, removals = [], []
    async with RemoteImageService.connect(service.endpoint) as client:
        for _ in range(rounds):
            start = perf_counter()
            await client.pull_image(there)
            pulls.append(perf_counter() - start)
        for number in range(rounds):
            start = perf_counter()
            await client.remove_image(name(images + rounds + number))
            removals.append(perf_counter() - start)
        assert len(await client.list_images()) >= images
    show("PullImage of an image that is there", pulls)
    show("RemoveImage", removals)


async def first_answers(service: Service, images: int, start: float) -> dict[str, float]:
    """Seconds from ``start`` until each list is answered with OK, that of images with so many."""
    found: dict[str, float] = {}

    async def ask(what: str, listed: Callable[[], Awaitable[Sequence[object]]], least: int) -> None:
        while True:
            with suppress(ServiceError):
                if len(await listed()) >= least:
                    found[what] = perf_counter() - start
                    return
            await anyio.sleep(0.02)

    with anyio.fail_after(120):
        async with (
            RemoteRuntimeService.connect(service.endpoint) as runtime,
            RemoteImageService.connect(service.endpoint) as client,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(ask, "ListPodSandbox answers", runtime.list_pod_sandbox, 0)
            tasks.start_soon(ask, "ListContainers answers", runtime.list_containers, 0)
            tasks.start_soon(ask, "all images are listed", client.list_images, images)
    return found


def start_to_answers(service: Service, images: int) -> None:
    """What a start takes, from the start of the process on."""
    start = perf_counter()
    service.spawn()
    eventually(service.listens, "the service listens", timeout_s=60)
    show("start of the service until it listens", [perf_counter() - start])
    for what, seconds in anyio.run(first_answers, service, images, start).items():
        show(f"start of the service until {what}", [seconds])
    eventually(lambda: "ready: serving" in service.output, "it is ready", timeout_s=60)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=150, help="images on the engine (150)")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each kind (5)")
    options = parser.parse_args()
    if ENGINE:
        os.environ["PATH"] = f"{os.path.dirname(ENGINE)}:{os.environ['PATH']}"
    leave_the_network()
    engine, registry = Engine(), Registry()
    service = Service(engine)
    try:
        engine.start()
        registry.start()
        for number in range(options.images + 2 * options.rounds):
            engine.load(tiny_archive(name(number)))
        there = registry.push("benchmark/there", ("1",), BuiltImage())
        version = engine.request("GET", "/version")[1]
        store = "containerd" if engine.containerd_store else "classic"
        print(f"Engine {version['Version']}, {store} image store, {options.images} images")
        engine_alone(engine, registry, options.images, options.rounds)
        start_to_answers(service, options.images)
        anyio.run(through_service, service, there, options.images, options.rounds)
    finally:
        if service.process is not None:
            service.stop()
        registry.destroy()
        engine.destroy()


if __name__ == "__main__":
    main()
