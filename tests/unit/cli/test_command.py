"""The client's command line, names, log lines and tables, as far as they need no server."""

from __future__ import annotations

import time

import pytest

from asupervisor.cli import output
from asupervisor.cli.command import VERBS, WITHOUT_ENDPOINT, parse_options, run_client
from asupervisor.cli.dispatch import dispatch
from asupervisor.cli.verbs import exec as exec_verb
from asupervisor.cli.verbs import pods as pods_verb
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
        return str(parse_options("pods", pods_verb, arguments, environment).settings.endpoint)

    both = {"ASUPERVISOR_ENDPOINT": "unix:///a", "CONTAINER_RUNTIME_ENDPOINT": "unix:///b"}
    assert endpoint([], {}) == "unix:///var/run/asupervisor.sock"
    assert endpoint([], {"CONTAINER_RUNTIME_ENDPOINT": "unix:///b"}) == "unix:///b"
    assert endpoint([], both) == "unix:///a"
    assert endpoint(["-r", "unix:///c"], both) == "unix:///c"


def test_what_follows_two_dashes_is_the_commands() -> None:
    options = parse_options("exec", exec_verb, ["-s", "pod/main", "--", "ls", "-l", "--", "x"], {})
    assert (options.container, options.command, options.sync) == (
        "pod/main",
        ["ls", "-l", "--", "x"],
        True,
    )


def test_an_unknown_verb_is_not_imported() -> None:
    with pytest.raises(ConfigError, match='unknown verb "os"'):
        run_client(["os"])


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
