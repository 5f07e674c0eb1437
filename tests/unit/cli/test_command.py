"""The client's command line, names, log lines and tables, as far as they need no server."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from asupervisor.cli import output
from asupervisor.cli.command import (
    ALIASES,
    VERBS,
    WITHOUT_ENDPOINT,
    parse_options,
    run_client,
    verb_first,
    verb_parser,
)
from asupervisor.cli.dispatch import dispatch
from asupervisor.errors import ConfigError


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["help"]) == 0
    text = capsys.readouterr().out
    for name, summary in VERBS.items():
        assert f"{name} " in text and summary in text


@pytest.mark.parametrize("name", list(VERBS))
def test_every_verb_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["help", name]) == 0
    text = capsys.readouterr().out
    assert f"usage: asupervisor {name}" in text
    assert ("--endpoint" in text) is (name not in WITHOUT_ENDPOINT)


@pytest.mark.parametrize(
    "arguments",
    [
        ["dance"],
        ["help", "dance"],
        ["pods", "--loud"],
        ["pods", "-o", "xml"],
        ["-r", "unix:///a", "dance"],
        ["pods", "--timeout", "5"],
        ["pods", "--timeout", "0"],
        ["pods", "--endpoint", "carrier:pigeon"],
        ["pods", "--", "ls"],
        ["run"],
        ["logs"],
        ["status"],
    ],
    ids=" ".join,
)
def test_a_usage_error_is_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("asupervisor: ") and said.err.count("\n") == 1


def test_no_server_is_one_line_that_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["pods", "--endpoint", "unix:///no/such/socket"]) == 1
    said = capsys.readouterr()
    assert (
        "there is no socket /no/such/socket: start the runtime" in said.err
        and said.err.count("\n") == 1
    )


def test_where_the_endpoint_comes_from() -> None:
    def endpoint(arguments: list[str], environment: dict[str, str]) -> str:
        return str(parse_options("pods", arguments, environment).settings.endpoint)

    both = {"ASUPERVISOR_ENDPOINT": "unix:///a", "CONTAINER_RUNTIME_ENDPOINT": "unix:///b"}
    assert endpoint([], {}) == "unix:///var/run/asupervisor.sock"
    assert endpoint([], {"CONTAINER_RUNTIME_ENDPOINT": "unix:///b"}) == "unix:///b"
    assert endpoint([], both) == "unix:///a"
    assert endpoint(["-r", "unix:///c"], both) == "unix:///c"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["ps", "-a"], ["ps", "-a"]),
        (["-r", "unix:///a", "ps", "-a"], ["ps", "--endpoint", "unix:///a", "-a"]),
        (["--endpoint=unix:///a", "ps"], ["ps", "--endpoint", "unix:///a"]),
        (["--runtime-endpoint", "unix:///a", "ps"], ["ps", "--endpoint", "unix:///a"]),
        (["-r", "a", "exec", "-i", "-t", "p/c"], ["exec", "--endpoint", "a", "-i", "-t", "p/c"]),
        (["--log-level", "debug"], None),
        (["--config", "/etc/kubelet.yaml"], None),
        (["--version"], None),
        (["-r"], None),
        ([], None),
    ],
)
def test_options_of_the_whole_command_stand_before_the_verb_too(
    arguments: list[str], meant: list[str] | None
) -> None:
    assert verb_first(arguments) == meant


def test_options_before_the_verb_reach_it(capsys: pytest.CaptureFixture[str]) -> None:
    told = ["-r", "unix:///a", "-i", "unix:///b", "-t", "7s", "-o", "json", "config"]
    assert dispatch(told) == 0
    assert json.loads(capsys.readouterr().out) == {
        "runtime-endpoint": "unix:///a",
        "image-endpoint": "unix:///b",
        "timeout": "7s",
    }


@pytest.mark.parametrize(("word", "name"), ALIASES.items())
def test_crictls_words_mean_our_verbs(
    word: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert name in VERBS and word not in VERBS
    assert dispatch(["help", word]) == 0
    assert f"usage: asupervisor {name}" in capsys.readouterr().out


def test_crictls_file_is_read_where_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "crictl.yaml"
    file.write_text("runtime-endpoint: unix:///a\ntimeout: 9\n")
    assert dispatch(["--config", str(file), "config", "-o", "yaml"]) == 0
    assert "runtime-endpoint: unix:///a\n" in capsys.readouterr().out
    assert dispatch(["config", "--config", "/no/such"]) == 2
    assert "/no/such cannot be read" in capsys.readouterr().err


def test_what_follows_two_dashes_is_the_commands() -> None:
    options = parse_options("exec", ["-s", "pod/main", "--", "ls", "-l", "--", "x"], {})
    assert (options.container, options.command, options.sync) == (
        "pod/main",
        ["ls", "-l", "--", "x"],
        True,
    )


def test_an_unknown_verb_is_not_imported() -> None:
    with pytest.raises(ConfigError, match='unknown verb "os"'):
        run_client(["os"])


def test_a_cell_of_somebody_elses_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("A",), [("\x1b[2Jx\ny",)])
    assert capsys.readouterr().out == "A\n\\x1b[2Jx\\ny\n"


def test_tables_have_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("A", "LONG"), [("wide cell", "x"), ("", "y")])
    assert capsys.readouterr().out == "A           LONG\nwide cell   x\n            y\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "3s ago"), (119, "119s ago"), (120, "2m ago"), (7200, "2h ago"), (172800, "2d ago")],
)
def test_ages(seconds: float, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    assert output.age(int((1_000_000 - seconds) * 1e9)) == text


def test_no_time_is_no_age() -> None:
    assert output.age(0) == "-"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_000_000, "2 MB"), (3 * 10**12, "3 TB")],
)
def test_sizes(count: int, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize("name", list(VERBS))
def test_no_argument_of_a_verb_takes_the_place_of_an_option_of_all(name: str) -> None:
    actions = [action.dest for action in verb_parser(name)._actions]
    assert len(actions) == len(set(actions) - {"interactive"}) + actions.count("interactive")
