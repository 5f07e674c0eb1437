"""The embedded pause binary on the real kernel, as PID 1 and not, and its image on a real
engine.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asupervisor.dockershim.image.embedded_pause import (
    EMBEDDED_PAUSE_REFERENCE,
    pause_archive,
    pause_binary,
)
from tests.harness.engine import Engine, eventually

QEMU = "qemu-aarch64-static"


@pytest.fixture(params=["x86_64", "aarch64"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The command line that runs the pause binary: by the kernel on its own machine, else (arm64
    only) under qemu.
    """
    path = tmp_path / "pause"
    path.write_bytes(pause_binary(request.param))
    path.chmod(0o755)
    if platform.machine() == request.param:
        return [str(path)]
    if request.param == "aarch64" and shutil.which(QEMU):
        return [str(shutil.which(QEMU)), str(path)]
    pytest.skip(
        f"cannot run {request.param} code: this machine is {platform.machine()} and {QEMU} (package"
        " qemu-user-static) would only help arm64"
    )


def status(pid: int, field: str) -> str:
    """A field of ``/proc/<pid>/status``; empty when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return ""
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:")), ""
    )


def children(pid: int) -> list[int]:
    """The process's children, zombies too."""
    return [
        int(name)
        for name in os.listdir("/proc")
        if name.isdigit() and status(int(name), "PPid") == str(pid)
    ]


def wait_until_listening(pid: int) -> None:
    """Wait until the program has blocked its signals: from then on none is lost or acts by its
    default.

    SIGHUP tells it: the three that the program waits for are shown as unblocked while it waits.
    """
    eventually(
        lambda: int(status(pid, "SigBlk") or "0", 16) & 1 << signal.SIGHUP - 1,
        "the pause process blocks its signals",
    )


@contextmanager
def as_pid_1(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run it as PID 1 of a new PID namespace; gives unshare (which exits as it does) and the pid
    seen from here.
    """
    unshare = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", *command])
    try:
        [pid] = eventually(lambda: children(unshare.pid), "unshare has forked")
        wait_until_listening(pid)
        yield unshare, pid
    finally:
        unshare.kill()
        unshare.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_exits_on_signal_as_pid_1(command: list[str], number: signal.Signals) -> None:
    with as_pid_1(command) as (unshare, pid):
        os.kill(pid, number)
        assert unshare.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_exits_on_signal_as_an_ordinary_process(command: list[str], number: signal.Signals) -> None:
    process = subprocess.Popen(command)
    try:
        wait_until_listening(process.pid)
        process.send_signal(number)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_reaps_orphans_as_pid_1(command: list[str]) -> None:
    with as_pid_1(command) as (unshare, pid):
        for _round in range(2):
            # The shell ends at once and leaves its children to PID 1 of the namespace.
            subprocess.run(
                [
                    "nsenter",
                    "-t",
                    str(pid),
                    "-p",
                    "sh",
                    "-c",
                    "for i in 1 2 3 4 5; do sleep 600 & done",
                ],
                check=True,
            )
            orphans = eventually(
                lambda: len(found := children(pid)) == 5 and found,
                "five orphans have come to the pause process",
            )
            for orphan in orphans:
                os.kill(orphan, signal.SIGKILL)
            eventually(lambda: not children(pid), "no zombie is left")
        assert unshare.poll() is None


def test_other_signals_are_ignored(command: list[str]) -> None:
    process = subprocess.Popen(command)
    try:
        wait_until_listening(process.pid)
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGQUIT):
            process.send_signal(number)
        # Stop and continue interrupts the system call it waits in.
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: status(process.pid, "State").startswith("T"), "it is stopped")
        process.send_signal(signal.SIGCONT)
        eventually(lambda: status(process.pid, "State").startswith("S"), "it waits again")
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_reaps_a_child_that_ended_before_it_listened(command: list[str]) -> None:
    """Its SIGCHLD was sent, and dropped, before the program blocked anything."""
    program = (
        "import os, sys\n"
        "if os.fork() == 0: os._exit(0)\n"
        "os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, *command])
    try:
        wait_until_listening(process.pid)
        eventually(lambda: not children(process.pid), "no zombie is left")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_image_on_the_engine(engine: Engine) -> None:
    archive = pause_archive(platform.machine())
    engine.load(archive)
    engine.load(archive)  # as after a restart: no harm
    code, image = engine.request("GET", f"/images/{EMBEDDED_PAUSE_REFERENCE}/json")
    assert code == 200, image
    assert image["Architecture"] == {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    assert image["Config"]["Entrypoint"] == ["/pause"]
    # The containerd image store counts blocks of the disk, and what is kept packed.
    binary = len(pause_binary(platform.machine()))
    assert image["Size"] > binary if engine.containerd_store else image["Size"] == binary

    code, created = engine.request(
        "POST",
        "/containers/create",
        {"Image": EMBEDDED_PAUSE_REFERENCE, "HostConfig": {"NetworkMode": "none"}},
    )
    assert code == 201, created
    container = f"/containers/{created['Id']}"
    try:
        assert engine.request("POST", f"{container}/start")[0] == 204
        pid = engine.inspect(created["Id"])["State"]["Pid"]
        wait_until_listening(pid)
        assert engine.request("POST", f"{container}/stop?t=60")[0] == 204
        state = engine.inspect(created["Id"])["State"]
        assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 0, False)
    finally:
        engine.request("DELETE", f"{container}?force=1&v=1")


def test_engine_names_machines_that_are_known(engine: Engine) -> None:
    """Both words that the engine has for its machine choose the same image."""
    info, version = engine.request("GET", "/info")[1], engine.request("GET", "/version")[1]
    assert (
        pause_archive(info["Architecture"])
        == pause_archive(version["Arch"])
        == pause_archive(platform.machine())
    )
