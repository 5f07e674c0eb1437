"""A service whose pods are on a CNI bridge, the pods that stand on it, and what the node has of
them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import Engine
from tests.harness.leaks import network_namespaces
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import Service

CNI_BINARIES = "/usr/lib/cni"
ENGINE_ARGUMENTS = ("--iptables=false",)
"""Of an engine whose pods are on this bridge alone. Not ``--bridge=none``: such an engine deletes
docker0, which those of other tests use.
"""
COUNTER = (
    "sh",
    "-c",
    "trap 'exit 0' TERM; i=0; while :; do echo $i -; i=$((i+1)); sleep 0.05; done",
)
"""Writes ``0 -``, ``1 -``, ``2 -`` and so on, until it is told to end."""

_LINE = re.compile(r"\S{20,35} stdout F (\d+) -\n")


class BridgedNode:
    """The service on a bridge of its own.

    Args:
        engine: its engine.
        directory: for everything of the service and the network; short, as sockets are in it.
    """

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self.directory = directory
        self.logs = directory / "pods"
        configuration = directory / "net.d"
        configuration.mkdir(parents=True)
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": "10.69.0.0/16"}]],
            "dataDir": str(directory / "ipam"),
        }
        bridge = {"type": "bridge", "bridge": "bridged0", "isGateway": True, "ipam": ipam}
        network = {"cniVersion": "1.0.0", "name": "bridged", "plugins": [bridge]}
        (configuration / "10-bridged.conflist").write_text(json.dumps(network))
        self.cache = directory / "cni-cache"
        self.service = Service(
            engine,
            directory,
            flags=(
                "--network-plugin=cni",
                f"--cni-conf-dir={configuration}",
                f"--cni-bin-dir={CNI_BINARIES}",
                f"--cni-cache-dir={self.cache}",
            ),
        )
        self._namespaces = network_namespaces()
        self._links = _veths()

    @property
    def endpoint(self) -> str:
        """The service's address."""
        return self.service.endpoint

    def leases(self) -> dict[str, str]:
        """Address → id of the sandbox that it was given to."""
        holders = {}
        for path in (self.directory / "ipam" / "bridged").glob("10.*"):
            # It may be given back, or be half made, while this looks.
            with contextlib.suppress(FileNotFoundError):
                holders[path.name] = path.read_text().partition("\n")[0].strip()
        return holders

    def processes(self) -> list[str]:
        """Command lines that name the service's directory, but for the service's own."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            own = self.service.process is not None and entry.parent.name == str(self.service.pid)
            if not own and str(self.directory) in line:
                found.append(line)
        return found

    def remains(self) -> list[str]:
        """What is there of pods: containers, addresses, checkpoints, results of CNI, notes of
        networks and log positions, namespaces, interfaces.
        """
        root = self.service.root
        files = [
            path
            for directory in (root / "sandbox", root / "network", root / "logs", self.cache)
            for path in directory.rglob("*")
            if path.is_file() and path.name != "lock"
        ]
        containers = [container["Id"] for container in self.engine.containers()]
        links = sorted(_veths() - self._links)
        namespaces = sorted(network_namespaces() - self._namespaces)
        return [*containers, *self.leases(), *map(str, files), *namespaces, *links]


def _veths() -> set[str]:
    return {name for name in os.listdir("/sys/class/net") if name.startswith("veth")}


@contextmanager
def bridged_node(engine: Engine, directory: Path) -> Iterator[BridgedNode]:
    """Such a node with its service started; it ends in order, and leaves no process."""
    node = BridgedNode(engine, directory)
    try:
        node.service.start()
        yield node
        assert node.service.stop() == 0
        assert node.processes() == []
    finally:
        if node.service.process is not None:
            node.service.kill()
        subprocess.run(["ip", "link", "delete", "bridged0"], check=False, capture_output=True)


@dataclass(frozen=True)
class Pod:
    """A pod that was answered OK, with one container."""

    config: cri.PodSandboxConfig
    sandbox: str
    container: str
    log: Path

    def lives_as(self, engine: Engine) -> list[object]:
        """What changes when either of its containers is started anew."""
        states = [engine.inspect(one)["State"] for one in (self.sandbox, self.container)]
        return [(state["Status"], state["Pid"], state["StartedAt"]) for state in states]

    def numbers(self) -> list[int]:
        """What its container has counted, as its log has it.

        Raises:
            AssertionError: something in it is not a whole line with a number.
        """
        lines = self.log.read_text().splitlines(keepends=True)
        found = [_LINE.fullmatch(line) for line in lines]
        broken = [line for line, match in zip(lines, found, strict=True) if match is None]
        assert broken == []
        return [int(match[1]) for match in found if match is not None]

    def engine_numbers(self, engine: Engine) -> list[int]:
        """The same, as the engine's own log has it."""
        lines = Path(engine.inspect(self.container)["LogPath"]).read_text().splitlines()
        return [int(json.loads(line)["log"].split()[0]) for line in lines]


async def run_pod(
    runtime: RemoteRuntimeService,
    name: str,
    logs: Path,
    command: tuple[str, ...] = COUNTER,
    attempt: int = 0,
) -> Pod:
    """Run a pod whose container writes to ``<logs>/<name>/main/0.log``."""
    directory = logs / name
    config = pod_config(name, attempt, log_directory=directory)
    sandbox = await runtime.run_pod_sandbox(config)
    container = await runtime.create_container(
        sandbox, container_config(command=command, log_path="main/0.log"), config
    )
    await runtime.start_container(container)
    return Pod(config, sandbox, container, directory / "main" / "0.log")


async def counts_on(pod: Pod) -> None:
    """Wait until a pod's log has grown; every number is in it once."""
    before = len(pod.numbers())
    await until(lambda: len(pod.numbers()) > before, f"{pod.log} goes on")
    numbers = pod.numbers()
    assert numbers == list(range(len(numbers)))


async def remove_pods(runtime: RemoteRuntimeService) -> None:
    """Stop and remove every pod, as kubelet does with what nobody wants."""
    for sandbox in await runtime.list_pod_sandbox():
        await runtime.stop_pod_sandbox(sandbox.id)
        await runtime.remove_pod_sandbox(sandbox.id)
