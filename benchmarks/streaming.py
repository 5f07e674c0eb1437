"""What streaming carries and costs: ``python -m benchmarks.streaming`` (as root, with dockerd
installed).

An engine and a service of its own; one exec and one port-forward alone, then hundreds of each at
once with a list call beside them, and what is left of them afterwards. With --endpoint it measures
a server that runs already."""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass

import anyio
import anyio.abc

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from asupervisor.streaming.client import PortForwarder, open_command, open_port_forward
from asupervisor.streaming.peer import PeerStream
from benchmarks import own
from benchmarks.http2 import Connection
from benchmarks.process import Memory, cpu_s, family, listener

MEBIBYTE = 1 << 20
PORT = 8080
QUIET_S = 5.0
_PAUSE_S = 0.02
_ONE_CALL_S = 1e-9
SCRIPT = f"""
mkdir -p /www && dd if=/dev/urandom of=/www/one bs=1M count=1 2>/dev/null &&
dd if=/dev/zero of=/www/many bs=1M count=256 2>/dev/null
exec httpd -f -p 127.0.0.1:{PORT} -h /www
"""


@dataclass
class Target:
    """What is measured."""

    endpoint: str
    pids: list[int]
    sandbox_id: str
    container_id: str


async def take(stream: PeerStream | None) -> int:
    """Read to the end, keep nothing. Returns the bytes."""
    assert stream is not None
    total = 0
    try:
        while True:
            total += len(await stream.receive())
    except anyio.EndOfStream:
        return total


async def digest(stream: PeerStream, skip_head: bool = False) -> str:
    """SHA-256 of all that comes; of an HTTP answer, of its body."""
    found, head = hashlib.sha256(), b"" if skip_head else None
    try:
        while True:
            data = await stream.receive()
            if head is not None:
                head += data
                if b"\r\n\r\n" not in head:
                    continue
                data, head = head.split(b"\r\n\r\n", 1)[1], None
            found.update(data)
    except anyio.EndOfStream:
        return found.hexdigest()


async def exec_out(target: Target, mebibytes: int, websocket: bool) -> int:
    """One command that writes."""
    async with RemoteRuntimeService.connect(target.endpoint) as runtime:
        url = await runtime.exec(
            target.container_id,
            ["dd", "if=/dev/zero", "bs=1M", f"count={mebibytes}"],
            stdin=False,
            stderr=False,
        )
    async with open_command(url, stderr=False, websocket=websocket) as command:
        total = await take(command.stdout)
        assert (await command.wait()).is_success
    return total


async def exec_in(target: Target, mebibytes: int, websocket: bool) -> int:
    """One command that reads."""
    async with RemoteRuntimeService.connect(target.endpoint) as runtime:
        url = await runtime.exec(target.container_id, ["wc", "-c"], stdin=True, stderr=False)
    async with open_command(url, stdin=True, stderr=False, websocket=websocket) as command:
        assert command.stdin is not None and command.stdout is not None
        for _ in range(mebibytes):
            await command.stdin.send(bytes(MEBIBYTE))
        await command.stdin.send_eof()
        return int(await command.stdout.receive())


async def forward_out(target: Target, mebibytes: int, websocket: bool) -> int:
    """One connection that downloads 256 MiB, whatever is asked for."""
    async with RemoteRuntimeService.connect(target.endpoint) as runtime:
        url = await runtime.port_forward(target.sandbox_id)
    async with (
        open_port_forward(url, websocket=websocket) as forwarder,
        forwarder.connect(PORT) as connection,
    ):
        await connection.data.send(b"GET /many HTTP/1.0\r\n\r\n")
        return await take(connection.data)


async def alone(target: Target) -> None:
    """One stream at a time."""
    print(f"{'one stream':34} {'MiB/s':>8} {'service CPU, ms per MiB':>24}")
    for name, work in (
        ("exec, output", exec_out),
        ("exec, stdin", exec_in),
        ("port-forward, download", forward_out),
    ):
        for transport, websocket in (("SPDY", False), ("WebSocket", True)):
            before, started = cpu_s(target.pids), time.monotonic()
            total = await work(target, 256, websocket) / MEBIBYTE
            seconds, cpu = time.monotonic() - started, cpu_s(target.pids) - before
            print(
                f"{name + ', ' + transport:34} {total / seconds:8.0f} {1000 * cpu / total:24.2f}",
                flush=True,
            )


