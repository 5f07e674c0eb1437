"""Profiles that a request names must be there before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from asupervisor.dockershim.profiles import check_apparmor
from asupervisor.errors import FailedPrecondition

_LOCAL = "unix:///run/docker.sock"


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    path = tmp_path / "profiles"
    path.write_text("docker-default (enforce)\nweb server (complain)\n/usr/bin/man (enforce)\n")
    return path


async def test_an_apparmor_profile_that_is_not_loaded_is_named(profiles: Path) -> None:
    with pytest.raises(
        FailedPrecondition, match="container x: the AppArmor profile web is not loaded"
    ):
        await check_apparmor(
            ["seccomp=unconfined", "apparmor=web"], _LOCAL, "container x", profiles
        )


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["apparmor=unconfined"],
        ["apparmor=web server"],
        ["apparmor=/usr/bin/man", "no-new-privileges"],
    ],
)
async def test_what_is_loaded_or_needs_no_profile_is_taken(
    profiles: Path, options: list[str]
) -> None:
    await check_apparmor(options, _LOCAL, "container x", profiles)


async def test_what_cannot_be_known_is_left_to_the_engine(profiles: Path, tmp_path: Path) -> None:
    await check_apparmor(["apparmor=web"], "tcp://10.0.0.1:2375", "container x", profiles)
    await check_apparmor(["apparmor=web"], _LOCAL, "container x", tmp_path / "none")
