"""What the operator is told follows every condition, not the engine's alone."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from asupervisor.remote import RemoteRuntimeService
from tests.harness.fake_engine import FakeEngine
from tests.harness.pods import until
from tests.harness.service import Service
from tests.integration.network.namespaces import CNI_BINARIES

NETWORK = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [{"type": "loopback"}],
}


async def test_a_network_that_comes_later_than_the_engine_is_told_everywhere(
    directory: Path,
) -> None:
    conf = directory / "conf"
    conf.mkdir()
    said: list[str] = []
    with (
        FakeEngine(directory / "docker.sock") as fake,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
    ):
        systemd.bind(str(directory / "notify"))
        systemd.setblocking(False)
        service = Service(
            None,
            directory,
            flags=(
                *("--network-plugin", "cni"),
                *("--cni-conf-dir", str(conf), "--cni-bin-dir", CNI_BINARIES),
            ),
            docker_endpoint=fake.endpoint,
        )
        service.environment["NOTIFY_SOCKET"] = str(directory / "notify")
        service.start(ready=False)

        def hears(words: str) -> bool:
            try:
                while True:
                    said.append(systemd.recv(65536).decode())
            except BlockingIOError:
                return words in said[-1] if said else False

        await until(
            lambda: "not ready: cni config uninitialized" in service.output, "the log says why"
        )
        await until(lambda: hears("STATUS=cni config uninitialized"), "systemd is told why")
        (conf / "10-pods.conflist").write_text(json.dumps(NETWORK))
        await until(lambda: "ready: serving the CRI" in service.output, "the log says ready")
        await until(lambda: hears("STATUS=serving the CRI"), "systemd is told")

        async with RemoteRuntimeService.connect(service.endpoint) as runtime:
            answer = await runtime.status(verbose=True)
            assert all(one.status for one in answer.status.conditions)
            kept = json.loads(answer.info["info"])["conditions"]
            assert [(one["kind"], one["ready"]) for one in kept] == [
                ("ServiceReady", True),
                ("RuntimeReady", True),
                ("NetworkReady", True),
            ]
            assert all(one["since"] > 0 for one in kept)
        assert service.output.count("not ready: cni config uninitialized") == 1, "once"
        assert service.stop() == 0
