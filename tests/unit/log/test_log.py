"""What a log line looks like."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time

import anyio

from asupervisor.log import JsonFormatter, TextFormatter, enter_call


def record(
    message: str = "stopped container %s", *values: object, **fields: object
) -> logging.LogRecord:
    made = logging.LogRecord(
        "asupervisor.dockershim", logging.INFO, "file.py", 1, message, values or ("main",), None
    )
    made.__dict__.update(fields)
    return made


def in_call(
    formatter: logging.Formatter, line: logging.LogRecord, rpc: str = "StopContainer"
) -> str:
    """Format it inside a task that a call began a second ago, and in a task of that task."""

    async def main() -> str:
        enter_call(rpc, time.monotonic() - 1.0)
        formatted: list[str] = []

        async def operation() -> None:
            formatted.append(formatter.format(line))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(operation)
        return formatted[0]

    return anyio.run(main)


def test_text() -> None:
    line = TextFormatter().format(
        record(pod="default/web", container="c1", duration_s=0.25, image="")
    )
    assert line[10] == "T" and line[23] == "Z"
    assert line[24:] == " INFO stopped container main pod=default/web container=c1 duration_s=0.250"


def test_ids_are_short_and_once_in_text_and_whole_in_json() -> None:
    sandbox, container, image = ("ab" * 32, "cd" * 32, f"sha256:{'ef' * 32}")
    made = record(
        "started container main (%s) of %s",
        *(container[:12], image),
        sandbox=sandbox,
        container=container,
        subject=sandbox,
    )
    said = TextFormatter().format(made)[25:]
    assert said == f"INFO started container main (cdcdcdcdcdcd) of {image} sandbox=abababababab"
    entry = json.loads(JsonFormatter().format(made))
    assert (entry["sandbox"], entry["container"], entry["subject"]) == (sandbox, container, sandbox)
    made = record("no container with id %s", container, code="NOT_FOUND", subject=container)
    said = TextFormatter().format(made)[25:]
    assert said == "INFO no container with id cdcdcdcdcdcd code=NOT_FOUND"


def test_json() -> None:
    entry = json.loads(JsonFormatter().format(record(pod="default/web", code="NOT_FOUND")))
    time_text = entry.pop("time")
    assert len(time_text) == 24 and time_text.endswith("Z")
    assert entry == {
        "level": "info",
        "logger": "asupervisor.dockershim",
        "message": "stopped container main",
        "pod": "default/web",
        "code": "NOT_FOUND",
    }


def test_the_call_and_its_duration_come_by_themselves() -> None:
    entry = json.loads(in_call(JsonFormatter(), record(pod="default/web")))
    assert entry["rpc"] == "StopContainer" and 1.0 <= entry["duration_s"] < 30.0
    assert " rpc=StopContainer pod=default/web duration_s=1." in in_call(
        TextFormatter(), record(pod="default/web")
    )
    other = json.loads(in_call(JsonFormatter(), record(rpc="RemoveContainer")))
    assert other["rpc"] == "RemoveContainer" and "duration_s" not in other, (
        "a line that names another call is not measured by this one"
    )
    assert "rpc" not in json.loads(JsonFormatter().format(record())), (
        "nothing leaks out of the task"
    )


def test_nothing_that_is_logged_begins_a_line_of_its_own() -> None:
    text = TextFormatter().format(
        record("%s", "evil\n2026-01-01T00:00:00.000Z INFO all is well\x1b[2J", pod="a b")
    )
    assert "\n" not in text and "\x1b" not in text
    assert text.endswith(' pod="a b"')
    assert "\n" not in JsonFormatter().format(record("%s", "evil\nline"))


def test_megabytes_are_cut_wherever_they_stand() -> None:
    long = "x" * (4 << 20)
    made = record("%s", long, image=long)
    try:
        raise ValueError(long)
    except ValueError:
        made.exc_info = sys.exc_info()
    entry = json.loads(JsonFormatter().format(made))
    for name in ("message", "image", "exception"):
        assert len(entry[name]) <= 16_385 and entry[name].endswith("…"), name
    assert entry["exception"].startswith("Traceback ")
    assert len(TextFormatter().format(made)) < 50_000


def test_the_whole_process_logs_in_one_format() -> None:
    program = (
        "import logging, warnings; from asupervisor.log import configure_logging;"
        " configure_logging('debug', 'json');logging.getLogger('asupervisor.x').debug('ours');"
        " logging.getLogger('library').info('unwanted');"
        "logging.getLogger('library').warning('theirs');"
        " warnings.warn('careful')"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    entries = [json.loads(line) for line in result.stderr.splitlines()]
    assert [(entry["logger"], entry["level"]) for entry in entries] == [
        ("asupervisor.x", "debug"),
        ("library", "warning"),
        ("py.warnings", "warning"),
    ]
    assert result.stdout == ""