async def many(target: Target, sessions: int) -> None:
    """Many at once, each with a mebibyte of its own, and the list call meanwhile."""
    text = os.urandom(MEBIBYTE)
    expected = hashlib.sha256(text).hexdigest()
    wrong = 0

    async def one_exec(runtime: RemoteRuntimeService, number: int) -> None:
        nonlocal wrong
        url = await runtime.exec(target.container_id, ["cat"], stdin=True, stderr=False)
        async with open_command(
            url, stdin=True, stderr=False, websocket=number % 2 == 1
        ) as command:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_give, command.stdin, text)
                assert command.stdout is not None
                if await digest(command.stdout) != expected:
                    wrong += 1
            if not (await command.wait()).is_success:
                wrong += 1

    async def one_forward(forwarders: list[PortForwarder], expected_body: str, number: int) -> None:
        nonlocal wrong
        async with forwarders[number % len(forwarders)].connect(PORT) as connection:
            await connection.data.send(b"GET /one HTTP/1.0\r\n\r\n")
            if await digest(connection.data, skip_head=True) != expected_body:
                wrong += 1

    async with RemoteRuntimeService.connect(target.endpoint) as runtime:
        body = (
            (await runtime.exec_sync(target.container_id, ["sha256sum", "/www/one"]))
            .stdout.split()[0]
            .decode()
        )
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as quiet:
                quiet.start_soon(_watch, target.endpoint, "alone")
                await anyio.sleep(QUIET_S)
                quiet.cancel_scope.cancel()
            tasks.start_soon(_watch, target.endpoint, "meanwhile")
            before, started = cpu_s(target.pids), time.monotonic()
            async with anyio.create_task_group() as execs:
                for number in range(sessions):
                    execs.start_soon(one_exec, runtime, number)
            between = time.monotonic()
            print(
                f"{sessions} execs of 1 MiB each way: {between - started:.1f} s,"
                f" {cpu_s(target.pids) - before:.1f} s of CPU, {wrong} wrong"
            )
            before = cpu_s(target.pids)
            urls = [await runtime.port_forward(target.sandbox_id) for _ in range(4)]
            async with (
                open_port_forward(urls[0]) as a,
                open_port_forward(urls[1], websocket=True) as b,
                open_port_forward(urls[2]) as c,
                open_port_forward(urls[3], websocket=True) as d,
                anyio.create_task_group() as forwards,
            ):
                for number in range(sessions):
                    forwards.start_soon(one_forward, [a, b, c, d], body, number)
            seconds = time.monotonic() - between
            print(
                f"{sessions} port-forwards of 1 MiB: {seconds:.1f} s,"
                f" {cpu_s(target.pids) - before:.1f} s of CPU, {wrong} wrong"
            )
            tasks.cancel_scope.cancel()


async def _give(stream: PeerStream | None, text: bytes) -> None:
    assert stream is not None
    await stream.send(text)
    await stream.send_eof()


async def _watch(endpoint: str, when: str) -> None:
    """The list call from a process of its own, in a session of its own, as kubelet is; its figures
    come at the end.
    """
    command = [sys.executable, "-m", "benchmarks.streaming", "--watch", "--endpoint", endpoint]
    async with await anyio.open_process(command, stderr=None, start_new_session=True) as process:
        try:
            await process.wait()
        finally:
            with anyio.CancelScope(shield=True):
                process.terminate()
                assert process.stdout is not None
                print(
                    f"ListContainers {when}, {(await process.stdout.receive()).decode().rstrip()}",
                    flush=True,
                )
                await process.wait()


