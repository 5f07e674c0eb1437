"""The log service and its pump as two processes."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import FailedPrecondition
from tests.harness.engine_log import engine_line, engine_time
from tests.harness.pods import until
from tests.integration.logs.rig import followed, lines_of, running, source_of, target_of


async def test_a_log_is_written_as_it_grows_and_reopened(tmp_path: Path) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    async with running(tmp_path) as service:
        log.write(b"one\n")
        service.follow(followed(tmp_path, log))
        await until(lambda: lines_of(target) == [b"one"], "the first line")
        log.write(b"two\n", "stderr")
        await until(lambda: lines_of(target) == [b"one", b"two"], "the second line")
        renamed = target.rename(target.with_name("0.log.1"))
        await service.reopen("c")
        assert target.exists()
        log.write(b"three\n")
        await until(lambda: lines_of(target) == [b"three"], "the third line")
        assert lines_of(renamed) == [b"one", b"two"]
        await until(
            lambda: "c" in service.figures and service.figures["c"].written_bytes > 0, "figures"
        )
    log.close()


@pytest.mark.parametrize("python_path", ["", ".", ":lib"])
async def test_the_pump_takes_no_module_from_where_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python_path: str
) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    there = tmp_path / "lib"
    there.mkdir()
    for directory in (tmp_path, there):
        for name in ("resource", "ctypes", "json", "heapq", "orjson", "asupervisor", "__future__"):
            (directory / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", python_path)
    async with running(tmp_path) as service:
        log.write(b"one\n")
        service.follow(followed(tmp_path, log))
        await until(lambda: lines_of(target) == [b"one"], "the first line")
    log.close()
    assert not (tmp_path / "ran").exists()


async def test_finish_returns_when_all_is_written(tmp_path: Path) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    async with running(tmp_path) as service:
        service.follow(followed(tmp_path, log))
        for number in range(20_000):
            log.write(b"%d\n" % number)
        assert await service.finish("c", 30)
        assert lines_of(target) == [b"%d" % number for number in range(20_000)]
        with pytest.raises(FailedPrecondition):
            await service.reopen("c")
    log.close()


async def test_a_finished_log_stays_closed(tmp_path: Path) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    log.write(b"one\n")
    async with running(tmp_path) as service:
        service.follow(followed(tmp_path, log))
        assert await service.finish("c", 20)
    target.unlink()
    async with running(tmp_path) as service:
        # kubelet has removed the log of this container: it must not come back as an empty file.
        service.follow(followed(tmp_path, log, alive=False))
        assert await service.finish("c", 20)
        assert not target.exists()
    log.close()


async def test_an_exit_that_nobody_saw_is_made_up_for(tmp_path: Path) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    log.write(b"one\n")
    async with running(tmp_path) as service:
        service.follow(followed(tmp_path, log))
        await until(lambda: lines_of(target) == [b"one"], "the first line")
    log.write(b"two\n")
    async with running(tmp_path) as service:
        service.follow(followed(tmp_path, log, alive=False))
        assert await service.finish("c", 20)
        assert lines_of(target) == [b"one", b"two"]
    log.close()


async def test_a_killed_pump_is_replaced_and_told_everything(tmp_path: Path) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    async with running(tmp_path) as service:
        service.follow(followed(tmp_path, log))
        for number in range(5):
            log.write(b"%d\n" % number)
            await until(lambda number=number: len(lines_of(target)) == number + 1, "the line")  # type: ignore[misc]
            os.kill(service.pid, signal.SIGKILL)
            target.rename(target.with_name(f"0.log.{number}"))
            # Asked of the pump that is dead, answered by the next one.
            await service.reopen("c")
            assert target.exists()
            target.with_name(f"0.log.{number}").rename(target)
            await service.reopen("c")
        assert service.starts == 6
        assert lines_of(target) == [b"0", b"1", b"2", b"3", b"4"]
    log.close()


async def test_the_end_of_a_log_is_asked_of_no_pump_once_its_container_runs_again(
    tmp_path: Path,
) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    async with running(tmp_path) as service:
        log.write(b"one\n")
        service.follow(followed(tmp_path, log))
        await until(lambda: lines_of(target) == [b"one"], "the first line")
        os.kill(service.pid, signal.SIGSTOP)
        assert not await service.finish("c", 0.01)
        service.follow(followed(tmp_path, log))
        os.kill(service.pid, signal.SIGKILL)
        await service.reopen("c")  # answered by the next one
        log.write(b"two\n")
        await until(lambda: lines_of(target)[-1:] == [b"two"], "the line after its start")
    log.close()


async def test_the_docker_format_is_the_link_that_dockershim_made(tmp_path: Path) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    async with running(tmp_path, log_format="docker") as service:
        service.follow(followed(tmp_path, log))
        await until(target.is_symlink, "the link")
        assert target.readlink() == log.path
        with pytest.raises(FailedPrecondition, match="the engine's own file"):
            await service.reopen("c")
    log.close()


@pytest.mark.parametrize("later", ["cri", "docker"])
async def test_a_link_that_is_there_stays_under_either_format(tmp_path: Path, later: str) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    target.parent.mkdir(parents=True)
    target.symlink_to(log.path)
    log.write(b"one\n")
    async with running(tmp_path, log_format=later) as service:
        service.follow(followed(tmp_path, log))
        assert await service.finish("c", 20)
        assert target.readlink() == log.path
        assert log.path.read_bytes().count(b"\n") == 1
    log.close()


async def test_a_file_that_was_begun_is_continued_under_the_docker_format(tmp_path: Path) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    log.write(b"one\n")
    async with running(tmp_path) as service:
        service.follow(followed(tmp_path, log))
        await until(lambda: lines_of(target) == [b"one"], "the first line")
    async with running(tmp_path, log_format="docker") as service:
        service.follow(followed(tmp_path, log))
        log.write(b"two\n")
        await until(lambda: lines_of(target) == [b"one", b"two"], "the second line")
        target.rename(target.with_name("0.log.1"))
        await service.reopen("c")
        assert not target.is_symlink()
    log.close()


async def test_forgotten_containers_leave_nothing_behind(tmp_path: Path) -> None:
    logs = {name: source_of(tmp_path, name) for name in ("a", "b", "c")}
    async with running(tmp_path) as service:
        for name, log in logs.items():
            log.write(b"one\n")
            service.follow(followed(tmp_path, log, name))
        await until(lambda: all(lines_of(target_of(tmp_path, name)) for name in logs), "the lines")
        service.forget("a")
        await until(lambda: not (tmp_path / "state/a.position").exists(), "a is forgotten")
    async with running(tmp_path) as service:
        service.retain(["c"])
        await until(lambda: not (tmp_path / "state/b.position").exists(), "b is forgotten")
        assert (tmp_path / "state/c.position").exists()
        assert lines_of(target_of(tmp_path, "a")) == [b"one"]
    for log in logs.values():
        log.close()


async def test_what_was_forgotten_while_there_was_no_pump_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    logs = {name: source_of(tmp_path, name) for name in ("a", "b", "c")}
    kept = {name: tmp_path / f"state/{name}.position" for name in logs}
    async with running(tmp_path) as service:
        service.retain(["a"])
        for name, log in logs.items():
            log.write(b"one\n")
            service.follow(followed(tmp_path, log, name))
        await until(lambda: all(path.exists() for path in kept.values()), "the positions")
        os.kill(service.pid, signal.SIGKILL)
        service.forget("a")
        service.forget("b")
        await until(lambda: not (kept["a"].exists() or kept["b"].exists()), "a and b are forgotten")
        assert service.starts == 2
        assert kept["c"].exists()
    for log in logs.values():
        log.close()


async def test_what_a_removed_container_had_written_is_still_written(tmp_path: Path) -> None:
    """kubelet may remove a container that wrote more at its end than the pump has moved: its files
    are open still.
    """
    lines = [b"%d %s" % (number, b"x" * 200) for number in range(100_000)]
    log, target = source_of(tmp_path), target_of(tmp_path)
    log.write_raw(
        b"".join(
            engine_line(line + b"\n", engine_time(number)) for number, line in enumerate(lines)
        )
    )
    log.close()
    async with running(tmp_path) as service:
        service.follow(followed(tmp_path, log))
        await until(target.exists, "the target")
        log.path.unlink()
        service.forget("c")
        await until(lambda: target.read_bytes().count(b"\n") == len(lines), "every line")
        assert lines_of(target) == lines
        await until(
            lambda: not (open_files(service.pid) & {str(target), f"{log.path} (deleted)"}),
            "closed files",
        )
        assert [path.name for path in (tmp_path / "state").iterdir()] == ["lock"]


def open_files(pid: int) -> set[str]:
    """What a process' descriptors are of."""
    return {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}


