"""The client over the real service and a real engine: each call once, and that nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from asupervisor.client import Client, Mount, Pod, Resources, State
from asupervisor.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServiceError,
    Unavailable,
)
from tests.harness.client import read_all
from tests.harness.engine import BUSYBOX_IMAGE
from tests.harness.pods import SLEEPER, until
from tests.harness.service import Service


async def test_a_pod_from_its_start_to_its_end(client: Client) -> None:
    script = "echo one; echo two >&2; exit $CODE"
    async with client.pod(BUSYBOX_IMAGE, ["sh", "-c", script], env={"CODE": "3"}) as pod:
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
    with pytest.raises(NotFound):
        await pod.wait(30)


async def test_a_wait_has_a_deadline_and_many_may_wait(client: Client) -> None:
    async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="waits") as pod:
        with pytest.raises(DeadlineExceeded, match="has not ended within"):
            await pod.wait(0.05)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(pod.wait, 30)
            await pod.main.stop(10)


async def test_exec_gives_output_exit_code_and_time(client: Client) -> None:
    async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="execs") as pod:
        said = await pod.exec(["sh", "-c", "echo out; echo err >&2; exit 4"])
        assert (said.exit_code, said.stdout, said.stderr) == (4, b"out\n", b"err\n")
        assert said.duration_s > 0 and not said.is_cut
        fed = await pod.exec(["sh", "-c", "cat; exit 5"], input="text\n" * 50_000)
        assert (fed.exit_code, fed.stdout) == (5, b"text\n" * 50_000)
        for given in (None, ""):
            cut = await pod.exec(["sh", "-c", "yes | head -c 9999"], input=given, limit_bytes=10)
            assert (cut.exit_code, cut.stdout, cut.is_cut) == (0, b"y\n" * 5, True)
        with pytest.raises(DeadlineExceeded):
            await pod.exec(["sleep", "1001"], timeout_s=0.5)
        with pytest.raises(DeadlineExceeded):
            await pod.exec(["sleep", "1001"], input="", timeout_s=0.5)

        async def none_runs() -> bool:
            return b"sleep 1001" not in (await pod.exec(["ps"])).stdout

        await until(none_runs, "the commands that took too long were killed")
        assert (await pod.exec(["/no/such/program"], input="")).exit_code in (126, 127)


async def test_streams_both_ways_with_a_terminal(client: Client) -> None:
    async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="streams") as pod:
        async with pod.open(["sh"], terminal=True) as shell:
            assert shell.stdin is not None and shell.stdout is not None and shell.stderr is None
            await shell.resize(101, 37)
            script = b"until [ \"$(stty size)\" = '37 101' ]; do :; done; echo si''zed; exit 6\n"
            await shell.stdin.send(script)
            assert b"sized" in await read_all(shell.stdout)
            assert (await shell.wait()).exit_code == 6


async def test_attach_joins_what_runs(client: Client) -> None:
    async with client.pod(BUSYBOX_IMAGE, ["cat"], name="attached", stdin=True) as pod:
        async with pod.main.attach(stdin=True) as joined:
            assert joined.stdin is not None and joined.stdout is not None
            await joined.stdin.send(b"hello\n")
            assert await joined.stdout.receive() == b"hello\n"


async def test_files_go_in_and_come_out(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "file").write_bytes(b"x" * 300_000)
    (folder / "link").symlink_to("below/file")
    async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="files") as pod:
        await pod.put(b"content", "/srv/new/file")
        assert (await pod.exec(["cat", "/srv/new/file"])).stdout == b"content"
        await pod.put(folder, "/tmp/folder")
        assert await pod.get("/tmp/folder", tmp_path / "back") == ()
        assert (tmp_path / "back" / "link").read_bytes() == b"x" * 300_000
        assert await pod.get("/srv/new/file", tmp_path / "one") == ()
        assert (tmp_path / "one").read_bytes() == b"content"
        with pytest.raises(NotFound, match="/no/such"):
            await pod.get("/no/such", tmp_path / "two")
        with pytest.raises(InvalidArgument):
            await pod.put(b"", "relative")
        with pytest.raises(InvalidArgument):
            await pod.put(tmp_path / "absent", "/tmp/x")
        with pytest.raises(ServiceError):
            await pod.get("/tmp/folder", tmp_path / "three", limit_bytes=1000)
        await pod.exec(["ln", "-s", "/etc", "/tmp/folder/out"])
        (left_out,) = await pod.get("/tmp/folder", tmp_path / "four")
        assert "leads outside" in left_out
        await pod.exec(["rm", "/bin/tar"])
        with pytest.raises(FailedPrecondition, match="tar"):
            await pod.put(b"", "/tmp/y")


async def test_a_port_as_a_stream_and_as_a_local_port(client: Client) -> None:
    server = ["sh", "-c", "while :; do echo served | nc -l -p 8080; done"]
    async with client.pod(BUSYBOX_IMAGE, server, name="ports") as pod:

        async def listens() -> bool:
            return b":8080" in (await pod.exec(["netstat", "-ltn"])).stdout

        await until(listens, "the server listens")
        async with pod.connect(8080) as stream:
            assert await stream.receive() == b"served\n"
        await until(listens, "the server listens again")
        async with pod.forward(8080) as port, await anyio.connect_tcp("127.0.0.1", port) as local:
            assert await local.receive() == b"served\n"


async def test_limits_and_rights_reach_the_container(client: Client, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("given")
    await anyio.Path(tmp_path).chmod(0o755)
    async with client.pod(
        BUSYBOX_IMAGE,
        SLEEPER,
        user="1234:1235",
        read_only=True,
        drop=("ALL",),
        no_new_privileges=True,
        resources=Resources(memory_bytes=64 << 20, cpu_cores=0.5),
        mounts=[Mount(source=str(tmp_path), target="/in", read_only=True)],
        working_dir="/tmp",
    ) as pod:
        said = (await pod.exec(["sh", "-c", "id -u; id -g; pwd; cat /in/given"])).stdout
        assert said == b"1234\n1235\n/tmp\ngiven"
        status = (await pod.exec(["cat", "/proc/self/status"])).stdout.decode()
        assert "CapBnd:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
        assert (await pod.exec(["touch", "/tmp/x"])).exit_code != 0
        raw = (await client.runtime.container_status(pod.main.id)).status.resources.linux
        assert (raw.memory_limit_in_bytes, raw.cpu_quota) == (64 << 20, 50_000)
        (usage,) = await client.stats(pod_id=pod.id)
        assert usage.container_id == pod.main.id and usage.memory_bytes > 0


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


async def test_a_call_has_the_deadline_that_it_is_given(client: Client, service: Service) -> None:
    assert await client.within(30).pods() == []
    os.kill(service.pid, signal.SIGSTOP)
    try:
        with pytest.raises(DeadlineExceeded):
            await client.within(0.5).pods()
    finally:
        os.kill(service.pid, signal.SIGCONT)
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


async def test_a_program_of_asyncio_alone(service: Service, tmp_path: Path) -> None:
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
            [sys.executable, "-c", program, service.endpoint, BUSYBOX_IMAGE, str(tmp_path)],
            check=False,
        )
    assert (done.stdout, done.stderr) == (b"hello\nalone\n", b"")
