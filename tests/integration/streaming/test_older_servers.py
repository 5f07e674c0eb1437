"""Servers as other runtimes have them: an older WebSocket; SPDY without windows, closed right
behind the last byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.streaming import negotiation, peer, spdy
from asupervisor.streaming.client import open_command
from asupervisor.streaming.dial import upgrade
from asupervisor.streaming.requests import AttachRequest, ExecRequest
from tests.harness.client import read_all, run_command
from tests.harness.pods import until
from tests.harness.spdy import receive
from tests.integration.streaming.test_server import CAT, served


@pytest.fixture
def _without_the_end_of_input(monkeypatch: pytest.MonkeyPatch) -> None:
    known = negotiation.COMMAND_CHANNELS.items()
    older = {name: each for name, each in known if not each.closes_channels}
    monkeypatch.setattr(negotiation, "COMMAND_CHANNELS", older)


@pytest.mark.usefixtures("_without_the_end_of_input")
async def test_input_whose_end_cannot_be_told_is_refused_before_anything_starts() -> None:
    async with served() as (service, backend):
        attach = AttachRequest(container_id="c", stdin=True)
        for url in (service.url(CAT), service.url(attach)):
            with pytest.raises(FailedPrecondition, match=r"v5\.channel\.k8s\.io .* try SPDY"):
                async with open_command(url, stdin=True, websocket=True):
                    raise AssertionError("the command would wait for more for ever")
        assert backend.processes == []


@pytest.mark.usefixtures("_without_the_end_of_input")
async def test_what_needs_no_end_of_input_runs() -> None:
    async with served() as (service, _):
        echo = ExecRequest(container_id="c", command=("echo", "said"))
        done = await run_command(service.url(echo), websocket=True)
        assert (done.protocol, done.stdout) == ("v4.channel.k8s.io", b"said\n")
        keys = ExecRequest(container_id="c", command=("cat",), stdin=True, tty=True, stderr=False)
        url = service.url(keys)
        async with open_command(url, stdin=True, tty=True, websocket=True) as command:
            assert command.protocol == "v4.channel.k8s.io"


STATUS = b'{"status":"Success"}'
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
)


@contextmanager
def hasty(output: bytes, closed: threading.Event | None = None) -> Iterator[str]:
    """A server that sends a command's output and its status, reads no windows, and closes."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1)
            connection.sendall(ANSWER)
            session = spdy.Connection(spdy.Role.SERVER)
            names: dict[str, int] = {}
            while len(names) < 3:
                for event in receive(session, connection.recv(65536)):
                    if isinstance(event, spdy.StreamOpened):
                        names[event.headers["streamtype"]] = event.stream_id
                        session.reply(event.stream_id)
            session.peer_is_paced = False
            for name, data in (("stdout", output), ("stderr", b""), ("error", STATUS)):
                session.send_data(names[name], data, fin=True)
            connection.sendall(session.data_to_send())
        if closed is not None:
            closed.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/exec/token"
        thread.join(30)


async def test_all_is_read_of_a_server_that_closes_at_once() -> None:
    output = b"line\n" * 600_000
    with hasty(output) as url:
        done = await run_command(url)
        assert (len(done.stdout), done.status.is_success) == (len(output), True)


async def test_a_slow_reader_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "PROBE_S", 0.01)
    closed = threading.Event()
    # Both the stream's own buffer and the socket's are full of it then.
    output = b"x" * (spdy.Limits().stream_window + 50_000)
    with hasty(output, closed) as url:
        async with open_command(url) as command:
            await anyio.to_thread.run_sync(closed.wait, 30)
            await anyio.sleep(0.3)  # many looks at the connection, if anybody looks
            assert await read_all(command.stdout) == output
            assert (await command.wait()).is_success


async def test_what_came_before_the_end_is_read_although_a_write_fails() -> None:
    rest = b"x" * 50_000  # fits into the buffer of a socket that nobody reads
    answered, closed = threading.Event(), threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while b"\r\n\r\n" not in connection.recv(65536):
                pass
            connection.sendall(ANSWER)
            answered.wait(30)
            connection.sendall(rest)
        closed.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/exec/token"
        upgraded = await upgrade(url, ["v4.channel.k8s.io"], websocket=False)
        async with upgraded.stream:
            answered.set()
            await anyio.to_thread.run_sync(closed.wait, 30)

            async def is_broken() -> bool:
                try:
                    await upgraded.stream.send(b"that nobody wants any more")
                except anyio.BrokenResourceError:
                    return True
                return False

            await until(is_broken, "the peer's kernel says that it is gone")
            said = b""
            with contextlib.suppress(anyio.BrokenResourceError):
                while True:
                    said += await upgraded.stream.receive()
            assert said == rest
