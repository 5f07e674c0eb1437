"""StopContainer and RemoveContainer: grace, signals, repetition."""

from __future__ import annotations

import time

import anyio

from asupervisor.errors import (
    InvalidArgument,
    NotFound,
)
from asupervisor.proto import cri
from tests.conformance.node import Node, Pod


async def test_stop_signal_is_the_configs_else_the_images(node: Node, pod: Pod) -> None:
    await node.have(node.names.signal)
    script = "trap 'exit 3' USR1; trap 'exit 4' TERM; while :; do sleep 0.05; done"
    for fields, expected in (
        ({"image": node.names.signal}, 3),
        ({"stop_signal": cri.SIGNAL_SIGUSR1}, 3),
        ({}, 4),
    ):
        if "stop_signal" in fields and not node.is_docker:
            continue
        container_id = await pod.run(("sh", "-c", f"{script}"), **fields)
        await _trapped(pod, container_id)
        await node.runtime.stop_container(container_id, 20)
        assert (await pod.status(container_id)).exit_code == expected
    if node.is_docker:
        with_signal = await pod.create(stop_signal=cri.SIGNAL_SIGRTMINPLUS3)
        assert (await pod.status(with_signal)).stop_signal == cri.SIGNAL_SIGRTMINPLUS3
        assert (
            await pod.status(await pod.create(image=node.names.signal))
        ).stop_signal == cri.SIGNAL_SIGUSR1
        assert (await pod.status(await pod.create())).stop_signal == cri.SIGNAL_SIGTERM


async def _trapped(pod: Pod, container_id: str) -> None:
    """Wait until the shell has set its traps: it has a child then."""
    with anyio.fail_after(10):
        while "sleep" not in await pod.sh(container_id, "ps -o args"):
            await anyio.sleep(0.02)


async def test_stop_lets_a_container_end_within_the_grace(node: Node, pod: Pod) -> None:
    container_id = await pod.run(
        ("sh", "-c", "trap 'sleep 0.3; exit 5' TERM; while :; do sleep 0.05; done")
    )
    await _trapped(pod, container_id)
    await node.runtime.stop_container(container_id, 30)
    status = await pod.status(container_id)
    assert (status.state, status.exit_code) == (cri.CONTAINER_EXITED, 5)


async def test_stop_kills_after_the_grace(node: Node, pod: Pod) -> None:
    container_id = await pod.run(("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"))
    await _trapped(pod, container_id)
    started = time.monotonic()
    await node.runtime.stop_container(container_id, 1)
    assert time.monotonic() - started >= 0.9
    assert (await pod.status(container_id)).exit_code == 137


async def test_stop_with_no_grace_kills_at_once(node: Node, pod: Pod) -> None:
    container_id = await pod.run(("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"))
    await node.runtime.stop_container(container_id, 0)
    assert (await pod.status(container_id)).exit_code == 137


async def test_a_caller_that_gives_up_does_not_cut_the_grace_short(node: Node, pod: Pod) -> None:
    container_id = await pod.run(
        ("sh", "-c", "trap 'sleep 1.5; exit 6' TERM; while :; do sleep 0.05; done")
    )
    await _trapped(pod, container_id)
    with anyio.move_on_after(0.4):
        await node.runtime.stop_container(container_id, 30)
    if not node.is_docker:
        await node.runtime.stop_container(container_id, 30)
    assert (await pod.ended(container_id)).exit_code == 6


async def test_stop_and_remove_can_be_repeated_and_succeed_for_what_never_was(
    node: Node, pod: Pod
) -> None:
    container_id = await pod.run()
    for _ in range(2):
        await node.runtime.stop_container(container_id, 0)
    for _ in range(2):
        await node.runtime.remove_container(container_id)
    await node.runtime.stop_container("f" * 64, 5)
    await node.runtime.remove_container("f" * 64)


async def test_a_created_container_can_be_stopped_and_a_running_one_removed(
    node: Node, pod: Pod
) -> None:
    created = await pod.create()
    await node.runtime.stop_container(created, 0)
    await node.runtime.remove_container(created)
    running = await pod.run()
    await node.runtime.remove_container(running)
    with node.refused(NotFound, running):
        await pod.status(running)


async def test_a_negative_grace_is_refused(node: Node, pod: Pod) -> None:
    node.only_docker("other runtimes take it for none")
    async with pod.container() as container_id:
        with node.refused(InvalidArgument, "negative"):
            await node.runtime.stop_container(container_id, -1)
