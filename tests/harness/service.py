"""The service as its users run it: a process of its own against an engine of the tests' own, or a
supervisor in this loop.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asupervisor.config import Config, NetworkConfig, NriConfig
from tests.harness.engine import Engine, eventually


def service_config(engine: Engine, directory: Path, **changes: object) -> Config:
    """Settings for a supervisor of the tests: own socket and root below ``directory``, the engine's
    bridge as network.
    """
    settings: dict[str, object] = {
        "runtime_endpoint": f"unix://{directory}/cri.sock",
        "docker_endpoint": engine.endpoint,
        "root_directory": str(directory / "root"),
        "pod_infra_container_image": "embedded",
        "network": NetworkConfig(plugin="no-op"),
        "nri": NriConfig(disable=True),
        "shutdown_grace_s": 10.0,
        **changes,
    }
    return Config(**settings)  # type: ignore[arg-type]


class Service:
    """``python -m asupervisor`` as a child process.

    Args:
        engine: its engine; where None, ``docker_endpoint`` names it.
        directory: for its socket, root and log; a short one, since a socket's path has room for 107
            bytes.
        flags: further flags.
        docker_endpoint: in place of the engine's.
    """

    def __init__(
        self,
        engine: Engine | None,
        directory: Path | None = None,
        flags: tuple[str, ...] = (),
        docker_endpoint: str = "",
    ) -> None:
        self.directory = directory or Path(tempfile.mkdtemp(prefix="asv-", dir="/var/tmp"))
        self.socket = self.directory / "cri.sock"
        self.endpoint = f"unix://{self.socket}"
        self.root = self.directory / "root"
        self.log = self.directory / "service.log"
        self.flags = flags
        self.docker_endpoint = docker_endpoint or (engine.endpoint if engine is not None else "")
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = dict(os.environ)
        self.prefix: tuple[str, ...] = ()
        """A command that runs the service, such as one that takes rights away first."""

    @property
    def command(self) -> list[str]:
        """The command line; flags given to the constructor come last and win."""
        return [
            sys.executable,
            "-m",
            "asupervisor",
            "--container-runtime-endpoint",
            self.endpoint,
            "--docker-endpoint",
            self.docker_endpoint,
            "--root-directory",
            str(self.root),
            "--pod-infra-container-image",
            "embedded",
            "--network-plugin",
            "no-op",
            "--shutdown-grace",
            "10s",
            *(() if any(flag.startswith("--nri") for flag in self.flags) else ("--nri-disable",)),
            *self.flags,
        ]

    def spawn(self) -> None:
        """Start the process without waiting for anything."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *self.command],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self.environment,
            )

    def start(self, ready: bool = True) -> None:
        """Start it and wait until its socket answers and, unless told otherwise, until it says that
        it is ready.
        """
        seen = len(self.output)
        self.spawn()
        try:
            eventually(self.listens, f"the service listens on {self.socket}")
            if ready:
                eventually(
                    lambda: "ready: serving" in self.output[seen:],
                    "the service is ready",
                )
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}; its log ends with: {self.output[-2000:]}") from None

    def listens(self) -> bool:
        """Whether somebody accepts on the socket."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the service exited with {self.process.returncode}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    @property
    def output(self) -> str:
        """Everything that it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def pages_url(self) -> str:
        """Where it says that its page, metrics and health are."""
        found = re.findall(r"status page, metrics and health at (http://[^\s\"]+)", self.output)
        assert found, self.output
        return str(found[-1])

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """End it by a signal and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout_s)
        self.process = None
        return code

    def kill(self) -> None:
        """SIGKILL."""
        self.stop(signal.SIGKILL)


@contextmanager
def running_service(engine: Engine) -> Iterator[Service]:
    """The service as a process of its own, and the word that it ended well."""
    running = Service(engine)
    running.start()
    try:
        yield running
        assert running.stop() == 0, running.output[-2000:]
        assert "Traceback" not in running.output, running.output[-4000:]
    finally:
        if running.process is not None:
            running.kill()
        engine.remove_all()
