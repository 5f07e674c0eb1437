"""The manual and the completion have what --help has, and the tools that read them take them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from asupervisor.cli.command import VERBS
from asupervisor.cli.flags import FLAGS
from asupervisor.cli.manual import completion, manual


def rendered(page: str, tmp_path: Path) -> str:
    """As ``man`` shows it, on one line; every complaint is a failure."""
    if shutil.which("man") is None:
        pytest.skip("man is not here")
    file = tmp_path / "page.8"
    file.write_text(page)
    shown = subprocess.run(
        ["man", "--warnings", "-l", str(file)],
        env={"MANWIDTH": "1000", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    return " ".join(shown.stdout.split())


def test_the_service_has_a_page_with_every_flag_and_verb(tmp_path: Path) -> None:
    text = rendered(manual()["asupervisor.8"], tmp_path)
    for flag in FLAGS:
        assert f"--{flag.name}" in text and flag.help in text, flag.name
    for name, summary in VERBS.items():
        assert f"asupervisor {name} {summary}" in text
        assert f"asupervisor-{name}(8)" in text


def test_every_verb_has_a_page(tmp_path: Path) -> None:
    pages = manual()
    assert set(pages) == {"asupervisor.8", *(f"asupervisor-{name}.8" for name in VERBS)}
    for name, summary in VERBS.items():
        assert f"asupervisor-{name} - {summary}" in rendered(
            pages[f"asupervisor-{name}.8"], tmp_path
        )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["asupervisor", "uninst"], ["uninstall"]),
        (["asupervisor", "--metr"], ["--metrics-bind-addr"]),
        (["asupervisor", "--log-level", "info", "--log-f"], ["--log-format"]),
        (["asupervisor", "exec", "--tra"], ["--transport"]),
        (["asupervisor", "pods", "-o", "j"], ["json"]),
        (["asupervisor", "help", "port"], ["port-forward"]),
        (["asupervisor", "install", "--endp"], []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bash_completes(words: list[str], expected: list[str]) -> None:
    script = (
        f"{completion()}\nCOMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}\n"
        "_asupervisor\nprintf '%s\\n' \"${COMPREPLY[@]}\""
    )
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert said.stderr == ""
    assert said.stdout.split() == expected
