"""The start-up sequence, from the command line to the first call."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine, eventually
from tests.harness.service import Service, service_config


def asupervisor(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asupervisor", *flags], capture_output=True, text=True, timeout=60
    )


def test_the_server_listens_with_mode_0660_below_a_directory_that_it_made(
    engine: Engine, directory: Path
) -> None:
    service = Service(
        engine,
        directory,
        flags=("--container-runtime-endpoint", f"unix://{directory}/run/deep/cri.sock"),
    )
    service.socket = directory / "run" / "deep" / "cri.sock"
    service.start()
    mode = service.socket.stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660
    assert service.stop() == 0
    assert not service.socket.exists()


def test_the_ready_line_names_endpoint_engine_and_network(engine: Engine, directory: Path) -> None:
    service = Service(engine, directory)
    service.start()
    version = engine.request("GET", "/version")[1]["Version"]
    (line,) = [line for line in service.output.splitlines() if "ready: serving" in line]
    for part in (
        service.endpoint,
        engine.endpoint,
        f"Docker Engine {version}",
        "network plugin no-op",
    ):
        assert part in line
    assert service.stop() == 0


def test_a_stale_socket_is_replaced(engine: Engine, directory: Path) -> None:
    service = Service(engine, directory)
    service.start()
    service.kill()
    assert service.socket.exists(), "a killed server leaves its socket"
    service.start()
    assert service.stop() == 0


async def test_a_living_socket_is_refused_and_left_alone(engine: Engine, directory: Path) -> None:
    service = Service(engine, directory)
    service.start()
    second = asupervisor(*service.command[3:])
    assert second.returncode == 1
    assert str(service.socket) in second.stderr and "another asupervisor uses" in second.stderr
    assert "Traceback" not in second.stderr

    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        assert (await runtime.version()).runtime_name == "docker"
    assert service.stop() == 0


def test_a_socket_of_another_server_is_refused_and_left_alone(
    engine: Engine, directory: Path
) -> None:
    service = Service(engine, directory)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(service.socket))
        other.listen()
        result = asupervisor(*service.command[3:])
        assert (
            result.returncode == 1
            and f"another server listens on {service.socket}" in result.stderr
        )
        assert service.socket.exists()
        other.settimeout(5)
        other.accept()[0].close()


def test_a_file_that_is_no_socket_is_left_alone(engine: Engine, directory: Path) -> None:
    service = Service(engine, directory)
    service.socket.write_text("precious")
    result = asupervisor(*service.command[3:])
    assert result.returncode == 1 and "is not a socket" in result.stderr
    assert service.socket.read_text() == "precious"


async def test_clients_are_connected_when_the_context_is_entered(
    engine: Engine, directory: Path
) -> None:
    """The server listens before they dial, so the very first call is answered."""

    async with Supervisor(service_config(engine, directory)) as supervisor:
        version = await supervisor.runtime.version()
        assert (version.version, version.runtime_name, version.runtime_api_version) == (
            "0.1.0",
            "docker",
            "v1",
        )
        assert any(
            condition.type == "RuntimeReady" and condition.status
            for condition in (await supervisor.runtime.status()).status.conditions
        )
        assert await supervisor.images.list_images()
        assert supervisor.ready and supervisor.uses_legacy_cadvisor_stats


async def test_an_empty_image_endpoint_is_the_runtime_endpoint_and_another_is_dialled(
    engine: Engine, directory: Path
) -> None:
    (directory / "a").mkdir()
    (directory / "b").mkdir()
    async with Supervisor(service_config(engine, directory / "a")) as first:
        assert first.images.endpoint == first.runtime.endpoint == first.config.runtime_endpoint
        config = service_config(
            engine, directory / "b", image_endpoint=first.config.runtime_endpoint
        )
        async with Supervisor(config) as second:
            assert (
                second.runtime.endpoint != second.images.endpoint == first.config.runtime_endpoint
            )
            assert await second.images.list_images()


async def test_the_remote_runtime_has_channels_and_no_dockershim(
    engine: Engine, directory: Path
) -> None:
    async with Supervisor(service_config(engine, directory)) as host:
        config = service_config(
            engine, directory, container_runtime="remote", docker_endpoint="unix:///nowhere"
        )
        async with Supervisor(config) as client:
            assert client.shim is None
            assert (await client.runtime.version()).runtime_name == "docker"
            assert not client.uses_legacy_cadvisor_stats
        # Its end is not the end of the server, nor of the server's socket.
        assert (await host.runtime.version()).runtime_name == "docker"


def test_the_remote_process_connects_and_ends(engine: Engine, directory: Path) -> None:
    service = Service(engine, directory)
    service.start()
    remote = Service(
        None,
        directory / "remote",
        flags=("--container-runtime", "remote", "--container-runtime-endpoint", service.endpoint),
    )
    remote.docker_endpoint = "unix:///nowhere"
    remote.spawn()
    try:
        eventually(
            lambda: f"connected to the CRI at {service.endpoint}" in remote.output,
            f"it says that it is connected: {remote.log}",
        )
        assert remote.stop() == 0
        assert service.socket.exists()
        assert service.stop() == 0
    finally:
        for left in (remote, service):
            if left.process is not None:
                left.kill()


def test_any_other_runtime_is_refused_with_exit_code_2() -> None:
    result = asupervisor("--container-runtime", "rkt")
    assert result.returncode == 2
    assert result.stderr == 'asupervisor: unsupported CRI runtime: "rkt"\n'


@pytest.mark.parametrize(
    "flags",
    [
        ("--no-such-flag",),
        ("--runtime-request-timeout", "soon"),
        ("--network-plugin", "carrier-pigeon"),
    ],
)
def test_a_bad_command_line_is_one_line_and_exit_code_2(flags: tuple[str, ...]) -> None:
    result = asupervisor(*flags)
    assert result.returncode == 2
    assert (
        result.stderr.count("\n") == 1
        and result.stderr.startswith("asupervisor: ")
        and flags[0] in result.stderr
    )


def test_a_cgroup_driver_that_is_not_the_engines_is_an_error_that_names_both(
    engine: Engine, directory: Path
) -> None:
    has = engine.request("GET", "/info")[1]["CgroupDriver"]
    wrong = "systemd" if has == "cgroupfs" else "cgroupfs"
    service = Service(engine, directory, flags=("--cgroup-driver", wrong))
    result = asupervisor(*service.command[3:])
    assert result.returncode == 2
    assert f'--cgroup-driver is "{wrong}"' in result.stderr and f'uses "{has}"' in result.stderr
    assert "Traceback" not in result.stderr
    assert not service.socket.exists()


async def test_the_engines_cgroup_driver_is_accepted_and_told_to_kubelet(
    engine: Engine, directory: Path
) -> None:
    has = engine.request("GET", "/info")[1]["CgroupDriver"]

    async with Supervisor(service_config(engine, directory, cgroup_driver=has)) as supervisor:
        answer = await supervisor.runtime.runtime_config()
        assert answer.linux.cgroup_driver == (cri.SYSTEMD if has == "systemd" else cri.CGROUPFS)


def test_a_root_directory_that_cannot_be_used_is_one_clear_line(
    engine: Engine, directory: Path
) -> None:
    (directory / "root").write_text("a file")
    service = Service(engine, directory)
    result = asupervisor(*service.command[3:])
    assert result.returncode == 1
    assert (
        "--root-directory" in result.stderr
        and str(directory / "root") in result.stderr
        and "Traceback" not in result.stderr
    )
    assert not service.socket.exists()


def test_systemd_is_told_of_ready_and_stopping(engine: Engine, directory: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(directory / "notify"))
        systemd.settimeout(20)
        service = Service(engine, directory)
        service.environment |= {
            "NOTIFY_SOCKET": str(directory / "notify"),
            "WATCHDOG_USEC": "200000",
        }
        service.environment.pop("WATCHDOG_PID", None)
        service.start()
        messages: list[str] = []

        def receive(wanted: str) -> None:
            while not any(wanted in message.split("\n") for message in messages):
                messages.append(systemd.recv(4096).decode())

        receive("READY=1")
        receive("WATCHDOG=1")
        assert any(message.startswith("READY=1\nSTATUS=serving the CRI at") for message in messages)
        assert service.stop() == 0
        receive("STOPPING=1")
