"""A run in words."""

from __future__ import annotations

from tests.simulate.run import Report

_BEFORE = 25
_ABOUT = 40


def excerpt(report: Report) -> str:
    """What was found, each with the lines of the trace that tell of it."""
    lines = [f"seed {report.seed}: {len(report.findings)} findings"]
    for finding in report.findings[:3]:
        lines.append(f"--- {finding.invariant}: {finding.words}")
        about = [
            number
            for number, line in enumerate(report.trace)
            if finding.subject and finding.subject in line
        ]
        end = next(
            (n for n, line in enumerate(report.trace) if f"FINDING {finding.invariant}: " in line),
            finding.line,
        )
        near = range(max(0, end - _BEFORE), min(len(report.trace), end + 3))
        shown = sorted({*about[:_ABOUT], *near})
        previous = -1
        for number in shown:
            if number != previous + 1:
                lines.append("           …")
            lines.append(report.trace[number])
            previous = number
    return "\n".join(lines)


def summary_line(report: Report) -> str:
    """One line."""
    return (
        f"seed {report.seed}: digest {report.digest}, {report.seconds:.0f} virtual s,"
        f" {report.calls} calls, {report.faults} faults, {report.kills} kills,"
        f" {len(report.findings)} findings"
    )
