"""Which rows the table of ``top`` has, in which order, and how they are shown."""

from __future__ import annotations

import pytest

from asupervisor.cli.top.screen import INVERSE
from asupervisor.cli.top.table import KEYS, ORDERS, Row, Table, arrange, totals


def container(name: str, **figures: object) -> Row:
    return Row(id=f"id-{name}", name=name, state="Running", is_well=True, **figures)  # type: ignore[arg-type]


def pod(name: str, *parts: Row, **figures: object) -> Row:
    return Row(
        id=f"sandbox-{name}",
        name=f"shop/{name}",
        state="Ready",
        is_well=True,
        is_pod=True,
        parts=parts,
        **figures,  # type: ignore[arg-type]
    )


PODS = (
    pod(
        "b",
        container("db", memory_bytes=5, pressure=(9.0, 0.0, 0.0)),
        container("log", cpu_cores=0.5),
        cpu_cores=0.5,
    ),
    pod("a", container("web", restarts=4), memory_bytes=9, received_per_s=1.0, sent_per_s=2.0),
    pod("c", disk_bytes=7, received_per_s=2.0, pressure=(0.0, 30.0, 1.0)),
)


def names(rows: list[Row]) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("cpu", ["shop/b", "log", "db"]),
        ("memory", ["shop/a", "web", "shop/b", "db"]),
        ("network", ["shop/a", "web", "shop/c"]),
        ("disk", ["shop/c", "shop/a"]),
        ("pressure", ["shop/c", "shop/b", "db"]),
        ("restarts", ["shop/a"]),
        ("name", ["shop/a", "web", "shop/b", "db", "log", "shop/c"]),
    ],
)
def test_the_most_comes_first_and_what_is_equal_by_name(order: str, first: list[str]) -> None:
    rows = names(arrange(PODS, order))
    assert rows[: len(first)] == first and len(rows) == 6


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", ["shop/a", "web", "shop/b", "db", "log", "shop/c"]),
        ("SHOP/B", ["shop/b", "db", "log"]),
        ("web", ["shop/a", "web"]),
        ("id-lo", ["shop/b", "log"]),
        ("running", ["shop/a", "web", "shop/b", "db", "log"]),
        ("nothing", []),
    ],
)
def test_a_filter_keeps_the_pod_above_what_it_finds(wanted: str, found: list[str]) -> None:
    assert names(arrange(PODS, "name", wanted)) == found


def test_each_order_has_a_key_and_those_do_nothing_else() -> None:
    assert sorted(KEYS.values()) == sorted(ORDERS)
    assert not set(KEYS) & set("qls/")


def test_what_is_chosen_stays_chosen_when_rows_move_and_go() -> None:
    table = Table("name")
    table.show(PODS)
    for key in ("down", "down", "down"):
        table.press(key)
    assert table.chosen is not None and table.chosen.name == "db"
    table.press("c")
    assert table.chosen.name == "db"
    table.show(PODS[1:])
    assert table.chosen is not None
    table.show(())
    table.press("down")
    assert table.chosen is None and table.lines(80, 24)[-1][1].startswith("none")


def test_where_a_filter_hides_what_was_chosen_the_first_row_is() -> None:
    table = Table("name")
    table.show(PODS)
    for key in ("end", *"/b"):
        table.press(key)
    assert table.chosen is not None and table.chosen.name == "shop/a"


def test_typing_a_filter_neither_sorts_nor_leaves_it_behind() -> None:
    table = Table("name")
    table.show(PODS)
    for key in "/qc":
        table.press(key)
    assert table.is_typed and "filter: qc_" in table.lines(200, 24)[-1][1]
    for key in ("backspace", "backspace", *"DB", "enter"):
        table.press(key)
    assert not table.is_typed and "filter DB: 1 of 2" in table.lines(200, 24)[-1][1]
    assert "*POD" in "".join(text for _, text in table.lines(200, 24))
    table.press("escape")
    assert "3 of 6" in table.lines(200, 24)[-1][1]


@pytest.mark.parametrize("rows", [1, 5, 24])
def test_hundreds_of_rows_scroll_and_the_chosen_one_is_always_there(rows: int) -> None:
    table = Table("name")
    table.show([pod(f"{number:03}", container("main")) for number in range(250)])
    for key in ("end", "page up", "up", "home", "page down", *(["down"] * 30)):
        table.press(key)
        lines = table.lines(80, rows)
        assert len(lines) == max(rows, 4)
        (shown,) = [text for style, text in lines if style == INVERSE]
        assert table.chosen is not None and table.chosen.name in shown


def test_no_name_steers_the_terminal_or_moves_a_column() -> None:
    evil = "x\x1b[2J\n\u202e"
    table = Table("name")
    table.show([pod(evil, container(evil)), pod("y" * 300)])
    lines = table.lines(100, 24)
    assert all(text.isprintable() for _, text in lines)
    rows = [text for _, text in lines if "Ready" in text or "Running" in text]
    assert len({len(row.rstrip()) for row in rows}) == 1 and len(rows) == 3


def test_pressure_has_a_column_where_the_server_tells_it() -> None:
    table = Table("cpu")
    table.show(PODS[1:2])
    assert "WAIT" not in "".join(text for _, text in table.lines(120, 24))
    table.show(PODS)
    assert "0.0 30.0 1.0" in "".join(text for _, text in table.lines(120, 24))


def test_all_of_it_in_a_sentence() -> None:
    assert totals(PODS) == "3 pods ready, 3 containers: 0.50 cores, 5 B memory"
