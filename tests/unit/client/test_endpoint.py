"""Where the server is, when nobody names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from asupervisor.addresses import RUNTIME_ENDPOINT
from asupervisor.client import Settings, find_settings
from asupervisor.errors import ConfigError


def test_crictls_file_counts_where_the_environment_names_no_endpoint(tmp_path: Path) -> None:
    file = tmp_path / "crictl.yaml"
    file.write_text(
        "runtime-endpoint: unix:///a\nimage-endpoint: unix:///b\ntimeout: 7\ndebug: false\n"
    )
    told = {"CRI_CONFIG_FILE": str(file)}
    assert find_settings(told) == Settings("unix:///a", "unix:///b", 7.0)
    named = {**told, "CONTAINER_RUNTIME_ENDPOINT": "unix:///c"}
    assert find_settings(named) == Settings("unix:///c")
    images = {**told, "IMAGE_SERVICE_ENDPOINT": "unix:///i"}
    assert find_settings(images) == Settings("unix:///a", "unix:///i", 7.0)
    file.write_text("image-endpoint: unix:///b\n")
    assert find_settings(told) == Settings(RUNTIME_ENDPOINT), "the two belong together"


@pytest.mark.parametrize(
    "text", ["- a\n", "timeout: soon\n", "runtime-endpoint: [a]\n", "a: [\n", "timeout: true\n"]
)
def test_a_malformed_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "crictl.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"crictl\.yaml"):
        find_settings({"CRI_CONFIG_FILE": str(file)})


def test_a_file_that_was_named_must_be_there() -> None:
    with pytest.raises(ConfigError, match="/no/such cannot be read"):
        find_settings({"CRI_CONFIG_FILE": "/no/such"})
