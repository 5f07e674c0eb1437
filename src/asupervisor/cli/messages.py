"""The CRI's own configurations in files, as crictl takes them: JSON or YAML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TypeVar

from asupervisor.errors import ConfigError

Message = TypeVar("Message")


def read_text(file: str) -> str:
    """A file of the user's; ``-`` is standard input.

    Raises:
        ConfigError: it cannot be read, or is not text.
    """
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not text in UTF-8") from error


def read_message(file: str, kind: type[Message]) -> Message:
    """One message of the CRI.

    Args:
        file: its path; ``-`` is standard input.
        kind: the message's class.

    Raises:
        ConfigError: it cannot be read, or has a field that the message does not have.
    """
    import yaml
    from google.protobuf.json_format import ParseDict, ParseError

    text = read_text(file)
    try:
        document: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{file}: the document must be a mapping")
    try:
        return ParseDict(document, kind())  # type: ignore[type-var]
    except ParseError as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from error
