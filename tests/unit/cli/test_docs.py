"""What the documents name exists: files, flags, make targets, verbs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asupervisor.cli.command import VERBS
from asupervisor.cli.flags import FLAGS

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
SERVICE_FLAGS = {name for flag in FLAGS for name in (flag.name, *flag.aliases)} | {
    "config",
    "config-dir",
    "help",
    "version",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_into_pages_find_their_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        text = (page.parent / target).read_text() if target else page.read_text()
        headings = {
            re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).strip().replace(" ", "-")
            for line in re.findall(r"^#+ .*", text, re.M)
        }
        assert anchor in headings, f"{target}#{anchor}"


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for line in re.findall(
        r"`?make ((?:[a-z]+ ?)+)",
        "\n".join(re.findall(r"`[^`]+`|^make .*", (ROOT / "README.md").read_text(), re.M)),
    ):
        for name in line.split():
            assert name in targets, name


def test_verbs_of_the_readme_exist() -> None:
    named = set(re.findall(r"bin/asupervisor ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert named
    assert named <= set(VERBS)


def test_flags_of_the_operators_page_exist() -> None:
    text = (ROOT / "docs" / "operations.md").read_text() + (ROOT / "README.md").read_text()
    ours = set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]+)", text))
    elsewhere = {
        "now",
        "live-restore",
        "endpoint",
        "ipv6-dual-stack",
        "cni-",
        "config",
        "root",
    }  # systemctl, dockerd, the client, cri-dockerd
    assert ours - SERVICE_FLAGS - elsewhere == set()
    for variable in re.findall(r"ASUPERVISOR_([A-Z_]+)=", text):
        assert variable.lower().replace("_", "-") in SERVICE_FLAGS, variable


def test_the_units_name_flags_that_exist() -> None:
    unit = (
        ROOT / "src" / "asupervisor" / "installation" / "systemd" / "asupervisor.service"
    ).read_text()
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    assert set(re.findall(r"--([a-z-]+)", command)) <= SERVICE_FLAGS
