"""An engine and a service of the benchmark's own, in network and mount namespaces of their own, as
the tests have them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.engine import BUSYBOX_IMAGE, Engine, busybox_archive
from tests.harness.namespace import leave_the_network
from tests.harness.service import Service

IMAGE = BUSYBOX_IMAGE
CNI_BINARIES = "/usr/lib/cni"


@dataclass(frozen=True)
class Node:
    """An engine, and the service that runs on it."""

    engine: Engine
    service: Service

    @property
    def network(self) -> Path:
        """The CNI configuration of :func:`use_cni`."""
        return _network_file(self.service)


def _network_file(service: Service) -> Path:
    return service.directory / "net.d" / "10-benchmark.conflist"


def use_cni(service: Service, *further: dict[str, object]) -> None:
    """Give the service a network of the plugins ``bridge`` and ``host-local``.

    Args:
        service: not started yet; what the plugins keep is in its directory.
        further: plugins after these.
    """
    bridge = {
        "type": "bridge",
        "bridge": "benchmark0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.214.0.0/16"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(service.directory / "ipam"),
        },
    }
    file = _network_file(service)
    file.parent.mkdir(parents=True)
    network = {"cniVersion": "1.0.0", "name": "benchmark", "plugins": [bridge, *further]}
    file.write_text(json.dumps(network))
    service.flags += (
        "--network-plugin=cni",
        f"--cni-conf-dir={file.parent}",
        f"--cni-bin-dir={CNI_BINARIES}",
        f"--cni-cache-dir={service.directory}/cni-cache",
    )


@contextmanager
def node(cni: bool = False) -> Iterator[Node]:
    """An engine and a service that live as long as the block.

    Args:
        cni: whether pods get their network from plugins, ``portmap`` among them, instead of the
            engine.

    Raises:
        AssertionError: engine or service do not come up; the message names their logs.
    """
    leave_the_network()
    engine = Engine(arguments=("--bridge=none", "--iptables=false") if cni else ())
    running = Service(engine)
    # Its share of the cores is its own, as under a service manager, and not the load generator's.
    running.prefix = ("setsid",)
    try:
        if cni:
            use_cni(running, {"type": "portmap", "capabilities": {"portMappings": True}})
        engine.start()
        engine.load(busybox_archive())
        running.start()
        yield Node(engine, running)
    finally:
        if running.process is not None:
            running.stop()
        engine.destroy()
        shutil.rmtree(running.directory, ignore_errors=True)


@contextmanager
def service() -> Iterator[str]:
    """Path of the socket of a service that lives as long as the block."""
    with node() as own:
        yield str(own.service.socket)
