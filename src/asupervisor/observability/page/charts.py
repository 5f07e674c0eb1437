"""Small charts as inline SVG: shapes only, coloured by the page's own style sheet."""

from __future__ import annotations

from collections.abc import Sequence

from asupervisor.observability.page.html import Html, join, tag

_WIDTH, _HEIGHT = 240, 40


def line_chart(values: Sequence[float], label: str) -> Html:
    """Values over time, from zero to the highest.

    Args:
        values: the oldest first.
        label: what the chart shows, for screen readers.
    """
    top = max(values, default=0.0) or 1.0
    step = _WIDTH / max(1, len(values) - 1)
    points = " ".join(
        f"{index * step:.1f},{_HEIGHT - 1 - value / top * (_HEIGHT - 2):.1f}"
        for index, value in enumerate(values)
    )
    return _chart(tag("polyline", points=points), label)


def bar_chart(counts: Sequence[int], label: str) -> Html:
    """Counts side by side, such as the buckets of a histogram.

    Args:
        counts: not negative.
        label: what the chart shows, for screen readers.
    """
    top = max(counts, default=0) or 1
    width = _WIDTH / max(1, len(counts))
    bars = join(
        tag(
            "rect",
            x=f"{index * width:.1f}",
            y=f"{_HEIGHT - _bar(count, top):.1f}",
            width=f"{max(1.0, width - 1):.1f}",
            height=f"{_bar(count, top):.1f}",
        )
        for index, count in enumerate(counts)
        if count
    )
    return _chart(bars, label)


def _bar(count: int, top: int) -> float:
    """Its height: at least 1, so that even a small count can be seen."""
    return max(1.0, count / top * _HEIGHT)


def _chart(content: Html, label: str) -> Html:
    return tag(
        "svg",
        tag("title", label),
        content,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
    )
