"""The client over the real service and a real engine: each call once, and that nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from asupervisor.client import Client, Mount, Pod, State
from asupervisor.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    ServiceError,
    Unavailable,
)
from tests.harness.engine import BUSYBOX_IMAGE
from tests.harness.pods import SLEEPER, until
from tests.harness.registry import BuiltImage, Registry
from tests.integration.client.conftest import server_pid


async def test_a_pod_from_its_start_to_its_end(client: Client, tmp_path: Path) -> None:
    # It ends after its start was noted: some servers note that once the process runs.
    script = "echo one; echo two >&2; until [ -e /in/go ]; do sleep 0.1; done; exit $CODE"
    mount = Mount(source=str(tmp_path), target="/in")
    async with client.pod(
        BUSYBOX_IMAGE, ["sh", "-c", script], env={"CODE": "3"}, mounts=[mount]
    ) as pod:
        (tmp_path / "go").touch()
        ended = await pod.wait(30)
        assert (ended.state, ended.exit_code) == (State.EXITED, 3)
        assert ended.finished_at_ns >= ended.started_at_ns > 0
        lines = {(line.stream, line.text) async for line in pod.logs(follow=True)}
        assert lines == {("stdout", "one"), ("stderr", "two")}
        assert [line.text async for line in pod.logs(tail=0)] == []
        (found,) = await client.pods()
        assert (found.id, found.name, found.ready) == (pod.id, pod.name, True)
        (container,) = await client.containers(pod_id=pod.id)
        assert (container.id, container.image) == (pod.main.id, BUSYBOX_IMAGE)
        assert (await client.find_container(f"{pod.name}/main")).id == container.id


async def test_what_was_removed_is_not_found(client: Client) -> None:
    async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="was-removed") as pod:
        pass
    for asked in (pod.wait(30), pod.status(), pod.main.status()):
        with pytest.raises(NotFound):
            await asked


async def test_a_wait_has_a_deadline_and_many_may_wait(client: Client) -> None:
    async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="waits") as pod:
        with pytest.raises(DeadlineExceeded, match="has not ended within"):
            await pod.wait(0.05)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(pod.wait, 30)
            await pod.main.stop(10)


async def test_events_tell_what_happens(client: Client) -> None:
    seen: list[tuple[str, str]] = []

    async def follow() -> None:
        async for event in client.events():
            seen.append((event.kind, event.container_id))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)

        async def one_more() -> bool:
            async with client.pod(BUSYBOX_IMAGE, ["true"]) as pod:
                await pod.wait(30)
                return ("started", pod.main.id) in seen

        await until(one_more, "an event is seen, once the subscription stands", 60)
        tasks.cancel_scope.cancel()


async def test_images_and_pull_policies(client: Client) -> None:
    assert BUSYBOX_IMAGE in {tag for image in await client.images() for tag in image.tags}
    image = await client.image(BUSYBOX_IMAGE)
    assert await client.pull(BUSYBOX_IMAGE, policy="Never") == image.id
    with pytest.raises(NotFound):
        await client.image("asupervisor.test/absent:1")
    with pytest.raises(FailedPrecondition, match="is not on the node"):
        await client.pull("asupervisor.test/absent:1", policy="Never")


async def test_an_image_comes_and_goes(client: Client, registry: Registry) -> None:
    name = registry.push("client/pulled", ("1",), BuiltImage())
    reference = await client.pull(name, policy="IfNotPresent")
    assert (await client.image(name)).tags == (name,)
    await client.remove_image(reference)
    await client.remove_image(reference)
    with pytest.raises(NotFound):
        await client.image(name)


async def test_prune_removes_what_has_ended_and_nothing_else(client: Client) -> None:
    async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="stays"):
        async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="goes") as stopped:
            await stopped.stop(10)
            pruned = await client.prune(images=True)
            assert [pod.id for pod in pruned.pods] == [stopped.id]
            assert [pod.name for pod in await client.pods()] == ["stays"]
            assert BUSYBOX_IMAGE in {tag for each in await client.images() for tag in each.tags}


async def test_a_blocks_deadline_removes_the_pod(client: Client) -> None:
    with pytest.raises(DeadlineExceeded, match=r"had 0\.2 s"):
        async with client.pod(BUSYBOX_IMAGE, SLEEPER, deadline_s=0.2) as pod:
            await pod.wait()


async def test_a_call_has_the_deadline_that_it_is_given(client: Client, endpoint: str) -> None:
    assert await client.within(30).pods() == []
    pid = server_pid(endpoint)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(DeadlineExceeded):
            await client.within(0.5).pods()
    finally:
        os.kill(pid, signal.SIGCONT)
    with pytest.raises(ServiceError):
        client.within(0)


async def test_an_error_in_the_block_comes_out_as_it_is(client: Client) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client.pod(BUSYBOX_IMAGE, SLEEPER):
            _ = 1 / 0


async def test_a_pod_that_cannot_start_is_gone(client: Client) -> None:
    with pytest.raises(ServiceError, match="/no/such"):
        async with client.pod(BUSYBOX_IMAGE, ["/no/such/program"]):
            raise AssertionError("it cannot start")


async def test_a_name_that_is_taken(client: Client) -> None:
    async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="taken"):
        with pytest.raises(AlreadyExists, match="taken"):
            async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="taken"):
                raise AssertionError("there is one")


@pytest.mark.parametrize("moment", ["making", "made", "started"])
async def test_cancelled_at_any_moment_nothing_is_left(
    client: Client, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = anyio.Event()
    step = {"making": "run_pod_sandbox", "made": "create_container"}.get(moment)
    if step:
        call = getattr(client.runtime, step)

        async def announced(*arguments: object) -> object:
            reached.set()
            return await call(*arguments)

        monkeypatch.setattr(client.runtime, step, announced)

    async def use() -> None:
        async with client.pod(BUSYBOX_IMAGE, SLEEPER) as pod:
            reached.set()
            await pod.wait()

    task = asyncio.create_task(use())  # a program of asyncio's own knows no cancel scopes
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await client.pods() == []


async def test_what_cannot_be_removed_is_said(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Pod] = []

    async def refused(pod_id: str) -> None:
        raise Unavailable("the engine is away")

    with monkeypatch.context() as patch, pytest.raises(ServiceError) as told:  # noqa: PT012
        async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="sticky") as pod:
            left.append(pod)
            patch.setattr(client.runtime, "stop_pod_sandbox", refused)
            raise ValueError("of the caller")
    assert "of the caller" in str(told.value) and "the engine is away" in str(told.value)
    assert pod.id in str(told.value) and isinstance(told.value.__cause__, ValueError)
    await left[0].remove()


async def test_a_program_of_asyncio_alone(endpoint: str, tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from asupervisor.client import Client\n"
        "async def main():\n"
        "    async with Client.connect(sys.argv[1], log_root=sys.argv[3]) as client:\n"
        "        async with client.pod(sys.argv[2], ['echo', 'hello']) as pod:\n"
        "            await pod.wait()\n"
        "            async for line in pod.logs():\n"
        "                print(line.text)\n"
        # grpc takes note of a cancelled call's end in a task of its own, some turns later.
        "    while len(asyncio.all_tasks()) > 1:\n"
        "        await asyncio.sleep(0.01)\n"
        "    print('alone')\n"
        "asyncio.run(main())\n"
    )
    with anyio.fail_after(60):
        done = await anyio.run_process(
            [sys.executable, "-c", program, endpoint, BUSYBOX_IMAGE, str(tmp_path)],
            check=False,
        )
    assert (done.stdout, done.stderr) == (b"hello\nalone\n", b"")
