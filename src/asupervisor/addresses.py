"""Reads an address to listen on, the same way for every flag that takes one; and the usual one."""

from __future__ import annotations

from asupervisor.errors import ConfigError

LOOPBACK = "127.0.0.1"
RUNTIME_ENDPOINT = "unix:///var/run/asupervisor.sock"
"""Where the service listens, and the client looks for it, unless told otherwise."""


def parse_bind_address(text: str, setting: str, default_port: int | None = None) -> tuple[str, int]:
    """Read ``host:port``, ``[v6]:port``, ``:port`` or ``port``.

    Without a host it is the loopback, for every flag: who wants to be reached from outside has to
    say so (``0.0.0.0:port``, ``[::]:port``).

    Args:
        text: the value.
        setting: the flag it was given by, for the error.
        default_port: the port where only a host is given; None where the port has to be given.

    Returns:
        Host without brackets, and port; 0 lets the system choose.

    Raises:
        ConfigError: the text has another form; the message names the setting and the text.
    """
    host, colon, port = text.rpartition(":")
    if default_port is not None:
        if text.endswith("]") or (not colon and not _is_number(text)):
            host, port = text, ""
        port = port or str(default_port)
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare == host and ":" in host:
        raise ConfigError(f'{setting}: "{text}": an IPv6 address stands in brackets: "[::1]:0"')
    if any(mark in bare for mark in "[]/ ") or (bare != host and ":" not in bare):
        raise ConfigError(f'{setting}: "{text}" is not host:port')
    if not _is_number(port):
        raise ConfigError(f'{setting}: "{text}" is not host:port')
    if int(port) > 65535:
        raise ConfigError(f"{setting}: port {port} is not between 0 and 65535")
    return bare or LOOPBACK, int(port)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
