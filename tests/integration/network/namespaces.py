"""Network namespaces that stand for pods, sockets inside them, and what the host has of them."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from asupervisor.host.netns import in_namespace
from asupervisor.network.plugin import PodNetwork, PortMapping

CNI_BINARIES = "/usr/lib/cni"

T = TypeVar("T")


class Namespace:
    """A process in a network namespace of its own, as a pause container is one."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "ip link set lo up; echo ready; exec sleep 1000"],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.process.stdout.close()
        self.path = f"/proc/{self.process.pid}/ns/net"

    @classmethod
    def of(cls, pid: int) -> Namespace:
        """That of a process of somebody else's, who ends it."""
        made = cls.__new__(cls)
        made.path = f"/proc/{pid}/ns/net"
        return made

    def close(self) -> None:
        """End the process; the namespace goes with it, unless one of its sockets is open still."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def run(self, action: Callable[[], T]) -> T:
        """Call ``action`` in a thread that entered the namespace. A socket made there stays
        there.
        """
        return in_namespace(self.path, action)


class Echo:
    """A TCP server in a namespace that answers every connection with the address that it came
    from.
    """

    def __init__(
        self, namespace: Namespace | None, port: int, family: int = socket.AF_INET
    ) -> None:
        def listen() -> socket.socket:
            server = socket.socket(family, socket.SOCK_STREAM)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
            server.listen(16)
            return server

        self._server: socket.socket = namespace.run(listen) if namespace else listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, peer = self._server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(str(peer[0]).encode())

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask(address: str, port: int, namespace: Namespace | None = None, timeout_s: float = 5.0) -> str:
    """Connect to an :class:`Echo`, from a namespace or from the host, and return its answer: the
    address it saw.
    """

    def connect() -> str:
        with socket.create_connection((address, port), timeout=timeout_s) as connection:
            return connection.recv(100).decode()

    answer: str = namespace.run(connect) if namespace else connect()
    return answer


def udp_round_trip(
    server: socket.socket, address: str, port: int, namespace: Namespace | None = None
) -> bytes:
    """Send a datagram to a host port and return what comes back from ``server``, which answers in
    this call.
    """

    def client() -> socket.socket:
        made = socket.socket(
            socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM
        )
        made.settimeout(5)
        made.sendto(b"ping", (address, port))
        return made

    with namespace.run(client) if namespace else client() as sender:
        data, peer = server.recvfrom(100)
        server.sendto(data + b" pong", peer)
        answer: bytes = sender.recv(100)
        return answer


def pod(
    namespace: Namespace,
    *ports: PortMapping,
    annotations: dict[str, str] | None = None,
    name: str = "web",
) -> PodNetwork:
    """A pod in a namespace, with an id of its own."""
    return PodNetwork(
        sandbox_id=uuid.uuid4().hex * 2,
        name=name,
        namespace="default",
        uid=str(uuid.uuid4()),
        netns=namespace.path,
        port_mappings=ports,
        annotations=annotations or {},
    )


def links() -> set[str]:
    """Names of the host's interfaces."""
    return {name for _, name in socket.if_nameindex()}


def rules() -> str:
    """Every iptables rule of both families and both backends."""
    text = ""
    for command in (
        "iptables-nft-save",
        "ip6tables-nft-save",
        "iptables-legacy-save",
        "ip6tables-legacy-save",
    ):
        if shutil.which(command):
            text += (
                f"== {command}\n"
                + subprocess.run([command], capture_output=True, text=True, check=True).stdout
            )
    return re.sub(r"(?m)^#.*\n|\[\d+:\d+\]", "", text)


def leases(directory: Path) -> list[str]:
    """The addresses that host-local has given in a data directory."""
    return sorted(
        path.name
        for path in directory.rglob("*")
        if path.is_file() and re.match(r"[0-9a-f]+[.:]", path.name)
    )
