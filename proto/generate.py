"""Generates the Python code of the CRI, of NRI and of ttrpc: ``python proto/generate.py``, or
``--check`` to see whether it is up to date.

The code is checked in, so that an installation needs no compiler; ``--check`` exits 1 and names the
files that differ from what the protocol files give. Needs grpcio-tools (dependency group "dev"),
whose release decides the header of the generated files."""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).resolve().parent
TARGET = SOURCE.parent / "src" / "asupervisor" / "proto"
FILES = ("runtime/v1/api.proto", "nri/v1alpha1/api.proto", "ttrpc/request.proto")


def generate(directory: Path) -> None:
    """Write the modules and their type stubs for every protocol file below ``directory``.

    Raises:
        SystemExit: the compiler found an error, which it has printed.
    """
    include = resources.files("grpc_tools") / "_proto"
    arguments = [
        f"-I{SOURCE}",
        f"-I{include}",
        f"--python_out={directory}",
        f"--pyi_out={directory}",
    ]
    status = protoc.main(["protoc", *arguments, *FILES])
    if status != 0:
        raise SystemExit(status)


def outdated() -> list[Path]:
    """The checked-in files that are missing or not what :func:`generate` writes now."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        names = [path.relative_to(fresh) for path in sorted(fresh.rglob("*.py*"))]
        return [
            TARGET / name
            for name in names
            if not (TARGET / name).is_file()
            or (TARGET / name).read_bytes() != (fresh / name).read_bytes()
        ]


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; exit 1 when the checked-in code is not what would be generated",
    )
    if not parser.parse_args().check:
        generate(TARGET)
        return 0
    differing = outdated()
    for path in differing:
        print(f"{path} is not what proto/ gives; run: python proto/generate.py", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
