"""The runtime that changes documents, run as the engine's shim runs it, before a real runtime that
tells what it was given."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from asupervisor.errors import FailedPrecondition
from asupervisor.oci.adjust import merge
from asupervisor.oci.wrapper import OciFiles, install_wrapper, wrapper_path

ID, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def files(tmp_path: Path) -> OciFiles:
    return install_wrapper(tmp_path)


@pytest.fixture
def real(tmp_path: Path) -> str:
    """A runtime that says its arguments and open descriptors."""
    path = tmp_path / "real runtime"
    path.write_text('#!/bin/sh\necho "$0"\nfor word; do echo "$word"; done\nls /proc/$$/fd >&2\n')
    path.chmod(0o755)
    return str(path)


def execute(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def call(files: OciFiles, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return execute(files.path, *arguments, **environment)


async def test_create_changes_the_document_and_becomes_the_real_runtime(
    files: OciFiles, real: str, tmp_path: Path
) -> None:
    document = tmp_path / "config.json"
    document.write_text(json.dumps({"ociVersion": "1.0.2", "hooks": {"prestart": [1]}}))
    await files.write(ID, real, {"hooks": {"prestart": [2]}, "process": {"scheduler": "x"}})
    arguments = ["--root", "/r", "create", "--bundle", str(tmp_path), "--pid-file", "a b", ID]
    ended = call(files, *arguments)
    assert ended.stdout.splitlines() == [real, *arguments]
    assert json.loads(document.read_text()) == {
        "ociVersion": "1.0.2",
        "hooks": {"prestart": [1, 2]},
        "process": {"scheduler": "x"},
    }
    passed_on, plain = call(files, "state", ID), execute(real)
    assert ended.stderr == passed_on.stderr == plain.stderr, "no descriptor is left to it"


@pytest.mark.parametrize(
    "arguments",
    [
        ["state", ID],
        ["kill", ID, "9"],
        ["delete", "--force", ID],
        ["exec", "--process", "/tmp/create", "--detach", ID],
        ["update", "--resources", "-", ID],
        ["--root", "/odd dir", "events", "--stats", ID],
    ],
)
async def test_every_other_command_passes_on_as_it_is(
    files: OciFiles, real: str, arguments: list[str]
) -> None:
    await files.write(ID, real, {"hooks": {}})
    assert call(files, *arguments).stdout.splitlines() == [real, *arguments]


def test_without_a_container_it_is_runc(files: OciFiles, tmp_path: Path) -> None:
    runc = tmp_path / "bin" / "runc"
    runc.parent.mkdir()
    runc.write_text('#!/bin/sh\necho runc "$@"\n')
    runc.chmod(0o755)
    path = f"{runc.parent}:{os.environ['PATH']}"
    assert call(files, "features", PATH=path).stdout == "runc features\n"
    assert call(files, "delete", OTHER, PATH=path).stdout == f"runc delete {OTHER}\n"


async def test_what_is_not_there_is_told_where_the_shim_looks(
    files: OciFiles, real: str, tmp_path: Path
) -> None:
    log = tmp_path / "log.json"
    await files.write(OTHER, real, {})
    for wanted, word in ((ID, "is not there"), (OTHER, "config.json")):
        ended = call(files, "--log", str(log), "create", f"--bundle={tmp_path}/none", wanted)
        assert ended.returncode == 1 and word in ended.stderr
        told = json.loads(log.read_text().splitlines()[-1])
        assert told["level"] == "error" and word in told["msg"] and told["time"].endswith("Z")


async def test_files_are_roots_alone_and_known_to_the_next_process(
    files: OciFiles, tmp_path: Path
) -> None:
    os.chmod(tmp_path / "oci", 0o755)
    await files.write(ID, "runc", {})
    assert (tmp_path / "oci" / ID).stat().st_mode & 0o777 == 0o600
    os.truncate(wrapper_path(tmp_path), 9)  # as if of an earlier version
    os.mkfifo(tmp_path / "oci" / f".{OTHER}")  # as if a write was cut off
    later = install_wrapper(tmp_path)
    assert (tmp_path / "oci").stat().st_mode & 0o777 == 0o700
    assert later.ids == {ID} and call(later, "create").returncode == 1
    await later.remove(OTHER)
    await later.remove(ID)
    assert not later.ids and os.listdir(tmp_path / "oci") == ["runtime"]


async def test_a_disk_that_refuses(files: OciFiles, tmp_path: Path) -> None:
    (tmp_path / "oci" / ID).mkdir()
    with pytest.raises(FailedPrecondition, match=ID):
        await files.write(ID, "runc", {})
    await files.remove(ID)
    assert files.ids == {ID}, "it is tried again"
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition, match="--root-directory"):
        install_wrapper(tmp_path / "file")


MERGED: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1}}}),
    ({"a": None}, {"a": {"b": [1]}}, {"a": {"b": [1]}}),
    ({"a": 1, "l": [1]}, {"a": 2, "l": [1]}, {"a": 2, "l": [1, 1]}),
    (
        {"mounts": [{"destination": "/a", "source": "x"}, {"destination": "/b"}]},
        {"mounts": [{"destination": "/a", "source": "y"}]},
        {"mounts": [{"destination": "/b"}, {"destination": "/a", "source": "y"}]},
    ),
    (
        {"linux": {"namespaces": [{"type": "ipc"}], "resources": {"devices": [{"type": "c"}]}}},
        {
            "linux": {
                "namespaces": [{"type": "ipc", "path": "/p"}],
                "resources": {"devices": [{"type": "c"}]},
            }
        },
        {
            "linux": {
                "namespaces": [{"type": "ipc", "path": "/p"}],
                "resources": {"devices": [{"type": "c"}, {"type": "c"}]},
            }
        },
    ),
]


@pytest.mark.parametrize(("document", "change", "merged"), MERGED)
def test_merging(document: dict[str, Any], change: dict[str, Any], merged: dict[str, Any]) -> None:
    merge(document, change)
    assert document == merged
