"""Reads a YAML document field by field, so that a field that was not read can be refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from asupervisor.errors import ConfigError

_KINDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    dict: "a mapping",
    list: "a list",
}


class Fields:
    """One mapping of a document; every field is taken out once, and :meth:`done` refuses the rest.

    Args:
        value: the part of the document; None counts as empty.
        where: its place, such as ``spec.containers[0]``; empty at the top.

    Raises:
        ConfigError: it is not a mapping.
    """

    def __init__(self, value: Any, where: str = "") -> None:
        self.where = where
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise ConfigError(f"{where or 'the document'} must be a mapping")
        self._rest: dict[Any, Any] = dict(value)

    def place(self, name: str) -> str:
        """The full name of a field."""
        return f"{self.where}.{name}" if self.where else name

    def text(self, name: str, default: str | None = None) -> str:
        """A text; required if there is no default."""
        return self._take(name, str, default)  # type: ignore[no-any-return]

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean."""
        return self._take(name, bool, default)  # type: ignore[no-any-return]

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number; required if there is no default."""
        return self._take(name, int, default)  # type: ignore[no-any-return]

    @property
    def empty(self) -> bool:
        """Whether nothing is left in it."""
        return not self._rest

    def has(self, name: str) -> bool:
        """Whether the field is there."""
        return self._rest.get(name) is not None

    def quantity(self, name: str) -> str:
        """A quantity, written as a text or a number; empty where absent."""
        value = self._rest.pop(name, None)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ConfigError(f"{self.place(name)} must be a quantity")
        return str(value)

    def optional_number(self, name: str) -> int | None:
        """A whole number, or None where the field is absent."""
        return self.number(name) if self.has(name) else None

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """One of a few texts."""
        value = self.text(name, default)
        if value not in allowed:
            names = " or ".join(f'"{each}"' for each in allowed)
            raise ConfigError(f'{self.place(name)}: "{value}" is not supported, only {names}')
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        return self._list(name, str)

    def numbers(self, name: str) -> list[int]:
        """A list of whole numbers."""
        return self._list(name, int)

    def mapping(self, name: str) -> dict[str, str]:
        """Texts by text, as labels are."""
        values = self._take(name, dict, {})
        for key, value in values.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise ConfigError(
                    f"{self.place(name)}: {key}: keys and values must be texts; put the value in"
                    " quotes"
                )
        return dict(values)

    def below(self, name: str) -> Fields:
        """A mapping inside this one; empty where absent."""
        return Fields(self._rest.pop(name, None), self.place(name))

    def entries(self) -> Iterator[tuple[str, Fields]]:
        """Every field as a mapping, with its name, where the author chooses the names."""
        for name in list(self._rest):
            yield str(name), self.below(name)

    def each(self, name: str) -> Iterator[Fields]:
        """The mappings of a list; after the caller has read one, :meth:`done` is called for it."""
        for index, value in enumerate(self._take(name, list, [])):
            fields = Fields(value, f"{self.place(name)}[{index}]")
            yield fields
            fields.done()

    def pass_over(self, names: Iterable[str]) -> list[str]:
        """Take out fields that are ignored, and return the places of those that are there."""
        return [self.place(name) for name in names if self._rest.pop(name, None) is not None]

    def done(self) -> None:
        """Check that every field was read.

        Raises:
            ConfigError: one was not; the message names it.
        """
        for name in self._rest:
            raise ConfigError(f"{self.place(str(name))} is not supported; remove it")

    def _list(self, name: str, kind: type) -> list[Any]:
        values: list[Any] = self._take(name, list, [])
        for index, value in enumerate(values):
            if not _is(value, kind):
                raise ConfigError(f"{self.place(name)}[{index}] must be {_KINDS[kind]}")
        return values

    def _take(self, name: str, kind: type, default: Any) -> Any:
        value = self._rest.pop(name, None)
        if value is None:
            if default is None:
                raise ConfigError(f"{self.place(name)} is missing")
            return default
        if not _is(value, kind):
            raise ConfigError(f"{self.place(name)} must be {_KINDS[kind]}")
        if isinstance(value, str) and "\0" in value:
            raise ConfigError(f"{self.place(name)} has a NUL in it")
        return value


def _is(value: Any, kind: type) -> bool:
    """To Python a bool is an int; in a manifest it is not."""
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
