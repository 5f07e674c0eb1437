"""The address of a CRI server, in the form of kubelet and crictl."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from urllib.parse import urlsplit

from asupervisor.errors import ConfigError

_UNIX_PATH_BYTES = 107
"""``sun_path`` of unix(7), without the NUL that ends it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked endpoint; equal ones reach the same server."""

    url: str
    """In full: ``unix:///run/x.sock`` or ``tcp://127.0.0.1:1234``."""
    target: str
    """As gRPC spells it."""
    socket_path: str = ""
    """Of a unix socket; empty for TCP."""


def parse_endpoint(text: str) -> Endpoint:
    """Check an endpoint without touching it.

    Args:
        text: ``unix:///absolute/path``, an absolute path alone, or ``tcp://host:port`` (no
            encryption: loopback and tests).

    Raises:
        ConfigError: it is not one of these; the message names it and says what is accepted.
    """
    if text.startswith("/"):
        return _unix(text, text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _bad(text, str(error)) from error
    if parts.query or parts.fragment:
        raise _bad(text, "it ends with a query or a fragment")
    if parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/"):
            raise _bad(
                text, "the socket's path must be absolute, with three slashes after the colon"
            )
        return _unix(text, parts.path)
    if parts.scheme == "tcp":
        if not parts.hostname or not port or parts.path:
            raise _bad(text, "host and port are needed and nothing after them")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return Endpoint(url=f"tcp://{host}:{port}", target=f"dns:///{host}:{port}")
    raise _bad(text, f"unknown scheme {parts.scheme!r}" if parts.scheme else "it has no scheme")


def advice(endpoint: Endpoint) -> str:
    """What to do if no server answers, by what is at the socket's path now."""
    path = endpoint.socket_path
    if not path:
        return "is the runtime running, and is that its address?"
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return f"there is no socket {path}: start the runtime, or correct the endpoint"
    except OSError as error:
        return (
            f"{path} cannot be looked at ({error.strerror}): run as root, or correct the endpoint"
        )
    if not stat.S_ISSOCK(mode):
        return f"{path} is not a socket: correct the endpoint"
    if not os.access(path, os.W_OK):
        return f"no permission for {path}: run as root or as a member of the socket's group"
    return (
        f"nobody listens on {path}: the runtime that made the socket has ended or hangs; start it"
        " again"
    )


def _unix(text: str, path: str) -> Endpoint:
    if len(os.fsencode(path)) > _UNIX_PATH_BYTES:
        raise _bad(text, f"a socket's path has at most {_UNIX_PATH_BYTES} bytes")
    if path.endswith("/") or "\0" in path:
        raise _bad(text, "that is not the path of a file")
    return Endpoint(url=f"unix://{path}", target=f"unix:{path}", socket_path=path)


def _bad(text: str, why: str) -> ConfigError:
    return ConfigError(
        f"bad CRI endpoint {text!r}: {why} (unix:///path/to/socket or tcp://host:port)",
        subject=text,
    )
