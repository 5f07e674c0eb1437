"""What is printed steers no terminal, whoever wrote it: images, containers, tenants."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

from asupervisor.cli import dispatch as command_line
from asupervisor.cli.output import print_document, print_fields, print_json, print_table
from asupervisor.errors import FailedPrecondition

EVIL = "a\x1b[2J\nb\x9b\u202ec\U000e0041"


def safe(text: str) -> bool:
    return text.isascii() and all(character >= " " or character == "\n" for character in text)


def test_a_cell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "REASON"), [("x", EVIL), (EVIL, "y")])
    printed = capsys.readouterr().out
    assert safe(printed) and len(printed.splitlines()) == 3
    print_fields([("Pod", EVIL)])
    printed = capsys.readouterr().out
    assert safe(printed) and len(printed.splitlines()) == 1


def test_json_gives_the_text_back(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"reason": EVIL, EVIL: [EVIL]})
    printed = capsys.readouterr().out
    assert safe(printed) and json.loads(printed) == {"reason": EVIL, EVIL: [EVIL]}


@pytest.mark.parametrize("form", ["yaml", "jsonpath={.id}"])
def test_other_forms_steer_no_terminal_and_lose_nothing_in_a_pipe(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    print_document(form, {"id": EVIL})
    printed = capsys.readouterr().out
    assert printed == f"{EVIL}\n" or yaml.safe_load(printed) == {"id": EVIL}
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_document(form, {"id": EVIL})
    printed = capsys.readouterr().out
    assert safe(printed) and len(printed.splitlines()) == 1


def test_an_error_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(arguments: list[str]) -> int:
        raise FailedPrecondition(EVIL)

    monkeypatch.setattr("asupervisor.cli.command.run_client", fail)
    assert command_line.dispatch(["ps"]) == 1
    printed = capsys.readouterr().err
    assert safe(printed) and len(printed.splitlines()) == 1
