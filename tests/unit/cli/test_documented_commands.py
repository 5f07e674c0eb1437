"""Every command and every settings file that the documents show: the project's own programs take
their words, and the others are known by name.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from asupervisor.cli.command import VERBS, verb_parser
from asupervisor.cli.flags import parse_arguments
from asupervisor.network.cni.config import load_bytes
from benchmarks.__main__ import _arguments as benchmark_arguments
from benchmarks.pod_life import _arguments as pod_life_arguments
from tests.harness.documented import PAGES, ROOT, blocks, shown

OTHERS = {"apt", "install", "kubeadm", "kubectl", "pip", "printf", "python3", "sed", "systemctl"}
"""Programs of others; what is not among them is a slip of the pen, or is added here."""


def commands() -> list[list[str]]:
    """Their words, one list for each; ``1`` is in the place of what the reader has to fill in."""
    found = []
    for page in PAGES:
        for line in shown(page):
            line = re.sub(r"<[^>\n]*>|\$\([^)]*\)|…", "1", line)
            words = shlex.split(line, comments=True)
            while words:
                end = next((at for at, word in enumerate(words) if word in ("|", "&&")), len(words))
                found.append(words[:end])
                words = words[end + 1 :]
    return found


def named(*programs: str) -> list[list[str]]:
    """What follows a program's name, for each time that it is called."""
    return [
        words[1:]
        for words in (
            words[1:] if re.fullmatch(r"[A-Z_]+=\S*", words[0]) else words for words in commands()
        )
        if words and words[0].rpartition("/")[2] in programs
    ]


def test_every_program_is_known() -> None:
    ours = {"asupervisor", "make", "python", "crictl"}
    for words in commands():
        program = words[0] if "=" not in words[0] else words[1]
        assert program.rpartition("/")[2] in ours | OTHERS, words


@pytest.mark.parametrize("words", named("asupervisor"), ids=" ".join)
def test_our_own_takes_its_words(words: list[str]) -> None:
    if words[0].startswith("-"):
        parse_arguments(words, {})
        return
    assert words[0] in VERBS
    end = words.index("--") if "--" in words else len(words)
    verb_parser(words[0]).parse_intermixed_args(words[1:end])
    if words[0] == "doctor":
        parse_arguments(words[end + 1 :], {})


@pytest.mark.parametrize("words", named("make"), ids=" ".join)
def test_make_has_the_target_and_the_variables(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name = word.partition("=")[0]
        wanted = rf"^{name} \?=" if "=" in word else rf"^{name}:"
        assert re.search(wanted, makefile, re.M), word
        if name == "BENCH":
            benchmark_arguments(shlex.split(word.partition("=")[2]))


@pytest.mark.parametrize("words", named("python"), ids=" ".join)
def test_what_python_runs_takes_its_words(words: list[str]) -> None:
    assert words[0] == "-m"
    if words[1:3] == ["benchmarks", "pod-life"]:
        pod_life_arguments(words[3:])
    elif words[1] == "benchmarks":
        benchmark_arguments(words[2:])
    elif words[1] == "tests.simulate":
        program = (ROOT / "tests/simulate/__main__.py").read_text()
        assert all(f'"{word}"' in program for word in words if word.startswith("--"))
    else:
        assert words[1] == "pytest"


def test_files_of_the_sources_are_there() -> None:
    for words in commands():
        for word in re.split(r"[\s=]+", " ".join(words)):
            if word.startswith(("examples/", "tests/", "docs/")):
                assert (ROOT / word).exists(), word


def test_kubelet_is_pointed_at_the_socket(tmp_path: Path) -> None:
    shown = [
        text
        for page in PAGES
        for text in blocks(page, "yaml")
        if "containerRuntimeEndpoint" in text
    ]
    assert len(shown) >= 3
    for text in shown:
        file = tmp_path / "config.yaml"
        file.write_text(text)
        config = parse_arguments(["--config", str(file)], {})
        assert config.runtime_endpoint == "unix:///run/asupervisor.sock"


def test_settings_are_taken() -> None:
    lines = [
        line
        for page in PAGES
        for text in blocks(page, "", "sh")
        for line in re.findall(r"\bASUPERVISOR_[A-Z_]+=[^\s']+", text)
        if "ASUPERVISOR_PACKAGE" not in line
    ]
    assert len(lines) >= 7
    for line in lines:
        name, _, value = line.partition("=")
        assert parse_arguments([], {name: value}) != parse_arguments([], {}) or value == "cni"


def test_network_configurations_can_be_used() -> None:
    shown = [text for page in PAGES for text in blocks(page, "json") if "cniVersion" in text]
    assert shown
    for text in shown:
        network = load_bytes(text.encode(), "the page")
        assert [plugin.type for plugin in network.plugins] == [
            plugin["type"] for plugin in json.loads(text)["plugins"]
        ]
