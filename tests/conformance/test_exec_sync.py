"""ExecSync: streams, exit code, limits, time, and nothing left behind."""

from __future__ import annotations

import os
import socket
import struct
import time

import anyio
import pytest

from asupervisor.errors import DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument
from tests.conformance.node import Node, Pod


async def test_both_streams_and_the_exit_code(node: Node, pod: Pod) -> None:
    async with pod.container() as container_id:
        answer = await node.runtime.exec_sync(
            container_id, ("sh", "-c", "printf out; printf err >&2; exit 7")
        )
        assert (answer.stdout, answer.stderr, answer.exit_code) == (b"out", b"err", 7)


async def test_output_is_bytes(node: Node, pod: Pod) -> None:
    async with pod.container() as container_id:
        answer = await node.runtime.exec_sync(container_id, ("printf", "\\000\\001\\377\\n"))
        assert answer.stdout == b"\0\1\xff\n"


async def test_a_killed_command_has_128_and_the_signal(node: Node, pod: Pod) -> None:
    async with pod.container() as container_id:
        assert (
            await node.runtime.exec_sync(container_id, ("sh", "-c", "kill -9 $$"))
        ).exit_code == 137


async def test_a_command_that_is_not_there(node: Node, pod: Pod) -> None:
    async with pod.container() as container_id:
        try:
            answer = await node.runtime.exec_sync(container_id, ("/no/such/command",))
        except FailedPrecondition as error:
            assert "/no/such/command" in error.message
        except Internal:
            # A native runtime has no status for it and answers UNKNOWN.
            assert not node.is_docker
        else:
            assert answer.exit_code in (126, 127)


async def test_an_empty_command_and_a_negative_timeout_are_refused(node: Node, pod: Pod) -> None:
    async with pod.container() as container_id:
        with node.refused(InvalidArgument, "empty"):
            await node.runtime.exec_sync(container_id, ())
        if node.is_docker:
            with node.refused(InvalidArgument, "negative"):
                await node.runtime.exec_sync(container_id, ("true",), -1)


async def test_more_than_16_mib_is_cut_and_says_so(node: Node, pod: Pod) -> None:
    node.only_docker("containerd 2.1 cuts at a length that it cannot send")
    async with pod.container() as container_id:
        answer = await node.runtime.exec_sync(
            container_id, ("sh", "-c", "dd if=/dev/zero bs=1M count=20 2>/dev/null"), 60
        )
        assert len(answer.stdout) <= 16 << 20
        assert answer.exit_code == 0
        assert b"cut" in answer.stdout[-64:]


async def test_a_timeout_answers_deadline_exceeded_and_kills_the_whole_tree(
    node: Node, pod: Pod
) -> None:
    async with pod.container() as container_id:
        # containerd waits for the others that hold the streams.
        script = (
            "sleep 987656"
            if not node.is_docker
            else "sh -c 'sleep 987654; true' & setsid sleep 987655 & sleep 987656"
        )
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await node.runtime.exec_sync(container_id, ("sh", "-c", script), 1)
        assert time.monotonic() - started < 10
        if node.is_docker:
            with anyio.fail_after(10):
                while "98765" in await pod.sh(
                    container_id, "ps -o args | grep '[s]leep 98765' || true"
                ):
                    await anyio.sleep(0.05)


async def test_a_timeout_kills_what_left_its_parent_and_its_session_but_nothing_else(
    node: Node, pod: Pod
) -> None:
    node.only_docker("containerd leaves it")
    others = "setsid sleep 765434 & sleep 765433; exec sleep 100000"
    async with pod.container(("sh", "-c", others)) as container_id:
        script = "setsid sh -c 'sleep 765432 & exit' ; sleep 765431"
        with pytest.raises(DeadlineExceeded):
            await node.runtime.exec_sync(container_id, ("sh", "-c", script), 1)
        with anyio.fail_after(10):
            while await pod.sh(container_id, "ps -o args | grep '[s]leep 76543[12]' || true"):
                await anyio.sleep(0.05)
        assert (
            len((await pod.sh(container_id, "ps -o args | grep '^sleep 76543[34]'")).splitlines())
            == 2
        )


async def test_a_caller_that_goes_away_takes_the_command_with_it(node: Node, pod: Pod) -> None:
    node.only_docker("containerd leaves it")
    async with pod.container() as container_id:
        with anyio.move_on_after(0.7):
            await node.runtime.exec_sync(container_id, ("sleep", "876543"))
        with anyio.fail_after(10):
            while "876543" in await pod.sh(
                container_id, "ps -o args | grep '[s]leep 876543' || true"
            ):
                await anyio.sleep(0.05)


async def test_execs_at_once_do_not_mix(node: Node, pod: Pod) -> None:
    async with pod.container() as container_id:
        answers: dict[int, bytes] = {}

        async def one(number: int) -> None:
            answers[number] = (
                await node.runtime.exec_sync(container_id, ("echo", str(number)))
            ).stdout

        async with anyio.create_task_group() as tasks:
            for number in range(16):
                tasks.start_soon(one, number)
        assert answers == {number: f"{number}\n".encode() for number in range(16)}


async def test_many_execs_leave_no_descriptor_and_no_process(
    node: Node, pod: Pod, cri_endpoint: str
) -> None:
    node.only_docker("looks at this service's own process")
    server = _server_pid(cri_endpoint)
    count = int(os.environ.get("ASUPERVISOR_EXEC_COUNT", "60"))
    async with pod.container() as container_id:

        async def some(number: int) -> None:
            for _ in range(number):
                assert (await node.runtime.exec_sync(container_id, ("true",))).exit_code == 0

        async def round_of(number: int) -> int:
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(some, number // 4)
            return len(os.listdir(f"/proc/{server}/fd"))

        warm = await round_of(8)
        # The connections to the engine that a burst has opened may stay for the next one; more of
        # them must not.
        assert await round_of(count) <= warm + 4
        assert len((await pod.sh(container_id, "ls -d /proc/[0-9]*")).split()) <= 4


def _server_pid(endpoint: str) -> int:
    """The process that listens on the endpoint."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.connect(endpoint.removeprefix("unix://"))
        pid: int = struct.unpack(
            "3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )[0]
        return pid
