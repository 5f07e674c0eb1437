"""Probes and hooks of a container, as values; ``perform`` does them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asupervisor.client.manifest.fields import Fields
from asupervisor.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Exec:
    """A command in the container."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HttpGet:
    """An HTTP request; ``host`` is empty for the pod's address."""

    port: int
    host: str
    path: str
    scheme: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """A TCP connection; ``host`` is empty for the pod's address."""

    port: int
    host: str


@dataclass(frozen=True, slots=True)
class Grpc:
    """A request of gRPC's health checking protocol."""

    port: int
    service: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """A pause."""

    seconds: int


Action = Exec | HttpGet | TcpSocket | Grpc | Sleep


@dataclass(frozen=True, slots=True)
class Probe:
    """An action that is done again and again to see how a container is.

    Args:
        action: what is done.
        initial_delay_s, period_s, timeout_s: seconds; the timeout is that of each try.
        success_threshold, failure_threshold: how many equal results in a row count.
        grace_s: seconds of grace for a container that is stopped for a failure; None for the
            pod's own.
    """

    action: Action
    initial_delay_s: int
    period_s: int
    timeout_s: int
    success_threshold: int
    failure_threshold: int
    grace_s: int | None


def read_probe(fields: Fields, ports: Mapping[str, int]) -> Probe:
    """Read a ``livenessProbe`` or another probe.

    Args:
        fields: of the probe.
        ports: the container's ports that have a name.

    Raises:
        ConfigError: a field is malformed; the message names it.
    """

    def above_zero(name: str, default: int) -> int:
        if (value := fields.number(name, default)) < 1:
            raise ConfigError(f"{fields.place(name)}: {value} is not above 0")
        return value

    probe = Probe(
        read_action(fields, ports, ("exec", "httpGet", "tcpSocket", "grpc")),
        max(0, fields.number("initialDelaySeconds", 0)),
        above_zero("periodSeconds", 10),
        above_zero("timeoutSeconds", 1),
        above_zero("successThreshold", 1),
        above_zero("failureThreshold", 3),
        fields.optional_number("terminationGracePeriodSeconds"),
    )
    fields.done()
    return probe


def read_hook(fields: Fields, ports: Mapping[str, int]) -> Action:
    """Read a ``postStart`` or ``preStop``; arguments and errors as :func:`read_probe`."""
    action = read_action(fields, ports, ("exec", "httpGet", "sleep"))
    fields.done()
    return action


def read_action(fields: Fields, ports: Mapping[str, int], allowed: tuple[str, ...]) -> Action:
    """Read the one action of a probe or hook; arguments and errors as :func:`read_probe`."""
    kinds = [kind for kind in allowed if fields.has(kind)]
    if len(kinds) != 1:
        raise ConfigError(f"{fields.where} must have one of {', '.join(allowed)}")
    (kind,), below = kinds, fields.below(kinds[0])
    action: Action
    if kind == "exec":
        action = Exec(tuple(below.texts("command")))
        if not action.command:
            raise ConfigError(f"{below.place('command')} is missing")
    elif kind == "sleep":
        action = Sleep(max(0, below.number("seconds")))
    elif kind == "grpc":
        action = Grpc(_port(below, {}), below.text("service", ""))
    elif kind == "tcpSocket":
        action = TcpSocket(_port(below, ports), below.text("host", ""))
    else:
        headers = [(each.text("name"), each.text("value")) for each in below.each("httpHeaders")]
        action = HttpGet(
            _port(below, ports),
            below.text("host", ""),
            below.text("path", "/"),
            below.choice("scheme", "HTTP", ("HTTP", "HTTPS")),
            tuple(headers),
        )
    below.done()
    return action


def as_document(hook: Action) -> dict[str, Any]:
    """A hook in the form of the API, for the annotation."""
    if isinstance(hook, Exec):
        return {"exec": {"command": list(hook.command)}}
    if isinstance(hook, Sleep):
        return {"sleep": {"seconds": hook.seconds}}
    assert isinstance(hook, HttpGet), "the other kinds are for probes"
    headers = [{"name": name, "value": value} for name, value in hook.headers]
    plain = {"port": hook.port, "path": hook.path, "scheme": hook.scheme, "httpHeaders": headers}
    return {"httpGet": plain | ({"host": hook.host} if hook.host else {})}


def _port(fields: Fields, ports: Mapping[str, int]) -> int:
    text = fields.quantity("port")
    if not text:
        raise ConfigError(f"{fields.place('port')} is missing")
    port = int(text) if re.fullmatch("[0-9]{1,5}", text) else ports.get(text, 0)
    if not 0 < port < 65536:
        raise ConfigError(
            f'{fields.place("port")}: "{text}" is neither a port from 1 to 65535 nor the name of'
            " one of the container"
        )
    return port