async def test_a_target_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    log.write(b"one\n")
    target.mkdir(parents=True)
    async with running(tmp_path) as service:
        service.follow(followed(tmp_path, log))
        with pytest.raises(FailedPrecondition):
            await service.reopen("c")
        target.rmdir()
        await until(lambda: lines_of(target) == [b"one"], "the line")
    log.close()


async def test_more_logs_than_the_soft_limit_of_descriptors_has_room_for(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The limit is this process' too, which has open what tests before this one left for later.
    limit = 150 + 2 * max(int(name) for name in os.listdir("/proc/self/fd"))
    # The pump has three open for each log.
    logs = {f"c{number}": source_of(tmp_path, f"c{number}") for number in range(limit // 3 + 10)}

    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        async with running(tmp_path) as service:
            for name, log in logs.items():
                log.write(b"one\n")
                service.follow(followed(tmp_path, log, name))
            await until(
                lambda: all(lines_of(target_of(tmp_path, name)) == [b"one"] for name in logs),
                "a line in each",
            )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for source in logs.values():
            source.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
async def test_a_full_disk_holds_up_its_own_log_alone_and_loses_nothing(tmp_path: Path) -> None:
    small = target_of(tmp_path, "small").parent
    small.mkdir(parents=True)
    await anyio.run_process(["mount", "-t", "tmpfs", "-o", "size=64k", "small", str(small)])

    try:
        full, other = source_of(tmp_path, "small"), source_of(tmp_path, "other")
        target = target_of(tmp_path, "small")
        async with running(tmp_path) as service:
            for number in range(3000):
                full.write(b"%d\n" % number)
            service.follow(followed(tmp_path, full, "small"))
            service.follow(followed(tmp_path, other, "other"))
            await until(lambda: target.exists() and os.statvfs(small).f_bavail == 0, "a full disk")
            other.write(b"one\n")
            await until(
                lambda: lines_of(target_of(tmp_path, "other")) == [b"one"],
                "the line of another log",
            )
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                (small / "more").write_bytes(b"x" * 8192)
            (small / "more").unlink(missing_ok=True)
            await anyio.run_process(["mount", "-o", "remount,size=4m", str(small)])
            await until(lambda: target.read_bytes().endswith(b" 2999\n"), "the last line")
            assert lines_of(target) == [b"%d" % number for number in range(3000)]
        full.close()
        other.close()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.run_process(["umount", "-l", str(small)])


async def test_the_next_pump_waits_for_the_one_before(tmp_path: Path) -> None:
    log, target = source_of(tmp_path), target_of(tmp_path)
    async with running(tmp_path) as first, running(tmp_path) as second:
        first.follow(followed(tmp_path, log))
        second.follow(followed(tmp_path, log))
        for number in range(50):
            log.write(b"%d\n" % number)
        await until(lambda: len(lines_of(target)) == 50, "all lines")
        os.kill(first.pid, signal.SIGSTOP)
        log.write(b"50\n")
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: len(lines_of(target)) == 51, "the line after the change")
        assert lines_of(target) == [b"%d" % number for number in range(51)]
    log.close()