def watch(endpoint: str) -> None:
    """List containers up to fifty times a second until SIGTERM, then say how long it took, and how
    late this process itself woke up.
    """
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    connection = Connection(
        endpoint.removeprefix("unix://"), "/runtime.v1.RuntimeService/ListContainers", b""
    )
    took: list[float] = []
    late: list[float] = []
    while not over.is_set():
        took += connection.run(callers=1, seconds=_ONE_CALL_S).latencies_s
        slept = time.perf_counter()
        over.wait(_PAUSE_S)
        late.append(time.perf_counter() - slept - _PAUSE_S)
    late.pop()
    print(
        f"{len(took)} calls: {_percentiles(took)}; the caller itself woke up late by"
        f" {_percentiles(late)}",
        flush=True,
    )


def _percentiles(seconds: list[float]) -> str:
    seconds = sorted(seconds)
    median, high = seconds[len(seconds) // 2], seconds[len(seconds) * 99 // 100]
    return (
        f"median {1000 * median:.1f} ms, 99th percentile {1000 * high:.1f} ms, most"
        f" {1000 * seconds[-1]:.1f} ms"
    )


def held(target: Target) -> tuple[int, int, int]:
    """Descriptors, threads and child processes of the service."""
    pid = target.pids[0]
    return (
        len(os.listdir(f"/proc/{pid}/fd")),
        len(os.listdir(f"/proc/{pid}/task")),
        len(family(pid)) - 1,
    )


async def run(endpoint: str, sessions: int, image: str) -> None:
    """Make a pod, measure, take it away."""
    async with RemoteRuntimeService.connect(endpoint) as runtime:
        pod = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(
                name="streaming", namespace="benchmark", uid="streaming"
            )
        )
        sandbox_id = await runtime.run_pod_sandbox(pod)
        try:
            config = cri.ContainerConfig(
                metadata=cri.ContainerMetadata(name="c"),
                image=cri.ImageSpec(image=image),
                command=["sh", "-c", SCRIPT],
            )
            container_id = await runtime.create_container(sandbox_id, config, pod)
            await runtime.start_container(container_id)
            target = Target(
                endpoint,
                family(listener(endpoint.removeprefix("unix://"))),
                sandbox_id,
                container_id,
            )
            ready = [
                "sh",
                "-c",
                f"until wget -q -O /dev/null http://127.0.0.1:{PORT}/many; do sleep 0.1; done",
            ]
            await runtime.exec_sync(container_id, ready, exec_timeout_s=60)
            await alone(target)
            before, memory = held(target), Memory.of(target.pids)
            await many(target, sessions)
            with anyio.move_on_after(25):  # the pool of connections to the engine shrinks slowly
                while held(target) > before:  # noqa: ASYNC110
                    await anyio.sleep(0.1)
            print(
                f"descriptors, threads, processes of the service: {before} before, {held(target)}"
                " after"
            )
            grown = (Memory.of(target.pids).rss - memory.rss) / MEBIBYTE
            left = (
                (await runtime.exec_sync(container_id, ["sh", "-c", "ps | grep -c '[ ]cat$'"]))
                .stdout.decode()
                .strip()
            )
            print(
                f"resident memory: {memory.rss / MEBIBYTE:.0f} MiB before, {grown:+.0f} MiB after;"
                f" commands left: {left}"
            )
        finally:
            await runtime.stop_pod_sandbox(sandbox_id)
            await runtime.remove_pod_sandbox(sandbox_id)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument(
        "--endpoint",
        default="",
        metavar="unix:///PATH",
        help="a CRI server that runs on this machine",
    )
    parser.add_argument(
        "--image",
        default=own.IMAGE,
        help=f"an image with busybox, which the server has ({own.IMAGE})",
    )
    parser.add_argument(
        "--sessions", type=int, default=200, help="sessions of each kind at once (200)"
    )
    parser.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        watch(options.endpoint)
        return
    with ExitStack() as stack:
        endpoint = options.endpoint or f"unix://{stack.enter_context(own.service())}"
        anyio.run(
            run, endpoint, options.sessions, options.image, backend_options={"use_uvloop": True}
        )


if __name__ == "__main__":
    main()
