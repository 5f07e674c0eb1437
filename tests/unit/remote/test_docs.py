"""The documentation page shows the API as it is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from asupervisor import errors
from asupervisor.proto import cri
from asupervisor.remote import RemoteImageService, RemoteRuntimeService

PAGE = (Path(__file__).parents[3] / "docs" / "remote-api.md").read_text()
EXAMPLES = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))


def test_calls_in_the_examples_exist_with_their_arguments() -> None:
    calls = re.findall(r"\b(runtime|images)\.(\w+)\(", EXAMPLES)
    assert len(calls) > 10
    for client, method in calls:
        assert callable(
            getattr({"runtime": RemoteRuntimeService, "images": RemoteImageService}[client], method)
        )
    for name in re.findall(r"\bcri\.(\w+)", PAGE):
        assert hasattr(cri, name), name


def test_signatures_in_the_table_exist() -> None:
    rows = re.findall(r"^\| `(\w+)\(([^)]*)\)`", PAGE, re.MULTILINE)
    assert [method for method, _ in rows] == ["stop_container", "exec_sync", "checkpoint_container"]
    for method, arguments in rows:
        parameters = list(inspect.signature(getattr(RemoteRuntimeService, method)).parameters)
        assert [name for name in re.split(r",\s*", arguments) if name != "id"] == [
            name for name in parameters if name not in ("self", "container_id")
        ]


def test_examples_compile() -> None:
    compile(
        f"async def page():\n{chr(10).join('    ' + line for line in EXAMPLES.splitlines())}",
        "docs/remote-api.md",
        "exec",
    )


def test_errors_in_the_table_exist() -> None:
    section = PAGE.partition("## Errors")[2].partition("Its message")[0]
    names = set(re.findall(r"`([A-Z]\w+)`", section))
    assert len(names) > 8
    assert all(issubclass(getattr(errors, name), errors.ServiceError) for name in names)
