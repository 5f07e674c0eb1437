"""The progress deadline of a pull, with an engine at the wire that reports as slowly as the test
wants.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from asupervisor.errors import DeadlineExceeded, Unavailable
from asupervisor.supervisor import Supervisor
from tests.harness.engine import Engine
from tests.harness.fake_engine import FakeEngine
from tests.harness.pods import until
from tests.harness.service import service_config

IMAGE = {"Id": f"sha256:{'a' * 64}", "RepoTags": ["registry.test/app:1"], "Size": 1}


async def test_extraction_counts_as_progress_and_silence_does_not(directory: Path) -> None:
    with FakeEngine(directory / "docker.sock") as fake:
        silence, given_up = threading.Event(), threading.Event()

        def slow() -> Generator[bytes, None, None]:
            for percent in range(8):
                silence.wait(0.15)
                yield (
                    b'{"status":"Extracting","id":"layer","progressDetail":{"current":%d}}\n'
                    % percent
                )
            fake.images.append(IMAGE)
            yield b'{"status":"Status: Downloaded newer image"}\n'

        def stuck() -> Generator[bytes, None, None]:
            # Some engines repeat themselves for as long as they are asked.
            while not given_up.wait(0.1):
                yield b'{"status":"Downloading","id":"layer","progressDetail":{"current":7}}\n'

        fake.answers[f"GET /images/{IMAGE['Id']}/json"] = lambda: (200, IMAGE)
        config = service_config(
            Engine(directory),
            directory,
            docker_endpoint=fake.endpoint,
            image_pull_progress_deadline_s=0.9,
        )
        async with Supervisor(config) as supervisor:
            fake.answers["POST /images/create"] = lambda: (200, slow())
            assert await supervisor.images.pull_image("registry.test/app:1") == IMAGE["Id"]
            fake.answers["POST /images/create"] = lambda: (200, stuck())
            with pytest.raises(
                DeadlineExceeded, match=r"registry\.test/app:2 made no progress for 0\.9 s"
            ):
                await supervisor.images.pull_image("registry.test/app:2")
            given_up.set()


async def test_an_engine_that_dies_in_the_middle_of_a_pull_fails_it(directory: Path) -> None:
    with FakeEngine(directory / "docker.sock") as fake:
        begun = threading.Event()

        def breaks_off() -> Generator[bytes, None, None]:
            yield b'{"status":"Downloading","id":"layer"}\n'
            begun.set()
            raise ConnectionResetError

        config = service_config(Engine(directory), directory, docker_endpoint=fake.endpoint)
        async with Supervisor(config) as supervisor:
            fake.answers["POST /images/create"] = lambda: (200, breaks_off())
            with pytest.raises(Unavailable):
                await supervisor.images.pull_image("registry.test/app:1")
            await until(begun.is_set, "the pull had begun")
