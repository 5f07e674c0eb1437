"""``fd://``: the CRI on a socket that somebody else made and keeps."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import ConfigError
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from asupervisor.supervisor.activation import Relay, inherited_listener
from tests.harness.engine import Engine, eventually
from tests.harness.loops import on_both_loops
from tests.harness.pods import until
from tests.harness.service import Service


@pytest.fixture
def listener(directory: Path) -> Iterator[socket.socket]:
    """The service manager's: it listens before the service is there and after it is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.bind(str(directory / "activated.sock"))
        made.listen(8)
        yield made


class ActivatedService(Service):
    """The service as systemd starts it: descriptor 3 is the socket."""

    def __init__(self, engine: Engine, directory: Path, listener: socket.socket) -> None:
        super().__init__(engine, directory, flags=("--container-runtime-endpoint", "fd://"))
        self.socket = directory / "activated.sock"
        self.endpoint = f"unix://{self.socket}"
        self._listener = listener

    def spawn(self) -> None:
        number = self._listener.fileno()
        script = f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&{number} {number}<&-'
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", script, "bash", *self.command],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                pass_fds=(number,),
            )


async def version(endpoint: str) -> cri.VersionResponse:
    async with RemoteRuntimeService.connect(endpoint) as runtime:
        return await runtime.version()


def test_a_client_that_comes_before_the_service_is_answered_by_it(
    engine: Engine, directory: Path, listener: socket.socket
) -> None:
    service = ActivatedService(engine, directory, listener)
    answers: list[cri.VersionResponse] = []
    early = threading.Thread(target=lambda: answers.append(anyio.run(version, service.endpoint)))
    early.start()
    service.start()
    early.join(20)
    assert [answer.runtime_name for answer in answers] == ["docker"]
    assert f"ready: serving the CRI at {service.endpoint};" in service.output

    assert service.stop() == 0
    assert service.socket.exists(), "it is the service manager's"
    assert not (service.root / "cri.sock").exists()
    service.start()
    assert anyio.run(version, service.endpoint).runtime_name == "docker"
    assert service.stop() == 0


def test_its_own_clients_do_not_stand_in_line_at_the_managers_socket(
    engine: Engine, directory: Path, listener: socket.socket
) -> None:
    service = ActivatedService(engine, directory, listener)
    service.socket.unlink()  # nobody can dial it now; the service is handed it all the same
    service.spawn()
    eventually(
        lambda: "ready: serving" in service.output,
        f"the service is ready; its log: {service.log}",
        timeout_s=30,
    )
    assert anyio.run(version, f"unix://{service.root}/cri.sock").runtime_name == "docker"
    assert service.stop() == 0


def test_without_a_socket_it_is_one_line_and_exit_code_2(engine: Engine, directory: Path) -> None:
    service = Service(engine, directory, flags=("--container-runtime-endpoint", "fd://"))
    result = subprocess.run(
        service.command, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert "needs systemd's socket activation" in result.stderr and result.stderr.count("\n") == 1


def test_what_is_handed_over_is_checked(listener: socket.socket) -> None:
    def environment(count: str = "1", pid: str = "") -> dict[str, str]:
        return {"LISTEN_PID": pid or str(os.getpid()), "LISTEN_FDS": count, "LISTEN_FDNAMES": "cri"}

    number = listener.fileno()
    with pytest.raises(ConfigError, match="was handed no socket"):
        inherited_listener("fd://", environment(pid="1"), number)
    with pytest.raises(ConfigError, match="a descriptor is a number"):
        inherited_listener("fd://cri", environment(), number)
    with pytest.raises(ConfigError, match=f"{number} to {number}"):
        inherited_listener(f"fd://{number + 1}", environment(), number)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf,
        pytest.raises(ConfigError, match="not a listening unix stream socket"),
    ):
        inherited_listener("fd://", environment(), deaf.fileno())
    os.set_inheritable(number, True)
    left = environment()
    with inherited_listener(f"fd://{number}", left, number) as taken:
        assert taken.getsockname() == listener.getsockname()
        assert not taken.get_inheritable()
        assert left == {}
        taken.detach()


@on_both_loops
async def test_bytes_pass_both_ways_and_a_slow_reader_holds_up_nobody_else(
    directory: Path, listener: socket.socket
) -> None:
    megabytes = 8
    block = os.urandom(1 << 20)
    gone: list[str] = []

    async def serve(stream: anyio.abc.SocketStream) -> None:
        """Says hello first, as an HTTP/2 server does, then gives back what it gets."""
        async with stream:
            await stream.send(b"hello")
            async for data in stream:
                await stream.send(data)
        gone.append("a client")

    async def exchange(started: anyio.Event, patience: anyio.Event) -> None:
        async with await anyio.connect_unix(str(directory / "activated.sock")) as client:
            assert await client.receive(5) == b"hello"
            started.set()
            async with anyio.create_task_group() as tasks:

                async def send() -> None:
                    for _ in range(megabytes):
                        await client.send(block)

                tasks.start_soon(send)
                await patience.wait()
                received = bytearray()
                while len(received) < megabytes * len(block):
                    received += await client.receive(1 << 20)
            assert bytes(received) == block * megabytes

    server = await anyio.create_unix_listener(directory / "server.sock")
    relay = Relay(listener.dup(), directory / "server.sock")
    async with server, anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, serve)
        await tasks.start(relay.run)
        slow, slow_started, at_once = anyio.Event(), anyio.Event(), anyio.Event()
        at_once.set()
        async with anyio.create_task_group() as clients:
            clients.start_soon(exchange, slow_started, slow)
            await slow_started.wait()
            with anyio.fail_after(20):
                await exchange(anyio.Event(), at_once)
            slow.set()
        await until(lambda: len(gone) == 2, "the server hears that its clients are gone")
        relay.stop_accepting()
        await anyio.wait_all_tasks_blocked()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
            waiting.connect(str(directory / "activated.sock"))
            # The clients of the next process wait in the queue.
            queued, _ = listener.accept()
            queued.close()
        tasks.cancel_scope.cancel()


async def test_the_server_gone_drops_the_client(directory: Path, listener: socket.socket) -> None:
    relay = Relay(listener.dup(), directory / "nobody.sock")
    async with anyio.create_task_group() as tasks:
        await tasks.start(relay.run)
        async with await anyio.connect_unix(str(directory / "activated.sock")) as client:
            with (
                anyio.fail_after(10),
                pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)),
            ):
                await client.receive()
        tasks.cancel_scope.cancel()
