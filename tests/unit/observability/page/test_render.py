"""What the page shows of a node, and that hostile words in it stay words."""

from __future__ import annotations

import html.parser
import re
from dataclasses import replace

import pytest

from asupervisor.conditions import Condition, Reason
from asupervisor.observability.page.charts import bar_chart, line_chart
from asupervisor.observability.page.html import Html, tag, text
from asupervisor.observability.page.render import asset, page, sections
from asupervisor.observability.page.view import (
    Calls,
    Container,
    Event,
    Finding,
    Image,
    Pod,
    Totals,
    Trouble,
    View,
)
from asupervisor.observability.page.words import age, latency, size

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;\n\u202e\x1b[31m</td></table>"
)
VOID = {"meta", "link"}


def a_view(words: str) -> View:
    """A node on which everything that somebody else names has these words."""
    return View(
        node="node-1",
        version="1.2.3",
        summary=words,
        now=10_000.0,
        started=4_000.0,
        conditions=(
            (Condition("ServiceReady", True, "", "", 5_000.0), ""),
            (Condition("RuntimeReady", False, Reason.ENGINE_NOT_RUNNING, words, 6_000.0), words),
        ),
        pods=(
            Pod(
                words,
                words,
                "0123456789abcdef",
                "Ready",
                True,
                ("10.1.2.3", words),
                9_000.0,
                {words: words},
                (Container(words, words, words, 3),),
            ),
        ),
        pod_count=5,
        images=(Image((words, words), 1_234_567, True, 2),),
        image_count=1,
        images_bytes=2_000_000,
        images_at=words,
        network={"plugin": words},
        calls=(Calls(words, 4, 1, 2, (0.001, 0.01), (1, 2, 1)),),
        operations=(Calls(words, 4, 0, 0, (0.001, 0.01), (4, 0, 0)),),
        events=(Event(7_000.0, words, words),),
        troubles=(Trouble(8_000.0, "warning", words, "UNAVAILABLE", 7),),
    )


class Reader(html.parser.HTMLParser):
    """The elements of a document, with their attributes; fails where one is not closed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def read(view: View, findings: list[Finding] | None = None) -> Reader:
    reader = Reader()
    history = (Totals(1, 10, 1, 0.1), Totals(3, 30, 3, 0.2))
    reader.feed(page(view.node, sections(view, history, findings)).decode())
    assert reader.open == []
    return reader


def shape(reader: Reader) -> list[tuple[str, frozenset[str]]]:
    return [(name, frozenset(attributes)) for name, attributes in reader.elements]


def test_hostile_words_add_no_element_and_no_attribute() -> None:
    wrong = [Finding(HOSTILE, "warning", HOSTILE, HOSTILE)]
    hostile = read(a_view(HOSTILE), wrong)
    assert shape(hostile) == shape(read(a_view("plain"), [Finding("a", "warning", "b", "c")]))
    assert "<script>alert(1)</script>" in hostile.words
    assert "\u202e" not in hostile.words and "\x1b" not in hostile.words


def test_nothing_comes_from_outside_and_nothing_is_inline() -> None:
    reader = read(a_view("plain"))
    for name, attributes in reader.elements:
        assert not any(key.startswith("on") or key == "style" for key in attributes), name
        for key in ("src", "href"):
            assert (attributes.get(key) or "/") in ("/", "/page.css", "/page.js", "data:,")
        assert name not in {"style", "form", "input", "button", "iframe", "a"}
    everything = asset("page.css").decode() + asset("page.js").decode()
    assert not re.search(r"https?:|url\(|@import", everything)
    assert "prefers-color-scheme: dark" in everything and "max-width" in everything


def test_it_shows_what_the_node_has() -> None:
    words = " ".join(read(a_view("plain")).words.split())
    for told in (
        *(
            "node-1",
            "up since 1970-01-01 01:06:40 UTC",
            "not ready",
            "EngineNotRunning: plain",
            "plain/plain",
        ),
        *("10.1.2.3", "restarted 3 times", "and 4 more", "1.23 MB", "2 MB", "plain (7 times)"),
        *("kubelet tries again", "10.0", "5.00 ms", "1970-01-01 01:56:40", "doctor is running"),
    ):
        assert told in words, told


def test_an_empty_node_says_so() -> None:
    words = read(View("node-1", "1", "nothing yet", 1, 1), []).words
    assert "no pod is on this node" in words and "there are no images" in words
    assert "nothing is wrong" in words and "none since the start" in words


def test_a_section_changes_only_with_what_it_shows() -> None:
    view = a_view("plain")
    before = sections(view, (), [])
    after = sections(replace(view, now=view.now + 2, image_count=2), (), [])
    assert {name for name in before if before[name] != after[name]} == {"images"}


@pytest.mark.parametrize("words", ["", "ä", "x" * 100_000])
def test_text_is_bounded(words: str) -> None:
    assert len(text(words)) <= 3000
    assert str(tag("p", Html("<b></b>"), words[:1], class_="a")).startswith('<p class="a"><b></b>')


def test_charts_fit_into_their_frame() -> None:
    assert "NaN" not in line_chart([], "none") and "NaN" not in bar_chart([], "none")
    points = re.findall(r"([\d.]+),([\d.]+)", line_chart([0, 5, 10], "rise"))
    assert [float(y) for _, y in points] == [39.0, 20.0, 1.0]
    assert bar_chart([0, 1000, 1], "few").count("<rect") == 2
    assert "<title>&lt;b&gt;</title>" in line_chart([1], "<b>")


def test_latencies_are_those_of_the_buckets() -> None:
    calls = Calls("x", 100, 0, 0, (0.001, 0.01, 0.1), (50, 48, 1, 1))
    assert calls.quantile_s(0.5) == 0.001 and calls.quantile_s(0.99) == 0.1
    assert latency(calls.quantile_s(1.0)) == "longer"
    assert Calls("x", 0, 0, 0, (0.001,), (0, 0)).quantile_s(0.99) == 0


def test_words_for_figures() -> None:
    assert [size(n) for n in (0, 999, 1000, 1_500_000, 10**18)] == [
        *("0 B", "999 B", "1 KB", "1.5 MB", "1e+03 PB")
    ]
    assert [age(n) for n in (0, 59, 60, 7200, 200_000)] == ["now", "now", "1 min", "2 h", "2 d"]
    assert [latency(n) for n in (0.00025, 0.1, 2.5)] == ["0.25 ms", "100 ms", "2.5 s"]
