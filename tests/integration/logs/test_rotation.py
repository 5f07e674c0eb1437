"""Hours of rotation in short: kubelet rotates, the engine rotates, supervisor and pump are killed
at random.

``ASUPERVISOR_ROTATION_TICKS`` sets how many rounds of kubelet's monitor are run, 10 seconds each on
a node: 8640 are a day. ``ASUPERVISOR_ROTATION_SEED`` chooses when the kills come, so that a day in
parts is not the same part several times."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import anyio

from asupervisor.errors import Unavailable
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import until
from tests.harness.service import Service
from tests.integration.logs.kubelet import LogRotation
from tests.integration.logs.rig import lines_of, pump_of

_TICKS = int(os.environ.get("ASUPERVISOR_ROTATION_TICKS", "120"))
_SEED = int(os.environ.get("ASUPERVISOR_ROTATION_SEED", "20"))
_TICK_S = 0.05
_LIMIT_BYTES = 1 << 20
_BATCH, _BATCHES_A_TICK = 120, 5
_UNREAD = 100_000
"""Lines that may be written and not in the log yet: 18 MB, where the engine keeps 48 at least, so
that the slowest restart loses none."""
# A batch of lines for each line that it is given.
_WRITER = f"""exec awk 'BEGIN {{
    p = sprintf("%150s", ""); gsub(/ /, "x", p)
    while ((getline line < "/permits/more") > 0) {{
        for (i = 0; i < {_BATCH}; i++) print n++ " " p
        fflush()
    }}
}}'"""


class Permits:
    """Lets the container write as much as the log can take.

    Args:
        directory: to be mounted at ``/permits``.
        log: the container's CRI log file.
    """

    def __init__(self, directory: Path, log: Path) -> None:
        directory.mkdir()
        os.mkfifo(directory / "more")
        self._pipe = os.open(directory / "more", os.O_RDWR | os.O_NONBLOCK)
        self._log = log
        self._given = self._seen = 0

    def give(self) -> None:
        """Some more lines, unless too many are unread."""
        if lines := lines_of(self._log):
            self._seen = int(lines[-1].split()[0])
        if self._given - self._seen < _UNREAD:
            self._given += _BATCH * _BATCHES_A_TICK
            os.write(self._pipe, b"\n" * _BATCHES_A_TICK)

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._pipe)


async def stopped(runtime: RemoteRuntimeService, container_id: str) -> None:
    """Stop it, as soon as the connection is there again after the last kill."""
    with anyio.fail_after(30):
        while True:
            try:
                await runtime.stop_container(container_id, 5)
            except Unavailable:
                await anyio.sleep(0.1)
            else:
                return


def test_every_number_once_and_in_order(engine: Engine, tmp_path: Path) -> None:
    service = Service(engine)
    chance = random.Random(_SEED)
    kills = {"supervisor": 0, "pump": 0}
    # At least a few of each in a short run; one in some hundred rounds in a long one.
    supervisor_kills = set(chance.sample(range(10, _TICKS), max(3, _TICKS // 120)))
    pump_kills = set(chance.sample(range(10, _TICKS), max(6, _TICKS // 60)))
    permits = Permits(tmp_path / "permits", tmp_path / "0.log")
    service.start()
    config = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name="writer", namespace="default", uid="uid-writer"),
        log_directory=str(tmp_path),
    )

    async def begin() -> str:
        async with RemoteRuntimeService.connect(service.endpoint) as runtime:
            sandbox_id = await runtime.run_pod_sandbox(config)
            container = cri.ContainerConfig(
                metadata=cri.ContainerMetadata(name="writer"),
                image=cri.ImageSpec(image=BUSYBOX_IMAGE),
                command=["sh", "-c", _WRITER],
                log_path="0.log",
                mounts=[cri.Mount(container_path="/permits", host_path=str(tmp_path / "permits"))],
            )
            container_id = await runtime.create_container(sandbox_id, container, config)
            await runtime.start_container(container_id)
            return container_id

    async def rounds(container_id: str, log: Path) -> None:
        tick = 0
        async with RemoteRuntimeService.connect(service.endpoint, timeout_s=5) as runtime:

            async def reopen() -> None:
                await runtime.reopen_container_log(container_id)

            rotation = LogRotation(log, _LIMIT_BYTES, reopen)
            # On a busy machine the log grows slowly: go on until it was rotated often.
            with anyio.fail_after(600 + _TICKS):
                while tick < _TICKS or rotation.rotations <= _TICKS // 60:
                    tick += 1
                    if tick in pump_kills and (pump := pump_of(service)):
                        os.kill(pump, signal.SIGKILL)
                        kills["pump"] += 1
                    if tick in supervisor_kills:
                        service.kill()
                        kills["supervisor"] += 1
                        await rotation.tick()
                        await anyio.to_thread.run_sync(service.start)
                    permits.give()
                    await rotation.tick()
                    await anyio.sleep(_TICK_S)
            last = rotation.next_number
            await until(lambda: log.exists() and len(lines_of(log)) > 0, "the writer still writes")
            await stopped(runtime, container_id)
            rotation.check_rest()
            print(
                f"\n{tick} rounds, {rotation.rotations} rotations, {rotation.failures} failed ones,"
                f" {kills}, {rotation.next_number} lines"
            )
            assert rotation.next_number > last
            assert min(kills.values()) >= 3

    try:
        anyio.run(rounds, anyio.run(begin), tmp_path / "0.log")
        assert "may be missing" not in service.output
        assert service.stop() == 0
    finally:
        permits.close()
        if service.process is not None:
            service.kill()
        engine.remove_all()
