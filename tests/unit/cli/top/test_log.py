"""A log on the whole terminal."""

from __future__ import annotations

from asupervisor.cli.top.log import LogView


def shown(view: LogView, columns: int = 20, rows: int = 6) -> list[str]:
    return [text for _, text in view.lines(columns, rows)][1:-1]


def test_the_end_is_followed_until_somebody_scrolls_back() -> None:
    view = LogView("log of a/b")
    shown(view)
    for number in range(10):
        view.add(f"line {number}")
    assert shown(view) == ["line 6", "line 7", "line 8", "line 9"]
    view.press("up")
    view.add("line 10")
    assert shown(view) == ["line 5", "line 6", "line 7", "line 8"]
    view.press("home")
    assert shown(view)[0] == "line 0"
    view.press("page down")
    assert shown(view)[0] == "line 4"
    view.press("end")
    assert shown(view)[-1] == "line 10"


def test_a_long_line_goes_on_in_the_next_and_steers_nothing() -> None:
    view = LogView("log")
    shown(view)
    view.add("x" * 45)
    view.add("\u6f22" * 11)
    view.add("\x1b[2Jtab\there\r\x9b")
    assert shown(view, rows=9) == ["x" * 20] * 2 + ["x" * 5] + ["\u6f22" * 10, "\u6f22"] + [
        r"\x1b[2Jtab here\r\x9",
        "b",
    ]


def test_what_is_kept_is_bounded() -> None:
    view = LogView("log")
    shown(view)
    view.press("up")
    for number in range(20_000):
        view.add(str(number))
    view.press("home")
    assert shown(view)[0] == "10000"
