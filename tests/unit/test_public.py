"""What the package offers to others: names, laziness, and what each package says of itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import asupervisor

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "asupervisor"
PUBLIC = (
    "asupervisor",
    "asupervisor.client",
    "asupervisor.config",
    "asupervisor.errors",
    "asupervisor.proto",
    "asupervisor.remote",
    "asupervisor.streaming.client",
    "asupervisor.supervisor",
)
PACKAGES = sorted(
    path.parent.relative_to(SOURCE).as_posix()
    for path in SOURCE.rglob("__init__.py")
    if "runtime/v1" not in path.as_posix() and path.parent != SOURCE / "proto" / "runtime"
)
PAGES = [
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    if path.name != "CHANGELOG.md"
]
LOGGERS = set(
    re.findall(
        r'getLogger\("(asupervisor[\w.]*)"\)',
        "".join(path.read_text() for path in SOURCE.rglob("*.py")),
    )
)


def test_the_package_gives_the_supervisor_and_its_settings() -> None:
    from asupervisor import Config, Supervisor
    from asupervisor.config import Config as TheConfig
    from asupervisor.supervisor import Supervisor as TheSupervisor

    assert (Config, Supervisor) == (TheConfig, TheSupervisor)
    assert set(asupervisor.__all__) <= set(dir(asupervisor))


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Supervisr"):
        asupervisor.Supervisr  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    program = (
        "import sys; before = set(sys.modules); import asupervisor;"
        " print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "['asupervisor']", done.stderr


@pytest.mark.parametrize("module", PUBLIC)
def test_public_modules_name_what_is_public(module: str) -> None:
    loaded = import_module(module)
    assert loaded.__all__
    for name in loaded.__all__:
        assert hasattr(loaded, name), name


def test_every_error_is_public() -> None:
    from asupervisor import errors

    own = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.ServiceError)
    }
    assert own == set(errors.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_the_package_in_the_documents_exist(page: Path) -> None:
    names = set(re.findall(r"`(asupervisor(?:\.\w+)+)`", page.read_text()))
    for dotted in names - LOGGERS:
        if dotted.rsplit(".", 1)[1] in ("service", "socket", "sock"):
            continue  # a unit or a socket
        module = dotted
        attributes: list[str] = []
        while _missing(module):
            module, _, attribute = module.rpartition(".")
            attributes.insert(0, attribute)
        value: object = import_module(module)
        for attribute in attributes:
            value = getattr(value, attribute)


def _missing(module: str) -> bool:
    try:
        return find_spec(module) is None
    except ModuleNotFoundError:  # what stands before the last dot is not a package
        return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_imports_in_the_documents_work(page: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    for line in re.findall(r"^from (asupervisor\S* import [\w, ]+)$", "\n".join(blocks), re.M):
        module, _, names = line.partition(" import ")
        for name in names.split(", "):
            assert name in import_module(module).__all__, line


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_says_its_law(package: str) -> None:
    text = ast.get_docstring(ast.parse((SOURCE / package / "__init__.py").read_text()))
    assert text, "it has no docstring"
    lines = [line for line in text.splitlines() if line.strip()]
    if "/" in package or package == ".":
        assert 1 <= len(lines) <= 12
    else:
        assert 4 <= len(lines) <= 12, "about five lines: what it is for, and what holds in it"
