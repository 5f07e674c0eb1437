"""Exec through the whole service, as both transports carry it."""

from __future__ import annotations

import anyio
import pytest

from asupervisor.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from asupervisor.proto import cri
from asupervisor.streaming.client import open_command
from asupervisor.streaming.negotiation import COMMAND_CHANNELS, COMMAND_VERSIONS
from asupervisor.streaming.status import ExitStatus
from tests.harness.client import read_all, read_until, run_command
from tests.harness.pods import until
from tests.integration.streaming.conftest import Pod

TRANSPORTS = pytest.mark.parametrize("websocket", [False, True], ids=["spdy", "websocket"])
PROTOCOLS = [(False, name) for name in COMMAND_VERSIONS] + [
    (True, name) for name in COMMAND_CHANNELS if name
]


@pytest.mark.parametrize(("websocket", "protocol"), PROTOCOLS)
async def test_every_protocol_carries_output_errors_and_the_exit(
    pod: Pod, websocket: bool, protocol: str
) -> None:
    async with pod.runtime() as runtime:
        url = await runtime.exec(
            pod.container_id, ["sh", "-c", "echo out; echo err >&2; exit 3"], stdin=False
        )
        result = await run_command(url, websocket=websocket, protocols=[protocol])
        assert (result.protocol, result.stdout, result.stderr) == (protocol, b"out\n", b"err\n")
        assert not result.status.is_success
        assert result.status.exit_code == (3 if "v4" in protocol or "v5" in protocol else None)
        url = await runtime.exec(pod.container_id, ["true"], stdin=False)
        assert (
            await run_command(url, websocket=websocket, protocols=[protocol])
        ).status == ExitStatus(0)


@TRANSPORTS
async def test_a_megabyte_goes_in_and_comes_out_and_half_closing_ends_cat(
    pod: Pod, websocket: bool
) -> None:
    text = bytes(range(256)) * 4096
    async with pod.runtime() as runtime:
        url = await runtime.exec(pod.container_id, ["cat"], stdin=True)
    result = await run_command(url, given=text, websocket=websocket)
    assert result.stdout == text
    assert result.status == ExitStatus(0)


@TRANSPORTS
async def test_a_terminal_has_the_size_that_it_is_given(pod: Pod, websocket: bool) -> None:
    async with pod.runtime() as runtime:
        url = await runtime.exec(pod.container_id, ["sh"], tty=True, stdin=True, stderr=False)
    async with open_command(url, tty=True, stdin=True, websocket=websocket) as command:
        assert command.stdin is not None
        for width, height in ((101, 31), (132, 43)):
            await command.resize(width, height)
            while True:
                await command.stdin.send(b"stty size; echo siz''ed\n")
                if f"{height} {width}".encode() in await read_until(command.stdout, b"sized"):
                    break
        await command.stdin.send(b"exit 5\n")
        await read_all(command.stdout)
        assert await command.wait() == ExitStatus(5)


@TRANSPORTS
async def test_a_command_that_is_not_there_fails(pod: Pod, websocket: bool) -> None:
    async with pod.runtime() as runtime:
        url = await runtime.exec(
            pod.container_id, ["/no/such/command"], tty=True, stdin=True, stderr=False
        )
    async with open_command(url, tty=True, stdin=True, websocket=websocket) as command:
        await command.resize(80, 24)  # must not wait for a start that never comes
        await read_all(command.stdout)
        status = await command.wait()
    assert not status.is_success


@TRANSPORTS
async def test_a_client_that_goes_away_takes_the_whole_process_tree_with_it(
    pod: Pod, websocket: bool
) -> None:
    marker = f"43{int(websocket)}21"

    def alive() -> bool:
        top = pod.engine.request(
            "GET", f"/containers/{pod.container_id}/top?ps_args=-eo%20pid,args"
        )[1]
        return any(f"sleep {marker}" in " ".join(row) for row in top["Processes"])

    async with pod.runtime() as runtime:
        script = f"(sleep {marker} & setsid sh -c 'sleep {marker}' & wait) & echo started; wait"
        url = await runtime.exec(pod.container_id, ["sh", "-c", script], stdin=True)
    async with open_command(url, stdin=True, websocket=websocket) as command:
        await read_until(command.stdout, b"started")
        await until(alive, "the command's children run")
    await until(lambda: not alive(), "the command's children are gone")


