"""The node's CNI plugin: it runs nowhere, keeps a book of addresses, and can fail in every way that
a program can.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from asupervisor.errors import DeadlineExceeded
from asupervisor.host.program import Finished


@dataclass
class Entry:
    """One address that a pod has.

    Args:
        address: of the pod.
        netns: where it was put.
    """

    address: str
    netns: str


class Plugin:
    """In the place of ``run_program`` for CNI plugins.

    Args:
        rng: draws.
        directory: of configuration and binaries.
        say: writes a line of the trace.
        found: told a finding.
        version: of the specification that the configuration is written in.
        deleting: told the sandbox and the namespace of each address before it is given back.
    """

    def __init__(
        self,
        rng: random.Random,
        directory: Path,
        say: Callable[[str], int],
        found: Callable[[str, str], None],
        version: str,
        deleting: Callable[[str, str], None],
    ) -> None:
        self.rng = rng
        self.say = say
        self.found = found
        self.deleting = deleting
        self.book: dict[str, Entry] = {}
        self.fails = self.slow = self.hangs = 0.0
        self.thrown = 0
        self._next = 1
        self._version = version
        self.conf_dir, self.bin_dir = directory / "net.d", directory / "bin"
        for one in (self.conf_dir, self.bin_dir):
            one.mkdir(parents=True)
        plugin = self.bin_dir / "simulated"
        plugin.write_text("")
        plugin.chmod(0o755)
        document = {"cniVersion": version, "name": "sim", "plugins": [{"type": "simulated"}]}
        (self.conf_dir / "10-sim.conflist").write_text(json.dumps(document))

    async def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        deadline_s: float,
    ) -> Finished:
        """See :func:`asupervisor.host.program.run_program`."""
        assert environment is not None
        verb, pod = environment["CNI_COMMAND"], environment.get("CNI_CONTAINERID", "")
        seconds, rng = self.rng.uniform(0.005, 0.08), self.rng
        fault = ""
        if verb in ("ADD", "DEL", "STATUS"):
            roll = rng.random()
            if roll < self.fails:
                fault = rng.choice(("before", "after", "11", "garbage"))
            elif roll < self.fails + self.slow:
                seconds = rng.uniform(1.0, 15.0)
            elif roll < self.fails + self.slow + self.hangs:
                seconds = 1e6
            if fault or seconds > 1:
                self.thrown += 1
                self.say(f"fault: CNI {verb} {pod[:12]} {fault or f'{seconds:.0f} s'}")
        if seconds >= deadline_s:
            await anyio.sleep(deadline_s)
            if rng.random() < 0.5:
                self._effect(verb, pod, environment, json.loads(stdin or b"{}"))
            raise DeadlineExceeded(f"{command[0]} did not end within {deadline_s:g} s")
        await anyio.sleep(seconds)
        if fault == "before":
            return Finished(1, b'{"code": 100, "msg": "no luck"}', b"")
        if fault == "11":
            return Finished(1, b'{"code": 11, "msg": "try again"}', b"")
        answer = self._effect(verb, pod, environment, json.loads(stdin or b"{}"))
        if fault == "after":
            return Finished(1, b"", b"killed")
        if fault == "garbage":
            return Finished(0, b"garbage", b"")
        return Finished(0, json.dumps(answer).encode() if answer else b"", b"")

    def _effect(
        self, verb: str, pod: str, environment: Mapping[str, str], document: Any
    ) -> dict[str, Any] | None:
        if verb == "VERSION":
            return {"cniVersion": self._version, "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}
        if verb == "ADD":
            netns = environment["CNI_NETNS"]
            if pod in self.book:
                self.found("double ADD", f"{pod[:12]} has {self.book[pod].address} already")
            if not netns or not Path(netns).exists():
                self.say(f"CNI ADD {pod[:12]} in a namespace that is gone")
            address = f"10.1.{self._next // 250}.{self._next % 250 + 2}"
            self._next += 1
            self.book[pod] = Entry(address, netns)
            self.say(f"CNI ADD {pod[:12]} {address}")
            return {
                "cniVersion": document.get("cniVersion", "0.4.0"),
                "ips": [{"version": "4", "address": f"{address}/16"}],
            }
        if verb == "DEL" and pod in self.book:
            self.deleting(pod, self.book[pod].netns)
            self.say(f"CNI DEL {pod[:12]} {self.book.pop(pod).address}")
        if verb == "GC":
            valid = {one["containerID"] for one in document["cni.dev/valid-attachments"]}
            for gone in [one for one in self.book if one not in valid]:
                self.deleting(gone, self.book[gone].netns)
                self.say(f"CNI GC {gone[:12]} {self.book.pop(gone).address}")
        return None
