"""The command line's exec, attach and port-forward, with a terminal of the test's own."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import anyio
import pytest

from tests.harness.engine import eventually
from tests.harness.program import running
from tests.integration.streaming.conftest import Pod

TRANSPORTS = pytest.mark.parametrize("transport", ["spdy", "websocket"])


def command_line(pod: Pod, verb: str, *arguments: str) -> list[str]:
    """The client's command line for this service."""
    return [
        sys.executable,
        "-m",
        "asupervisor",
        verb,
        "--endpoint",
        pod.service.endpoint,
        *arguments,
    ]


@dataclass
class Terminal:
    """A process on a terminal, seen from its other end."""

    process: subprocess.Popen[bytes]
    master: int
    before: list[object]
    seen: bytes = b""
    pending: list[bytes] = field(default_factory=list)

    def read(self) -> bytes:
        """Everything so far."""
        with suppress(BlockingIOError, OSError):
            while data := os.read(self.master, 65536):
                self.seen += data
        return self.seen

    def expect(self, word: bytes) -> None:
        """Wait for ``word`` in what comes from now on."""
        eventually(lambda: word in self.read(), f"{word!r} after {self.seen!r}")
        self.seen = self.seen.split(word, 1)[1]

    def resize(self, width: int, height: int) -> None:
        """As a window manager does it."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    @property
    def is_raw(self) -> bool:
        """Whether keys go through as they are."""
        return not termios.tcgetattr(self.master)[3] & (
            termios.ICANON | termios.ECHO | termios.ISIG
        )

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal is as the shell had it."""
        return termios.tcgetattr(self.master) == self.before


@contextmanager
def terminal(command: list[str]) -> Iterator[Terminal]:
    """Run a command on a terminal of 90 columns and 30 lines."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
    before = termios.tcgetattr(master)
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    try:
        yield Terminal(process, master, before)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


@TRANSPORTS
def test_a_shell_on_a_terminal(pod: Pod, transport: str) -> None:
    with terminal(
        command_line(pod, "exec", "stream/c1", "-it", "--transport", transport, "--", "sh")
    ) as shell:
        shell.expect(b"# ")
        assert shell.is_raw
        for width, height in ((90, 30), (121, 41)):
            if width != 90:
                shell.resize(width, height)

            def told(size: bytes = f"{height} {width}".encode()) -> bool:
                # Not by the echo: a shell that is told of a size draws its line again within it.
                shell.seen = b""
                os.write(shell.master, b"stty size; echo siz''ed\r")
                eventually(lambda: b"sized" in shell.read(), "the answer")
                return size in shell.seen

            eventually(told, f"the remote terminal is {width} wide")
        # It says so when it has the terminal: a signal before that reaches the outer shell alone.
        os.write(shell.master, b"sh -c 'echo beg\"\"un; exec sleep 1000'\r")
        shell.expect(b"begun")
        os.write(shell.master, b"\x03")  # reaches the remote end, not this process
        shell.expect(b"# ")
        os.write(shell.master, b"exit 5\r")
        assert shell.process.wait(20) == 5
        assert shell.is_as_before


def test_a_signal_gives_the_terminal_back(pod: Pod) -> None:
    with terminal(command_line(pod, "exec", "stream/c1", "-it", "--", "sh")) as shell:
        shell.expect(b"# ")
        assert shell.is_raw
        shell.process.terminate()
        assert shell.process.wait(20) == 128 + signal.SIGTERM
        assert shell.is_as_before


@TRANSPORTS
def test_pipes_and_exit_codes(pod: Pod, transport: str) -> None:
    script = "cat; echo bad >&2; exit 7"
    command = command_line(
        pod, "exec", "stream/c1", "-i", "--transport", transport, "--", "sh", "-c", script
    )
    ended = subprocess.run(
        command, input=b"x" * 200_000, capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, b"x" * 200_000, b"bad\n")


def test_attach_and_a_container_that_is_not_there(pod: Pod) -> None:
    anyio.run(pod.add, ["sh", "-c", "while :; do echo tick; sleep 0.1; done"])
    with running(
        command_line(pod, "attach", f"stream/c{pod.containers}"), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"tick\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGINT
    failed = subprocess.run(
        command_line(pod, "attach", "stream/none"), capture_output=True, timeout=60, check=False
    )
    assert failed.returncode == 1
    assert b"Traceback" not in failed.stderr


@TRANSPORTS
def test_port_forward(pod: Pod, transport: str) -> None:
    script = (
        "mkdir -p /www && echo served > /www/index.html && exec httpd -f -p 127.0.0.1:8088 -h /www"
    )
    anyio.run(pod.add, ["sh", "-c", script])
    command = command_line(pod, "port-forward", "--transport", transport, "stream", ":8088", ":1")
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        ports = [int(process.stdout.readline().split()[2].rsplit(b":", 1)[1]) for _ in range(2)]

        def asked(port: int) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: connection.recv(65536), b""))

        eventually(lambda: asked(ports[0]).endswith(b"served\n"), "the pod's answer")
        with suppress(ConnectionResetError):
            assert asked(ports[1]) == b""
        assert b"port 1" in process.stderr.readline()
        assert asked(ports[0]).endswith(b"served\n")
        process.terminate()
        assert process.wait(20) == 0
