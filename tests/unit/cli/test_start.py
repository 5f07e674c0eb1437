"""What the command line starts with: each import is time before the first answer."""

from __future__ import annotations

import subprocess
import sys

NEEDLESS = (
    *("yaml", "orjson", "json", "h11", "wsproto", "aiohttp", "aiodocker", "prometheus_client"),
    *("uvloop", "rich", "uuid", "secrets", "hashlib", "tempfile", "http.client"),
    *("google.protobuf.json_format", "google.protobuf.struct_pb2", "asupervisor.supervisor"),
    *("asupervisor.dockershim", "asupervisor.engine", "asupervisor.node", "asupervisor.translate"),
    *("asupervisor.client.making", "asupervisor.client.manifest", "asupervisor.client.plan"),
    *("asupervisor.client.files", "asupervisor.client.logs", "asupervisor.client.tunnel"),
    *("asupervisor.streaming.client", "asupervisor.cli.flags", "asupervisor.cli.verbs.run"),
    *("asupervisor.config", "asupervisor.host.beneath"),
)
"""Modules that a list of containers does not need, and what is below them."""


def test_a_list_imports_nothing_that_it_does_not_need() -> None:
    # It gets as far as to ask: without a server there is no answer.
    script = """
import os, sys
from asupervisor.__main__ import main
os._exit = sys.exit
sys.argv = ["asupervisor", "ps", "--endpoint", "unix:///nowhere/cri.sock"]
try:
    main()
except SystemExit as ended:
    assert ended.code == 1, ended.code
assert "asupervisor.cli.verbs.ps" in sys.modules and "grpc.aio" in sys.modules
print(*sorted(sys.modules), sep="\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    imported = set(done.stdout.split())
    needless = {
        name
        for name in imported
        if any(name == each or name.startswith(f"{each}.") for each in NEEDLESS)
    }
    assert needless == set()
