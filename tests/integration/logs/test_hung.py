"""A log directory on a dead file server keeps no other log waiting."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import ServiceError
from asupervisor.logs.service import LogSource
from tests.harness.dead_mount import dead_mount
from tests.harness.pods import until
from tests.integration.logs.rig import followed, lines_of, running, source_of, target_of


async def test_other_logs_go_on_and_the_hung_one_when_it_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, dead = source_of(tmp_path), source_of(tmp_path, "dead")
    async with running(tmp_path) as service:
        with dead_mount(tmp_path / "file server") as mount:
            targets = [mount / f"pod{number}" / "c" / "0.log" for number in range(20)]
            for number, target in enumerate(targets):
                service.follow(
                    LogSource(f"d{number}", str(target), str(dead.path), tty=False, running=True)
                )
            service.follow(followed(tmp_path, source))
            for number in range(5):
                source.write(b"line %d\n" % number)
                await until(
                    lambda number=number: len(lines_of(target_of(tmp_path))) == number + 1,  # type: ignore[misc]
                    "the other log is written",
                )
            os.rename(target_of(tmp_path), tmp_path / "rotated")
            await service.reopen("c")
            assert await service.finish("c", 20)
            await until(lambda: "does not answer" in caplog.text, "the operator is told")
            service.forget("d0")
            with anyio.move_on_after(0.1):
                assert not await service.finish("d1", 30)
            assert service.starts == 1
            dead.write(b"kept\n")
        # The mount is gone now: what hung fails, and the same path is one on a disk that answers.
        await until(
            lambda: all(lines_of(target) == [b"kept"] for target in targets[1:]), "it was kept"
        )
        assert not targets[0].exists(), "nothing is made for a container that is gone"
        assert service.starts == 1
    source.close()
    dead.close()


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_pump_with_a_hung_log_answers_and_ends(tmp_path: Path) -> None:
    dead = source_of(tmp_path, "dead")
    with dead_mount(tmp_path / "file server") as mount:
        target = mount / "pod" / "container" / "0.log"
        async with running(tmp_path) as service:
            service.follow(LogSource("d", str(target), str(dead.path), tty=False, running=True))
            with pytest.raises(ServiceError, match="not being written"):
                await service.reopen("nothing")
            pid = service.pid
        assert not _runs(pid)
    dead.close()
