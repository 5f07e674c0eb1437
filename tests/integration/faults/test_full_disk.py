"""The disk of the root directory, of CNI's results, or of the logs is full: pods can be stopped and
removed, the rest says why it fails, and once there is room everything goes on.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from asupervisor.errors import ServiceError
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from asupervisor.translate.checkpoint import decode_checkpoint
from tests.harness.bridged_node import (
    CNI_BINARIES,
    ENGINE_ARGUMENTS,
    BridgedNode,
    Pod,
    bridged_node,
    counts_on,
    remove_pods,
    run_pod,
)
from tests.harness.churning import agrees
from tests.harness.engine import Engine, busybox_archive
from tests.harness.pods import container_config, pod_config, until, until_nothing
from tests.harness.small_disk import SmallDisk, small_disk

pytestmark = pytest.mark.skipif(
    not Path(CNI_BINARIES, "bridge").exists(), reason="needs the containernetworking plugins"
)

_LINES = 20_000
_FAST = (
    "sh",
    "-c",
    f"i=0; while [ $i -lt {_LINES} ]; do echo $i -; i=$((i+1)); done; sleep 1000",
)
_FULL = os.strerror(errno.ENOSPC)


@pytest.fixture(scope="module")
def shared_engine() -> Iterator[Engine]:
    engine = Engine(arguments=ENGINE_ARGUMENTS)
    engine.start()
    engine.load(busybox_archive())
    yield engine
    engine.destroy()


@pytest.fixture
def bridged_engine(shared_engine: Engine) -> Iterator[Engine]:
    yield shared_engine
    shared_engine.remove_all()


def _files_are_whole(node: BridgedNode) -> None:
    """Each file that is written whole can be read, and none is there that was begun only."""
    root = node.service.root
    for path in (root / "sandbox").iterdir():
        decode_checkpoint(path.read_bytes(), str(path))
    for directory in (node.cache / "results", root / "network"):
        for path in directory.rglob("*"):
            if path.is_file() and path.name != "lock":
                json.loads(path.read_text())


async def _is_refused(node: BridgedNode, runtime: RemoteRuntimeService, disk: SmallDisk) -> None:
    """A pod cannot be run, the answer says why, and nothing of it is left."""
    before = set(node.remains())
    with pytest.raises(ServiceError, match=_FULL) as refused:
        await runtime.run_pod_sandbox(pod_config("refused"))
    assert str(disk.path) in str(refused.value)
    with contextlib.suppress(AssertionError):
        await until(lambda: set(node.remains()) == before, "it was rolled back")
    assert set(node.remains()) == before
    assert "refused" not in [one.metadata.name for one in await runtime.list_pod_sandbox()]


@pytest.mark.parametrize("place", ["root", "cni-cache"])
async def test_of_the_root_directory_or_of_the_networks_results(
    bridged_engine: Engine, directory: Path, place: str
) -> None:
    engine = bridged_engine

    async def fill_up(node: BridgedNode, disk: SmallDisk, pods: list[Pod]) -> None:
        async with RemoteRuntimeService.connect(node.endpoint) as runtime:
            pods += [await run_pod(runtime, name, node.logs) for name in ("stays", "b", "c")]
            for pod in pods:
                await counts_on(pod)
            stays, stopped, removed = pods
            disk.fill()
            for _ in range(2):
                await _is_refused(node, runtime, disk)
            # What has its place in the root directory already does without more of it.
            config = container_config("more", log_path="more/0.log")
            more = await runtime.create_container(stays.sandbox, config, stays.config)
            await runtime.start_container(more)
            await runtime.stop_container(more, 5)
            await runtime.stop_container(removed.container, 5)
            for pod in (stopped, removed):
                await runtime.stop_pod_sandbox(pod.sandbox)
                assert not engine.inspect(pod.sandbox)["State"]["Running"]
                assert pod.sandbox not in node.leases().values()
                await runtime.stop_pod_sandbox(pod.sandbox)
            await runtime.remove_pod_sandbox(removed.sandbox)
            # Whatever room that gave is taken too.
            disk.fill()
            await counts_on(stays)
            await until(lambda: agrees(runtime, engine), "it knows what is")
            _files_are_whole(node)

    async def restarted(node: BridgedNode, disk: SmallDisk, pods: list[Pod]) -> None:
        stays, stopped, _ = pods
        async with RemoteRuntimeService.connect(node.endpoint) as runtime:
            await until(lambda: agrees(runtime, engine), "it knows what is")
            status = (await runtime.pod_sandbox_status(stays.sandbox)).status
            assert status.state == cri.SANDBOX_READY
            assert node.leases()[status.network.ip] == stays.sandbox
            await _is_refused(node, runtime, disk)
            await runtime.stop_pod_sandbox(stopped.sandbox)
            await runtime.remove_pod_sandbox(stopped.sandbox)
            disk.free()
            again = await run_pod(runtime, "again", node.logs)
            await counts_on(again)
            await counts_on(stays)
            await runtime.stop_container(stays.container, 10)
            assert stays.numbers() == stays.engine_numbers(engine)
            _files_are_whole(node)
            await remove_pods(runtime)
            await until_nothing(node.remains)

    with small_disk(directory / place) as disk, bridged_node(engine, directory) as node:
        pods: list[Pod] = []
        await fill_up(node, disk, pods)
        node.service.kill()
        node.service.start()
        await restarted(node, disk, pods)


def _engine_has_all(pod: Pod, engine: Engine) -> bool:
    return len(pod.engine_numbers(engine)) == _LINES


def _has_all(pod: Pod) -> bool:
    return pod.log.read_bytes().count(b"\n") == _LINES


async def test_of_the_logs(bridged_engine: Engine, directory: Path) -> None:
    engine = bridged_engine

    async def fill_up(node: BridgedNode, disk: SmallDisk, pods: list[Pod]) -> None:
        async with RemoteRuntimeService.connect(node.endpoint) as runtime:
            pods.append(await run_pod(runtime, "elsewhere", node.logs))
            for name in ("runs", "stopped", "removed"):
                pods.append(await run_pod(runtime, name, disk.path, _FAST))
            elsewhere, runs, stopped, removed = pods
            for pod in (runs, stopped, removed):
                await until(partial(_engine_has_all, pod, engine), "all of it was written")
            await until(lambda: os.statvfs(disk.path).f_bavail == 0, "the disk is full")
            disk.fill()
            await counts_on(elsewhere)
            await runtime.stop_container(stopped.container, 0)
            await runtime.stop_pod_sandbox(removed.sandbox)
            await runtime.remove_pod_sandbox(removed.sandbox)
            assert removed.sandbox not in [one["Id"] for one in engine.containers()]
            await until(lambda: _FULL in node.service.output, "the operator is told")
            assert f"{_FULL}: '{disk.path}/" in node.service.output
            assert (await runtime.status()).status.conditions[0].status
            late = await run_pod(runtime, "late", disk.path)
            pods[-1] = late

    async def freed(node: BridgedNode, disk: SmallDisk, pods: list[Pod]) -> None:
        elsewhere, runs, stopped, late = pods
        async with RemoteRuntimeService.connect(node.endpoint) as runtime:
            await counts_on(elsewhere)
            disk.free(kib=8192)
            for pod in (runs, stopped):
                await until(partial(_has_all, pod), "all of it is in the log")
                assert pod.numbers() == pod.engine_numbers(engine) == list(range(_LINES))
            await until(late.log.exists, "the log of what began meanwhile")
            await counts_on(late)
            await runtime.stop_container(late.container, 10)
            assert late.numbers() == late.engine_numbers(engine)
            await remove_pods(runtime)
            await until_nothing(node.remains)

    with small_disk(directory / "logs", 256) as disk, bridged_node(engine, directory) as node:
        pods: list[Pod] = []
        await fill_up(node, disk, pods)
        node.service.kill()
        node.service.start()
        await freed(node, disk, pods)
