"""The results as tables of text (GitHub's Markdown) and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.lifecycle import STEPS
from benchmarks.measure import Results, Sample

_MIB = 1 << 20


def spread(values: list[float]) -> str:
    """The median, and in brackets the least and the greatest where there are several."""
    middle = _number(median(values))
    return (
        middle if len(values) == 1 else f"{middle} ({_number(min(values))}–{_number(max(values))})"
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of text."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    return "\n".join(
        [text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]]
    )


_COLUMNS: tuple[tuple[str, Callable[[Sample], float]], ...] = (
    ("calls/s", lambda sample: sample.rate),
    ("p50 ms", lambda sample: sample.p50_us / 1000),
    ("p99 ms", lambda sample: sample.p99_us / 1000),
    ("server CPU µs/call", lambda sample: sample.server_cpu_us),
    ("server cores", lambda sample: sample.server_cores),
    ("generator cores", lambda sample: sample.generator_cores),
)


def throughput(results: Results, names: list[str], labels: list[str], callers: int) -> str:
    """The table for one number of callers: medians over the rounds, least and greatest rate."""
    rows = []
    for label in labels:
        for name in names:
            answer = results.answers[name, label]
            samples = results.samples.get((label, callers, name))
            if not samples:
                rows.append([label, name, answer.problem, *[""] * (len(_COLUMNS) + 1)])
                continue
            notes = (
                ["the load generator was the limit"]
                if any(sample.generator_bound for sample in samples)
                else []
            )
            failed = sum(sample.failed for sample in samples)
            notes += [f"{failed} calls failed"] if failed else []
            figures = [
                _number(median(get(sample) for sample in samples)) for _, get in _COLUMNS[1:]
            ]
            rows.append(
                [
                    label,
                    name,
                    spread([sample.rate for sample in samples]),
                    *figures,
                    str(answer.bytes),
                    "; ".join(notes),
                ]
            )
    return table(["call", "server", *(title for title, _ in _COLUMNS), "bytes", ""], rows)


def memory(results: Results) -> str:
    """The table of resident memory, the server's children included."""
    rows = [
        [
            name,
            *(
                f"{value / _MIB:.0f}"
                for reading in readings
                for value in (reading.rss, reading.pss)
            ),
        ]
        for name, readings in results.memory.items()
    ]
    return table(
        ["server", "RSS MiB", "PSS MiB", "RSS MiB after the load", "PSS MiB after the load"], rows
    )


def pod_life(results: Results) -> str:
    """The table of pod life cycle steps: median (least–greatest) milliseconds."""
    names = list(results.steps_s)
    rows = [
        [step, *(spread([taken * 1000 for taken in results.steps_s[name][step]]) for name in names)]
        for step in STEPS
    ]
    return table(["ms", *names], rows)


def as_json(results: Results) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "samples": [
            {"call": label, "callers": callers, "server": name, **asdict(sample)}
            for (label, callers, name), samples in results.samples.items()
            for sample in samples
        ],
        "answers": [
            {"server": name, "call": label, "bytes": answer.bytes, "problem": answer.problem}
            for (name, label), answer in results.answers.items()
        ],
        "memory": {
            name: [asdict(reading) for reading in readings]
            for name, readings in results.memory.items()
        },
        "pod_life_s": results.steps_s,
    }
