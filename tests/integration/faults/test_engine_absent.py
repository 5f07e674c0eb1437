"""An engine that is not there yet, may not be used, or is too old: the service is up, says so and
why, and what to do.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from asupervisor.config import Config, NetworkConfig, NriConfig
from asupervisor.engine.endpoint import NEWEST_API_VERSION
from asupervisor.errors import Unavailable
from asupervisor.remote import RemoteRuntimeService
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.fake_engine import FakeEngine
from tests.harness.pods import container_config, pod_config, until
from tests.harness.service import Service


async def condition(runtime: RemoteRuntimeService) -> tuple[bool, str, str]:
    """RuntimeReady: status, reason, message."""
    (found,) = [
        item for item in (await runtime.status()).status.conditions if item.type == "RuntimeReady"
    ]
    return found.status, found.reason, found.message


async def without_engine(
    directory: Path, endpoint: str, check: Callable[[Supervisor], Awaitable[None]]
) -> None:
    config = Config(
        runtime_endpoint=f"unix://{directory}/cri.sock",
        docker_endpoint=endpoint,
        root_directory=str(directory / "root"),
        nri=NriConfig(disable=True),
        network=NetworkConfig(plugin="no-op"),
    )
    with anyio.fail_after(15):
        async with Supervisor(config) as supervisor:
            assert not supervisor.ready
            with pytest.raises(Unavailable):
                await supervisor.runtime.run_pod_sandbox(pod_config("early"))
            with pytest.raises(Unavailable, match="have not been read"):
                await supervisor.runtime.list_containers()
            await check(supervisor)


async def test_an_engine_that_does_not_run(directory: Path) -> None:
    async def check(supervisor: Supervisor) -> None:
        ready, reason, message = await condition(supervisor.runtime)
        assert (ready, reason) == (False, "EngineNotRunning")
        assert f"{directory}/none.sock" in message and "systemctl start docker" in message

    await without_engine(directory, f"unix://{directory}/none.sock", check)


async def test_an_engine_that_is_not_installed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)

    async def check(supervisor: Supervisor) -> None:
        ready, reason, message = await condition(supervisor.runtime)
        assert (ready, reason) == (False, "EngineNotInstalled")
        assert "install Docker Engine 20.10 or later" in message

    await without_engine(directory, f"unix://{directory}/none.sock", check)


async def test_an_engine_whose_socket_may_not_be_used(directory: Path) -> None:
    """The service runs as root without the right to pass file modes over, as in some containers."""
    path = directory / "docker.sock"
    with socket.socket(socket.AF_UNIX) as somebody:
        somebody.bind(str(path))
        somebody.listen()
        shutil.chown(path, user="nobody")
        path.chmod(0o600)
        service = Service(None, directory, docker_endpoint=f"unix://{path}")
        service.prefix = (
            "setpriv",
            "--bounding-set=-dac_override,-dac_read_search",
            "--inh-caps=-dac_override,-dac_read_search",
        )
        service.start(ready=False)

        async with RemoteRuntimeService.connect(service.endpoint) as runtime:
            await until(lambda: "not ready" in service.output, "it says that it is not ready")
            ready, reason, message = await condition(runtime)
            assert (ready, reason) == (False, "EnginePermissionDenied")
            assert str(path) in message and "member of the socket's group" in message

        assert service.stop() == 0


@pytest.mark.parametrize("api_version", ["1.40", "1.24"])
async def test_an_engine_that_is_too_old(directory: Path, api_version: str) -> None:
    async def check(supervisor: Supervisor) -> None:
        ready, reason, message = await condition(supervisor.runtime)
        assert (ready, reason) == (False, "EngineUnsuitable")
        assert f"to {api_version}, this service 1.41 to" in message

    with FakeEngine(directory / "old.sock", api_version=api_version) as fake:
        await without_engine(directory, fake.endpoint, check)


@pytest.mark.parametrize(
    "version",
    [b"<html>not docker</html>", [], {"Version": "20.10"}],
    ids=["no JSON", "no object", "no version"],
)
async def test_something_that_is_no_engine(directory: Path, version: object) -> None:
    async def check(supervisor: Supervisor) -> None:
        ready, reason, message = await condition(supervisor.runtime)
        assert not ready and reason and message

    with FakeEngine(directory / "odd.sock") as fake:
        fake.version = version
        await without_engine(directory, fake.endpoint, check)


def _config(directory: Path, fake: FakeEngine) -> Config:
    return Config(
        runtime_endpoint=f"unix://{directory}/cri.sock",
        docker_endpoint=fake.endpoint,
        root_directory=str(directory / "root"),
        nri=NriConfig(disable=True),
        network=NetworkConfig(plugin="no-op"),
    )


async def test_the_oldest_engine_that_is_supported_is(directory: Path) -> None:
    with FakeEngine(directory / "docker.sock", api_version="1.41") as fake:
        async with Supervisor(_config(directory, fake)) as supervisor:
            assert supervisor.ready
            assert supervisor.shim is not None and supervisor.shim.engine.api_version == (1, 41)


async def test_an_engine_from_the_future_is_spoken_to_in_an_api_that_is_known(
    directory: Path,
) -> None:
    with FakeEngine(directory / "docker.sock", api_version="1.99") as fake:
        async with Supervisor(_config(directory, fake)) as supervisor:
            assert supervisor.ready
            assert (
                supervisor.shim is not None
                and supervisor.shim.engine.api_version == NEWEST_API_VERSION
            )


async def test_an_engine_that_comes_later_is_taken_up_without_a_restart(
    engine: Engine, directory: Path
) -> None:
    """The engine's socket appears, as at boot, after the service."""
    late = directory / "late.sock"
    service = Service(None, directory, docker_endpoint=f"unix://{late}")
    service.start(ready=False)

    async with RemoteRuntimeService.connect(service.endpoint) as runtime:
        assert not (await condition(runtime))[0]
        with pytest.raises(Unavailable):
            await runtime.run_pod_sandbox(pod_config("late"))
        late.symlink_to(engine.socket)
        await until(lambda: "ready: serving" in service.output, "it says that it is ready")
        assert (await condition(runtime)) == (True, "", "")
        sandbox_config = pod_config("late")
        sandbox_id = await runtime.run_pod_sandbox(sandbox_config)
        container_id = await runtime.create_container(
            sandbox_id, container_config(), sandbox_config
        )
        await runtime.start_container(container_id)
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
    assert service.stop() == 0


def test_an_engine_that_comes_back_with_another_cgroup_driver_ends_the_service(
    directory: Path,
) -> None:
    """Every limit would land in the wrong place."""
    fake = FakeEngine(directory / "docker.sock").start()
    service = Service(
        None, directory, flags=("--cgroup-driver", "systemd"), docker_endpoint=fake.endpoint
    )
    service.start()
    fake.stop()
    fake.info["CgroupDriver"] = "cgroupfs"
    with fake:
        assert service.process is not None
        assert service.process.wait(20) == 2
    assert '--cgroup-driver is "systemd"' in service.output and 'uses "cgroupfs"' in service.output
    assert "Traceback" not in service.output
    assert not service.socket.exists()
