"""The Debian package: built by its command, unpacked, and run from where it lies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asupervisor import __version__
from asupervisor.cli.command import VERBS

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("ASUPERVISOR_PACKAGE"),
        reason="builds a package, which takes minutes; ASUPERVISOR_PACKAGE=1 runs it",
    ),
    pytest.mark.skipif(
        not all(map(shutil.which, ("dh", "lintian", "dpkg-buildpackage"))),
        reason="debhelper and lintian are not here",
    ),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources; lintian has found no error."""
    sources = tmp_path_factory.mktemp("package") / "asupervisor"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", ".*_cache", "build", "dist", "tests", "__pycache__", "*.egg-info"
    )
    shutil.copytree(ROOT, sources, ignore=ignored)
    # The libraries' wheels come from where pip finds them: the tests' own network has nothing.
    outside = ["nsenter", f"--net=/proc/{os.getppid()}/ns/net"]
    fetch = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "-d",
        str(sources),
        "wsproto",
    ]
    if subprocess.run([*outside, *fetch], capture_output=True, check=False).returncode != 0:
        pytest.skip("pip finds no wheels")
    environment = os.environ | {"VENV": sys.prefix}
    built = subprocess.run(
        [*outside, str(sources / ".ci/deb")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "E: " not in built.stdout
    (found,) = (sources / "dist").glob(f"asupervisor_{__version__}_*.deb")
    return found


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("root")
    subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    subprocess.run(["dpkg-deb", "-e", package, root / "DEBIAN"], check=True)
    yield root
    shutil.rmtree(root)


def test_it_brings_unit_settings_manual_and_completion(unpacked: Path) -> None:
    (units,) = (path for path in unpacked.glob("**/systemd/system") if path.is_dir())
    assert {path.name for path in units.iterdir()} == {
        "asupervisor.service",
        "asupervisor.socket",
    }
    assert "ExecStart=/usr/bin/asupervisor " in (units / "asupervisor.service").read_text()
    assert (unpacked / "DEBIAN/conffiles").read_text().split() == ["/etc/default/asupervisor"]
    pages = {path.name for path in (unpacked / "usr/share/man/man8").iterdir()}
    assert pages == {"asupervisor.8.gz", *(f"asupervisor-{name}.8.gz" for name in VERBS)}
    assert (unpacked / "usr/share/bash-completion/completions/asupervisor").is_file()
    assert (unpacked / "usr/share/doc/asupervisor/examples/managed-engine.conf").is_file()


def test_an_upgrade_restarts_the_service_and_leaves_the_socket(unpacked: Path) -> None:
    scripts = {name: (unpacked / "DEBIAN" / name).read_text() for name in ("postinst", "prerm")}
    flow = " ".join(scripts["postinst"].split())
    assert (
        'if [ -n "$2" ]; then _dh_action=restart else _dh_action=start fi'
        " deb-systemd-invoke $_dh_action 'asupervisor.service'" in flow
    )
    assert flow.count("deb-systemd-invoke") == 2
    assert "deb-systemd-invoke start 'asupervisor.socket'" in flow
    # Both are stopped when the package goes, and only then; first that which would start the other.
    stops = [line for line in scripts["prerm"].splitlines() if "deb-systemd-invoke" in line]
    assert [line.split()[1:3] for line in stops] == [
        ["stop", "'asupervisor.socket'"],
        ["stop", "'asupervisor.service'"],
    ]
    assert scripts["prerm"].count('[ "$1" = remove ]') == 2


def test_it_runs_from_where_it_is_installed(unpacked: Path) -> None:
    # What is compiled fits the distribution's Python, and nothing is taken from elsewhere.
    script = (
        f"mount --bind {unpacked}/usr/lib/asupervisor /usr/lib/asupervisor"
        " && exec /usr/lib/asupervisor/bin/asupervisor --version"
    )
    place = Path("/usr/lib/asupervisor")
    made = not place.exists()
    place.mkdir(exist_ok=True)
    try:
        said = subprocess.run(
            ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False
        )
    finally:
        if made:
            place.rmdir()
    assert said.stdout == f"asupervisor {__version__}\n", said.stderr


def test_its_libraries_are_whole(unpacked: Path) -> None:
    python = unpacked / "usr/lib/asupervisor/bin/python3"
    modules = "asupervisor.supervisor, asupervisor.cli.dispatch, prometheus_client, uvloop, yaml"
    (site,) = (unpacked / "usr/lib/asupervisor/lib").glob("python3.*/site-packages")
    said = subprocess.run(
        [
            "/usr/bin/python3",
            "-I",
            "-B",
            "-c",
            f"import sys; sys.path.insert(0, {str(site)!r});"
            f" import {modules}; print(asupervisor.__file__)",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.startswith(str(site)), said.stderr
    assert os.readlink(python).endswith("bin/python3")
