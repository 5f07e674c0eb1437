"""What a program does with one container: commands, streams, files, ports, limits."""

from __future__ import annotations

import contextlib
from pathlib import Path

import anyio
import pytest

from asupervisor.client import Client, Mount, Resources, State
from asupervisor.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServiceError,
)
from tests.harness.client import read_all
from tests.harness.engine import BUSYBOX_IMAGE
from tests.harness.pods import SLEEPER, container_config, pod_config, until
from tests.integration.client.conftest import MayLack


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


async def test_a_program_that_is_not_there_is_an_exit_code(client: Client) -> None:
    async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="absent") as pod:
        assert (await pod.exec(["/no/such/program"], input="")).exit_code in (126, 127)


async def takes_too_long(client: Client, given: str | None) -> None:
    async with client.pod(BUSYBOX_IMAGE, SLEEPER) as pod:
        with pytest.raises(DeadlineExceeded):
            await pod.exec(["sleep", "1001"], input=given, timeout_s=0.5)

        async def none_runs() -> bool:
            return b"sleep 1001" not in (await pod.exec(["ps"])).stdout

        await until(none_runs, "the command that took too long was killed")


async def test_a_command_that_takes_too_long_is_killed(client: Client) -> None:
    await takes_too_long(client, None)


async def test_a_command_with_input_that_takes_too_long_is_killed(client: Client) -> None:
    await takes_too_long(client, "")


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


@pytest.mark.parametrize("websocket", [False, True], ids=["spdy", "websocket"])
async def test_what_a_container_says_last_reaches_who_is_attached(
    client: Client, websocket: bool
) -> None:
    script = "read word; yes $word | head -c 1000000; echo; echo last; echo failed >&2; exit 3"
    for number in range(5):
        name = f"says-last-{number}"
        async with client.pod(BUSYBOX_IMAGE, ["sh", "-c", script], name=name, stdin=True) as pod:
            async with pod.main.attach(stdin=True, websocket=websocket) as joined:
                assert joined.stdin is not None
                await joined.stdin.send(b"word\n")
                said = dict.fromkeys(("stdout", "stderr"), b"")

                async def take(stream: str, said: dict[str, bytes] = said) -> None:
                    said[stream] = await read_all(getattr(joined, stream))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(take, "stdout")
                    tasks.start_soon(take, "stderr")
            assert said["stdout"] == b"word\n" * 200_000 + b"\nlast\n"
            assert said["stderr"] == b"failed\n"
            assert (await pod.wait(60)).exit_code == 3


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


async def test_a_tunnel_carries_both_ways_and_their_ends(client: Client) -> None:
    server = ["sh", "-c", "while :; do nc -l -p 8080 -e cat; done"]
    async with client.pod(BUSYBOX_IMAGE, server, name="tunnel") as pod:

        async def listens() -> bool:
            return b":8080" in (await pod.exec(["netstat", "-ltn"])).stdout

        failures: list[int] = []
        async with pod.tunnel([8080, 1]) as tunnel:
            await until(listens, "the server listens")
            async with tunnel.connect(8080) as stream:
                await stream.send(b"to and fro")
                await stream.send_eof()
                said = await stream.receive(3)
                with contextlib.suppress(anyio.EndOfStream):
                    while True:
                        said += await stream.receive()
                assert said == b"to and fro"
            port = await tunnel.listen(1, on_failure=lambda port, why: failures.append(port))
            async with await anyio.connect_tcp("127.0.0.1", port) as local:
                with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    assert await local.receive() == b""
            await until(lambda: failures == [1], "it is said that nobody listens on port 1")


async def test_one_container_after_the_other(client: Client) -> None:
    async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="several") as pod:
        assert (await pod.status()).ready
        config, sandbox = container_config("second"), pod_config("several")
        await client.runtime.create_container(pod.id, config, sandbox)
        second = (await client.known_pod(pod.id)).containers["second"]
        assert (await second.status()).state is State.CREATED
        await second.start()
        usage = await second.usage()
        assert (usage.container_id, usage.name) == (second.id, "second")
        found = await client.find("several/second")
        assert (found.id, (await client.find("several")).id) == (second.id, pod.id)
        await second.stop(0)
        await second.remove()
        with pytest.raises(NotFound, match="it has main"):
            await client.find("several/second")
        with pytest.raises(NotFound, match="no pod and no container"):
            await client.find("nobody")


async def test_limits_change_while_it_runs(client: Client, may_lack: MayLack) -> None:
    async with client.pod(BUSYBOX_IMAGE, SLEEPER, name="changes") as pod:
        await pod.main.update(Resources(memory_bytes=64 << 20, cpu_cores=0.5))
        await told_limits(client, pod.main.id, may_lack)


async def told_limits(client: Client, container_id: str, may_lack: MayLack) -> None:
    """Those of the tests are in the container's status."""
    status = (await client.runtime.container_status(container_id)).status
    may_lack(not status.HasField("resources"), "its status tells no limits")
    limits = status.resources.linux
    assert (limits.memory_limit_in_bytes, limits.cpu_quota) == (64 << 20, 50_000)


async def test_limits_and_rights_reach_the_container(
    client: Client, tmp_path: Path, may_lack: MayLack
) -> None:
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
        (usage,) = await client.stats(pod_id=pod.id)
        assert usage.container_id == pod.main.id and usage.memory_bytes > 0
        await told_limits(client, pod.main.id, may_lack)