async def test_a_url_works_once(pod: Pod) -> None:
    async with pod.runtime() as runtime:
        url = await runtime.exec(pod.container_id, ["true"], stdin=False)
    assert (await run_command(url)).status.is_success
    with pytest.raises(NotFound):
        await run_command(url)


async def test_unknown_protocols_are_refused(pod: Pod) -> None:
    async with pod.runtime() as runtime:
        for websocket in (False, True):
            url = await runtime.exec(pod.container_id, ["true"], stdin=False)
            with pytest.raises(FailedPrecondition):
                await run_command(url, websocket=websocket, protocols=["v9.channel.k8s.io"])
        with pytest.raises(InvalidArgument):
            await run_command(
                await runtime.exec(pod.container_id, ["true"], stdin=False), protocols=[]
            )


async def test_what_cannot_be_run_is_said_before_there_is_a_url(pod: Pod) -> None:
    stopped = await pod.add(["true"])
    async with pod.runtime() as runtime:
        with pytest.raises(NotFound):
            await runtime.exec("0" * 64, ["true"])
        with pytest.raises(InvalidArgument):
            await runtime.exec(pod.container_id, ["sh"], tty=True, stderr=True)
        with pytest.raises(InvalidArgument):
            await runtime.exec(pod.container_id, ["sh"], stdin=False, stdout=False, stderr=False)
        with pytest.raises(InvalidArgument):
            await runtime.exec(pod.container_id, [])
        while (await runtime.container_status(stopped)).status.state != cri.CONTAINER_EXITED:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        with pytest.raises(FailedPrecondition):
            await runtime.exec(stopped, ["true"])
        with pytest.raises(FailedPrecondition):
            await runtime.attach(stopped)


@TRANSPORTS
async def test_a_container_that_is_gone_by_then_is_told_on_the_error_stream(
    pod: Pod, websocket: bool
) -> None:
    short = await pod.add(["sleep", "1000"])
    async with pod.runtime() as runtime:
        url = await runtime.exec(short, ["true"], stdin=False)
        await runtime.stop_container(short, 0)
        await runtime.remove_container(short)
    result = await run_command(url, websocket=websocket)
    assert result.status.exit_code is None
    assert short[:12] in result.status.message


async def test_a_container_that_is_stopped_ends_its_execs(pod: Pod) -> None:
    short = await pod.add(["sleep", "1000"])
    async with pod.runtime() as runtime:
        url = await runtime.exec(short, ["sh", "-c", "echo up; sleep 1000"], stdin=True)
        async with open_command(url, stdin=True) as command:
            await read_until(command.stdout, b"up")
            await runtime.stop_container(short, 0)
            await read_all(command.stdout)
            assert not (await command.wait()).is_success


async def test_output_that_nobody_reads_stops_the_command_and_not_the_service(pod: Pod) -> None:
    def resident() -> int:
        with open(f"/proc/{pod.service.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096

    async with pod.runtime() as runtime:
        await runtime.exec_sync(pod.container_id, ["sh", "-c", "echo 0 > /tmp/count"])
        writer = "i=0; while :; do head -c 65536 /dev/zero; i=$((i+1)); echo $i > /tmp/count; done"
        url = await runtime.exec(pod.container_id, ["sh", "-c", writer], stdin=True)
        before = resident()
        async with open_command(url, stdin=True):

            async def written() -> int:
                return int(
                    (await runtime.exec_sync(pod.container_id, ["cat", "/tmp/count"])).stdout or 0
                )

            seen, same = await written(), 0
            while same < 5 or seen == 0:
                now = await written()
                same = same + 1 if now == seen else 0
                seen = now
            assert 0 < seen * 65536 < 64 << 20  # sockets' buffers, and no more, have taken it in
        assert resident() - before < 16 << 20


async def test_a_service_that_is_gone_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await run_command("http://127.0.0.1:1/exec/abcdefgh")
