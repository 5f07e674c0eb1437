"""Container logs through the whole service, on a real engine."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from asupervisor.errors import FailedPrecondition, NotFound
from asupervisor.node import logs as node_logs
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine, busybox_archive
from tests.harness.journal import JOURNALD, journal
from tests.harness.pods import until
from tests.harness.service import Service, service_config
from tests.integration.logs.rig import breaks, lines_of, pump_of


@pytest.fixture
def service(engine: Engine) -> Iterator[Service]:
    running = Service(engine)
    try:
        yield running
        if running.process is not None:
            assert running.stop() == 0
    finally:
        if running.process is not None:
            running.kill()
        engine.remove_all()


class Pod:
    """A sandbox whose containers log below ``directory``."""

    def __init__(self, runtime: RemoteRuntimeService, directory: Path, name: str = "logs") -> None:
        self.runtime = runtime
        self.directory = directory
        self.config = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name=name, namespace="default", uid=f"uid-{name}"),
            log_directory=str(directory),
        )
        self.id = ""

    async def run(self, script: str, name: str = "main", *, tty: bool = False) -> tuple[str, Path]:
        """A container of a shell script, started; its id and its log file."""
        if not self.id:
            self.id = await self.runtime.run_pod_sandbox(self.config)
        config = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name=name),
            image=cri.ImageSpec(image=BUSYBOX_IMAGE),
            command=["sh", "-c", script],
            log_path=f"{name}/0.log",
            tty=tty,
        )
        container_id = await self.runtime.create_container(self.id, config, self.config)
        await self.runtime.start_container(container_id)
        return container_id, self.directory / name / "0.log"

    async def message(self, container_id: str, text: str) -> None:
        """Wait until its status says that."""
        with anyio.fail_after(30):
            while text not in (await self.runtime.container_status(container_id)).status.message:  # noqa: ASYNC110
                await anyio.sleep(0.02)

    async def exited(self, container_id: str) -> cri.ContainerStatus:
        """Its status once it has ended."""
        with anyio.fail_after(30):
            while True:
                status = (await self.runtime.container_status(container_id)).status
                if status.state == cri.CONTAINER_EXITED:
                    return status
                await anyio.sleep(0.02)


@asynccontextmanager
async def pod(service: Service, directory: Path) -> AsyncIterator[Pod]:
    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        yield Pod(runtime, directory)


def last_line(path: str) -> bytes:
    """Of a file."""
    return Path(path).read_bytes().splitlines()[-1]


def contents(path: Path, stream: str = "stdout") -> bytes:
    """What a container wrote to a stream, put together as kubelet does."""
    out = b""
    for line in path.read_bytes().splitlines(keepends=True):
        time, of_stream, tag, content = line.split(b" ", 3)
        assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", time)
        assert len(content) <= 16 * 1024 + 1
        if of_stream == stream.encode():
            out += content if tag == b"F" else content[:-1]
    return out


async def test_what_is_shown_as_exited_has_its_whole_log(
    service: Service, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is shown after a second in any case, which is not enough on a busy machine.
    monkeypatch.setattr(node_logs, "_DRAIN_S", 60.0)
    async with Supervisor(service_config(engine, service.directory)) as supervisor:
        pods = Pod(supervisor.runtime, tmp_path)
        for number in range(3):
            container_id, log = await pods.run(
                "seq 1 20000; echo bad >&2; printf 'no newline'", f"c{number}"
            )
            await pods.exited(container_id)
            assert contents(log) == b"".join(b"%d\n" % n for n in range(1, 20001)) + b"no newline\n"
            assert contents(log, "stderr") == b"bad\n"


async def test_what_is_written_is_counted(service: Service, tmp_path: Path) -> None:
    service.flags = ("--metrics-bind-addr", "127.0.0.1:18099")
    service.start()
    async with pod(service, tmp_path) as pods:
        container_id, log = await pods.run(
            "seq 1 5000; trap 'exit 0' TERM; while :; do sleep 0.1; done"
        )
        await until(lambda: len(lines_of(log)) == 5000, "the lines")
        await until(
            lambda: figure("asupervisor_log_bytes_total") == log.stat().st_size, "the figure"
        )
        assert figure("asupervisor_log_lag_bytes") == 0
        os.kill(pump_of(service), signal.SIGKILL)
        await until(lambda: figure("asupervisor_log_pump_restarts_total") == 1, "the restart")
        await pods.runtime.stop_container(container_id, 5)


def figure(name: str) -> float:
    """One figure of the service's own metrics."""
    with urllib.request.urlopen("http://127.0.0.1:18099/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])  # type: ignore[index]


async def test_long_lines_binary_bytes_and_a_terminal(service: Service, tmp_path: Path) -> None:
    service.start()

    async with pod(service, tmp_path) as pods:
        container_id, log = await pods.run(
            "head -c 50000 /dev/zero | tr '\\0' x; echo; printf 'esc\\033[1m\\t\\001\"<&>\\\\"
            " \\377\\n'",
            "long",
        )
        await pods.exited(container_id)
        # What is not UTF-8 the engine has replaced when it wrote its own file.
        assert contents(log) == b"x" * 50000 + b'\nesc\x1b[1m\t\x01"<&>\\ \xef\xbf\xbd\n'
        tags = [line.split(b" ", 3)[2] for line in log.read_bytes().splitlines()]
        assert tags == [b"P", b"P", b"P", b"F", b"F"]
        container_id, log = await pods.run("tty; echo after", "terminal", tty=True)
        await pods.exited(container_id)
        assert contents(log) == b"/dev/pts/0\r\nafter\r\n"


async def test_kubelet_rotates(service: Service, engine: Engine, tmp_path: Path) -> None:
    service.start()
    async with pod(service, tmp_path) as pods:
        container_id, log = await pods.run(
            "trap 'exit 0' TERM; n=0; while :; do echo $n; n=$((n+1)); sleep 0.01; done"
        )
        files = []
        for number in range(4):
            await until(lambda: len(lines_of(log)) > 5, "lines in the new file")
            files.append(log.rename(log.with_name(f"0.log.{number}")))
            await pods.runtime.reopen_container_log(container_id)
            assert log.exists()
            closed = files[-1].read_bytes()
            await until(lambda: len(lines_of(log)) > 2, "lines in the new file")
            assert files[-1].read_bytes() == closed
        config = engine.inspect(container_id)["HostConfig"]["LogConfig"]
        assert config == {"Type": "json-file", "Config": {"max-size": "16m", "max-file": "4"}}
        await pods.runtime.stop_container(container_id, 5)
        numbers = [int(line) for file in (*files, log) for line in lines_of(file)]
        assert breaks(numbers) == []
        with pytest.raises(FailedPrecondition, match="not running"):
            await pods.runtime.reopen_container_log(container_id)
        await pods.runtime.remove_container(container_id)
        assert log.exists()
        with pytest.raises(NotFound):
            await pods.runtime.reopen_container_log(container_id)
        await until(
            lambda: not list((service.root / "logs").glob(f"{container_id}.*")),
            "its position is forgotten",
        )


def test_the_service_is_killed_while_containers_write(
    service: Service, engine: Engine, tmp_path: Path
) -> None:
    service.start()

    async def begin() -> tuple[str, str]:
        async with pod(service, tmp_path) as pods:
            # As fast as it can, yet never more than the engine keeps while nobody reads: 4 files of
            # 16 MB, of which one is being written.
            script = (
                "trap 'exit 0' TERM; n=0; while [ $n -lt 400000 ]; do echo $n; n=$((n+1)); done;"
                " sleep 1000 & wait"
            )
            running, log = await pods.run(script, "running")
            ends, _ = await pods.run(
                "n=0; while [ $n -lt 30000 ]; do echo $n; n=$((n+1)); done", "ends"
            )
            await until(lambda: len(lines_of(log)) > 100, "lines")
            return running, ends

    async def end(running: str, ends: str) -> None:
        async with pod(service, tmp_path) as pods:
            await pods.runtime.stop_container(running, 5)
            await pods.exited(ends)
            # The exit is shown before the log is whole where that takes more than a second.
            whole = [b"%d" % n for n in range(30000)]
            await until(lambda: lines_of(tmp_path / "ends/0.log") == whole, "the log is whole")
            last = json.loads(last_line(engine.inspect(running)["LogPath"]))["log"].strip()
            log = tmp_path / "running/0.log"
            await until(lambda: lines_of(log)[-1] == last.encode(), "the last line is written")
            assert breaks([int(line) for line in lines_of(log)]) == []

    ids = anyio.run(begin)
    for _ in range(2):
        service.kill()
        service.start()
    anyio.run(end, *ids)


def test_the_docker_format_and_back(service: Service, engine: Engine, tmp_path: Path) -> None:
    script = (
        "trap 'exit 0' TERM; echo begun; while [ ! -e /go ]; do sleep 0.05; done; echo ended; sleep"
        " 1000 & wait"
    )

    async def begin(name: str) -> str:
        async with pod(service, tmp_path / name) as pods:
            pods.config.metadata.name = name
            container_id, log = await pods.run(script)
            await until(log.exists, "the log")
            return container_id

    async def go(linked: str, written: str) -> None:
        async with RemoteRuntimeService.connect(service.endpoint) as runtime:
            for container_id in (linked, written):
                await runtime.exec_sync(container_id, ["touch", "/go"], exec_timeout_s=10)
            link, log = tmp_path / "linked/main/0.log", tmp_path / "written/main/0.log"
            await until(lambda: lines_of(log)[-1:] == [b"ended"], "the last line")
            assert link.readlink() == Path(engine.inspect(linked)["LogPath"])
            await until(lambda: b"ended" in link.read_bytes(), "the last line in the engine's file")
            with pytest.raises(FailedPrecondition, match="engine's own file"):
                await runtime.reopen_container_log(linked)
            await runtime.reopen_container_log(written)
            await runtime.remove_container(linked)
            assert not link.is_symlink()

    service.flags = ("--container-log-format", "docker")
    service.start()
    linked = anyio.run(begin, "linked")
    assert engine.inspect(linked)["HostConfig"]["LogConfig"]["Config"] == {}
    assert service.stop() == 0
    service.flags = ("--container-log-format", "cri")
    service.start()
    written = anyio.run(begin, "written")
    assert service.stop() == 0
    service.flags = ("--container-log-format", "docker")
    service.start()
    anyio.run(go, linked, written)


@pytest.mark.skipif(not JOURNALD.exists(), reason="no systemd-journald here")
def test_the_journald_log_driver(tmp_path: Path) -> None:
    with journal():
        a_log_that_the_engine_gives(tmp_path, "journald")


@pytest.mark.parametrize("driver", ["local", "none"])
def test_other_log_drivers(tmp_path: Path, driver: str) -> None:
    a_log_that_the_engine_gives(tmp_path, driver)


def a_log_that_the_engine_gives(tmp_path: Path, driver: str) -> None:
    """A container that counts, under a log driver that keeps no json-file, over a rotation and a
    kill of the service.
    """
    engine = Engine()
    (engine.root / "daemon.json").write_text(json.dumps({"log-driver": driver}))
    engine.start()
    service = Service(engine)

    async def begin() -> tuple[str, Path]:
        async with pod(service, tmp_path) as pods:
            container_id, log = await pods.run(
                "trap 'exit 0' TERM; n=0; while :; do echo $n; n=$((n+1)); sleep 0.001; done"
            )
            if driver == "none":
                await until(lambda: log.exists(), "the empty log")
                await pods.message(container_id, "does not support reading")
            else:
                await until(lambda: len(lines_of(log)) > 10, "lines")
                renamed = log.rename(log.with_name("0.log.1"))
                await pods.runtime.reopen_container_log(container_id)
                await until(lambda: len(lines_of(log)) > 10, "lines in the new file")
                assert lines_of(renamed)
            return container_id, log

    async def end(container_id: str, log: Path) -> None:
        async with pod(service, tmp_path) as pods:
            if driver != "none":
                before = len(lines_of(log))
                await until(lambda: len(lines_of(log)) > before, "lines after the restart")
            await pods.runtime.stop_container(container_id, 5)
            if driver != "none":
                numbers = [
                    int(line) for file in (log.with_name("0.log.1"), log) for line in lines_of(file)
                ]
                assert breaks(numbers) == []

    try:
        engine.load(busybox_archive())
        service.start()
        container_id, log = anyio.run(begin)
        service.kill()
        service.start()
        anyio.run(end, container_id, log)
        assert service.stop() == 0
    finally:
        if service.process is not None:
            service.kill()
        engine.destroy()
