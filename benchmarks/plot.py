"""Bars as SVG: one group for each measure, in it one bar for each server."""

from __future__ import annotations

from html import escape

_COLOURS = ("#2563eb", "#9ca3af", "#f59e0b", "#10b981", "#a855f7")
_WIDTH, _LABEL, _BAR, _GAP, _TOP = 760, 250, 16, 12, 40


def bars(title: str, groups: dict[str, dict[str, float]]) -> str:
    """The picture; each group has a scale of its own, and each bar says its value.

    Args:
        title: above it.
        groups: by measure and server; every measure has the same servers.
    """
    servers = list(next(iter(groups.values()), {}))
    colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(servers)}
    legend = "".join(
        f'<tspan fill="{colours[name]}" dx="14">■ {escape(name)}</tspan>' for name in servers
    )
    parts = [f'<text x="8" y="20" font-weight="bold">{escape(title)}{legend}</text>']
    y = _TOP
    for label, values in groups.items():
        middle = y + len(servers) * _BAR / 2 + 4
        parts.append(f'<text x="8" y="{middle:.0f}">{escape(label)}</text>')
        longest = max(values.values(), default=0.0) or 1.0
        for name, value in values.items():
            width = value / longest * (_WIDTH - _LABEL - 80)
            parts.append(
                f'<rect x="{_LABEL}" y="{y}" width="{width:.0f}" height="{_BAR - 2}"'
                f' fill="{colours[name]}"/><text x="{_LABEL + width + 6:.0f}" y="{y + 11}">'
                f"{value:.0f}</text>"
            )
            y += _BAR
        y += _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}"'
        f' font-family="sans-serif" font-size="12">{"".join(parts)}</svg>\n'
    )
