"""Clients that break TLS off, at each phase: the session ends, as that of any client that goes."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from asupervisor.config import StreamingConfig
from asupervisor.streaming.client import open_command
from asupervisor.streaming.requests import ExecRequest
from tests.harness.client import read_until
from tests.integration.streaming.test_server import CAT, certificate, served

TALKS = ExecRequest(container_id="c", command=("sh", "-c", "while :; do echo x; done"))
NO_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)
UPGRADE = (
    "GET {} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
)


class TlsClient:
    """One whose socket can be written to beside TLS."""

    def __init__(self, port: int, trusted: ssl.SSLContext) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = trusted.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.socket.sendall(self._out.read())
                self._in.write(self.socket.recv(65536))
        self.socket.sendall(self._out.read())

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self.socket.sendall(self._out.read())

    def receive_until(self, word: bytes) -> None:
        got = b""
        while word not in got:
            try:
                got += self._tls.read(65536)
            except ssl.SSLWantReadError:
                self._in.write(self.socket.recv(65536))

    def read_to_the_end(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(65536):
                pass
        self.socket.close()


@pytest.mark.parametrize("in_session", [False, True], ids=["head", "session"])
@pytest.mark.parametrize("half_close", [False, True], ids=["no record", "half-close"])
async def test_tls_that_a_client_breaks_off_is_a_client_that_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, in_session: bool, half_close: bool
) -> None:
    cert, key = certificate(tmp_path, "server")
    trusted = ssl.create_default_context(cafile=str(cert))
    config = StreamingConfig(tls_cert_file=str(cert), tls_private_key_file=str(key))
    with caplog.at_level(logging.INFO, "asupervisor.streaming"):
        async with served(config) as (service, backend):
            url = service.url(TALKS)
            port, path = url.removeprefix("https://127.0.0.1:").split("/", 1)

            def misbehave() -> None:
                client = TlsClient(int(port), trusted)
                if in_session:
                    client.send(UPGRADE.format(f"/{path}").encode())
                    client.receive_until(b" 101 ")
                if half_close:
                    client.socket.shutdown(socket.SHUT_WR)
                else:
                    client.socket.sendall(NO_RECORD)
                client.read_to_the_end()

            await anyio.to_thread.run_sync(misbehave)
            while service.handler.active:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            assert all(process.killed for process in backend.processes)
            async with open_command(service.url(CAT), stdin=True, ssl_context=trusted) as command:
                assert command.stdin is not None
                await command.stdin.send(b"x")
                assert await read_until(command.stdout, b"x") == b"x"
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    outcome = caplog.records[0].getMessage().partition("outcome=")[2].split("'")[1]
    gone = ("connection broke", "no request", "client disconnected")
    assert outcome in gone
