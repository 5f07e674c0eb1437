"""One setting of the command line, and how its text becomes a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asupervisor.errors import ConfigError


def text(value: str, name: str) -> str:
    """Text as it is."""
    return value


@dataclass(frozen=True, slots=True)
class Flag:
    """One setting of the command line.

    Args:
        name: without dashes.
        field: of Config; ``network.…``, ``streaming.…`` and ``nri.…`` reach into the parts.
        help: what it does, with its unit; the default is added.
        parse: makes the value of the text; the name is for the error.
        aliases: other names, without dashes.
        kubelet_field: of KubeletConfiguration, where it has the same meaning.
        switch: a boolean that needs no value.
    """

    name: str
    field: str
    help: str
    parse: Callable[[str, str], Any] = text
    aliases: tuple[str, ...] = ()
    kubelet_field: str = ""
    switch: bool = False


def number(value: str, name: str) -> int:
    """A whole number."""
    try:
        return int(value)
    except ValueError as error:
        raise ConfigError(f'{name}: "{value}" is not a whole number') from error


def boolean(value: str, name: str) -> bool:
    """True or false, in Go's spellings."""
    if value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    raise ConfigError(f'{name}: "{value}" is neither true nor false')


def words(value: str, name: str) -> tuple[str, ...]:
    """A list, separated by commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def names(values: tuple[str, ...]) -> str:
    """Names for a help text; the empty one is left out."""
    return ", ".join(value for value in values if value)
