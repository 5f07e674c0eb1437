"""A node whose pods have a network: an engine, the service with one plugin, and what can be seen of
it from outside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import Engine
from tests.harness.service import Service
from tests.integration.network.namespaces import (
    CNI_BINARIES,
    Namespace,
    ask,
    leases,
    links,
    rules,
)

POD_CIDR = "10.66.0.0/24,fd66::/64"


NODE_ADDRESS = "192.0.2.10"


LEASES = Path("/var/lib/cni/networks")


def namespaces(engine: Engine) -> list[str]:
    """Where an engine sees network namespaces mounted."""
    assert engine.process is not None
    mounts = Path(f"/proc/{engine.process.pid}/mountinfo").read_text().splitlines()
    return [
        line.split()[4] for line in mounts if " - nsfs " in line and "/netns/default " not in line
    ]


class Node:
    """The service with one network plugin, and what the node has of its pods."""

    def __init__(self, engine: Engine, root: Path, plugin: str, pod_cidr: str) -> None:
        self.engine = engine
        self.plugin = plugin
        self.others: set[str] = set()
        self.cache = root / "cache"
        self.conf = root / "conf"
        self.conf.mkdir()
        (self.conf / "10-pods.conflist").write_text(json.dumps(CONFIGURATION))
        self.service = Service(
            engine,
            flags=(
                "--network-plugin",
                plugin,
                "--cni-bin-dir",
                CNI_BINARIES,
                "--cni-conf-dir",
                str(self.conf),
                "--cni-cache-dir",
                str(self.cache),
                "--pod-cidr",
                pod_cidr,
                "--hairpin-mode",
                "hairpin-veth",
            ),
        )
        # Of another runtime on the machine, whose namespaces our mount namespace shows too, or of a
        # test that failed.
        self.others.update(self.remains())

    def end_with_a_faulty_plugin(self, directory: Path) -> None:
        """Let the network end with a plugin that misbehaves as the files beside it, in
        ``directory``, say.
        """
        directory.mkdir()
        for name in os.listdir(CNI_BINARIES):
            (directory / name).symlink_to(Path(CNI_BINARIES, name))
        (directory / "faulty").write_text(FAULTY)
        (directory / "faulty").chmod(0o755)
        self.service.flags += ("--cni-bin-dir", str(directory), "--shutdown-grace", "1s")
        (self.conf / "10-pods.conflist").write_text(
            json.dumps({**CONFIGURATION, "plugins": [*PLUGINS, {"type": "faulty"}]})
        )

    def remains(self) -> list[str]:
        """What is there of pods: leases, cached results, notes, namespaces, interfaces, rules."""
        found = leases(LEASES)
        found += namespaces(self.engine)
        for directory in (
            self.cache,
            self.service.root / "network" / "cni",
            self.service.root / "network" / "kubenet",
        ):
            found += [str(path) for path in directory.rglob("*") if path.is_file()]
        found += [name for name in links() if name.startswith(("veth", "ifb", "bwp"))]
        found += [
            line
            for line in rules().splitlines()
            if "--dport 3" in line or "KUBE-HP-" in line or "CNI-DN-" in line
        ]
        return [name for name in found if name not in self.others]

    def namespace(self, sandbox_id: str) -> Namespace:
        return Namespace.of(int(self.engine.inspect(sandbox_id)["State"]["Pid"]))

    def run(self, scenario: Callable[[RemoteRuntimeService], Awaitable[None]]) -> None:
        async def main() -> None:
            async with RemoteRuntimeService.connect(self.service.endpoint) as runtime:
                await scenario(runtime)

        anyio.run(main)


PLUGINS = [
    {
        "type": "bridge",
        "bridge": "cnipods0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.67.0.0/24"}], [{"subnet": "fd67::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    },
    {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    {"type": "firewall"},
]


CONFIGURATION = {"cniVersion": "1.0.0", "name": "pods", "plugins": PLUGINS}


def config(name: str, *ports: tuple[int, int]) -> cri.PodSandboxConfig:
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=name, namespace="default", uid=f"uid-{name}", attempt=0
        ),
        port_mappings=[
            cri.PortMapping(protocol=cri.TCP, container_port=inside, host_port=outside)
            for inside, outside in ports
        ],
    )


def answers(address: str, port: int) -> bool:
    try:
        return bool(ask(address, port, timeout_s=1.0))
    except OSError:
        return False


def socket_family(address: str) -> int:
    return 10 if ":" in address else 2


FAULTY = r"""#!/bin/sh
here=$(dirname "$0")
input=$(cat)
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}' ;;
ADD)
    case $CNI_ARGS in *POD_NAME=$(cat "$here/hang")*)
        echo $$ > "$here/hangs.new"; mv "$here/hangs.new" "$here/hangs"; sleep 100 ;; esac
    printf '%s' "$input" | sed 's/.*"prevResult": \({.*}\)}$/\1/' ;;
DEL) if [ -e "$here/refuse-del" ]; then echo "will not let go" >&2; exit 1; fi ;;
esac
"""
