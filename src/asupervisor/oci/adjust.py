"""``create`` of the OCI runtime: changes the bundle's document, and executes the real runtime.

It runs as a program of its own at each start of a container that needs it. So it imports nothing of
the service, and only small parts of the standard library.

Source: OCI runtime-spec, config.md; the command line is runc's, as containerd's shim calls it."""

from __future__ import annotations

import json
import os
import sys
import time

TYPE_CHECKING = False  # importing typing would take as long as all the rest
if TYPE_CHECKING:
    from typing import Any

_RFC_3339 = "%Y-%m-%dT%H:%M:%SZ"
_KEYED = {
    ("mounts",): "destination",
    ("linux", "devices"): "path",
    ("linux", "namespaces"): "type",
}
"""Lists in which a later element replaces one with the same key."""


def merge(document: dict[str, Any], change: dict[str, Any], at: tuple[str, ...] = ()) -> None:
    """Change a document in place: objects are merged, lists are appended, other values are
    replaced.

    Args:
        document: as it is.
        change: a document of the same kind, with what is to be set.
        at: where in the whole document both are.
    """
    for key, value in change.items():
        here = (*at, key)
        if isinstance(value, dict):
            part = document[key] = document.get(key) or {}
            merge(part, value, here)
        elif isinstance(value, list):
            kept = document.get(key) or []
            if name := _KEYED.get(here):
                taken = [one[name] for one in value]
                kept = [one for one in kept if one.get(name) not in taken]
            document[key] = [*kept, *value]
        else:
            document[key] = value


def _option(arguments: list[str], name: str, default: str) -> str:
    """The value of an option: the next word, or what follows an equals sign."""
    for index, word in enumerate(arguments):
        if word == name and index + 1 < len(arguments):
            return arguments[index + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return default


def _adjust(path: str, arguments: list[str]) -> str:
    """Change the document, and return the real runtime."""
    if not path:
        raise ValueError(
            "what its OCI document is to have is not there: the container was not made by this"
            " service's NRI plugins, or was never finished; make it anew"
        )
    with open(path, encoding="utf-8") as file:
        runtime, change = file.readline().rstrip("\n"), json.load(file)
    place = os.path.join(_option(arguments, "--bundle", "."), "config.json")
    with open(place, encoding="utf-8") as file:
        document = json.load(file)
    merge(document, change)
    with open(place, "w", encoding="utf-8") as file:
        json.dump(document, file, separators=(",", ":"))
    return runtime


def main(path: str, arguments: list[str]) -> str:
    """Do it; it returns only if it failed, with the reason.

    Args:
        path: the file of the container: a line with the real runtime, then the change; empty if
            there is no such file.
        arguments: of the real runtime.
    """
    try:
        runtime = _adjust(path, arguments)
        os.execvp(runtime, [runtime, *arguments])
    except Exception as error:  # the engine reports it, whatever it is
        reason = f"asupervisor: {error}"
    # The shim reads the reason there, as runc writes it.
    log = _option(arguments, "--log", os.devnull)
    line = {"level": "error", "msg": reason, "time": time.strftime(_RFC_3339, time.gmtime())}
    with open(log, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return reason


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
