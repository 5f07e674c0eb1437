"""A sandbox's checkpoint: the file that dockershim and cri-dockerd keep for each sandbox,
byte-compatible both ways.

``{"version":"v1","name":…,"namespace":…,"data":{…},"checksum":N}``; the checksum is FNV-1a (32 bit)
over the text that Go's spew prints for the data, with the names of the Go types in it. cri-dockerd
and the in-tree dockershim name the types differently; both are accepted, cri-dockerd's is written.
What only this service knows is under a key of its own, ``asupervisor``, which the others ignore."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from typing import Any

import orjson

from asupervisor.errors import Internal

_VERSION = "v1"
_OWN_KEY = "asupervisor"
_PROTOCOLS = ("tcp", "udp", "sctp")
_PEERS = (("core", "config"), ("dockershim", "dockershim"))
"""Go packages of CheckpointData and PortMapping: cri-dockerd's first, which is written."""


@dataclass(frozen=True, slots=True)
class CheckpointPort:
    """One port mapping of a checkpoint; None where the field was left out."""

    protocol: str | None = None
    container_port: int | None = None
    host_port: int | None = None
    host_ip: str | None = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is kept of a sandbox.

    Args:
        name, namespace: the pod's.
        port_mappings: its host ports, in the order of the request.
        host_network: whether it is on the host's network.
        complete: every step of RunPodSandbox is done; a peer's checkpoint, which does not say that,
            counts as complete.
        addresses: what the network plugin returned.
        runtime_handler: exactly as the request gave it; None where a peer wrote the checkpoint.
        uid: the pod's uid; empty where a peer wrote the checkpoint.
        attempt: the sandbox's attempt.
    """

    name: str
    namespace: str
    port_mappings: tuple[CheckpointPort, ...] = ()
    host_network: bool = False
    complete: bool = True
    addresses: tuple[str, ...] = ()
    runtime_handler: str | None = None
    uid: str = ""
    attempt: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


def _spew(checkpoint: Checkpoint, packages: tuple[str, str]) -> str:
    outer, inner = packages
    if checkpoint.port_mappings:
        ports = "[" + " ".join(_spew_port(port, inner) for port in checkpoint.port_mappings) + "]"
    else:
        ports = "<nil>"
    host_network = "true" if checkpoint.host_network else "false"
    return (
        f"({outer}.CheckpointData){{PortMappings:([]*{inner}.PortMapping){ports}"
        f" HostNetwork:(bool){host_network}}}"
    )


def _spew_port(port: CheckpointPort, package: str) -> str:
    def pointer(kind: str, value: object) -> str:
        return f"(*{kind})" + ("<nil>" if value is None else str(value))

    return (
        f"<*>{{Protocol:{pointer(f'{package}.Protocol', port.protocol)}"
        f" ContainerPort:{pointer('int32', port.container_port)}"
        f" HostPort:{pointer('int32', port.host_port)} HostIP:(string){port.host_ip or ''}}}"
    )


def _fnv1a(text: str) -> int:
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def checksum(checkpoint: Checkpoint, packages: tuple[str, str] = _PEERS[0]) -> int:
    """The checksum that a peer whose Go types live in ``packages`` computes."""
    return _fnv1a(_spew(checkpoint, packages))


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The file's content; fields that are zero are left out, as Go does it."""
    data: dict[str, Any] = {}
    if checkpoint.port_mappings:
        data["port_mappings"] = [
            {
                key: value
                for key, value in (
                    ("protocol", port.protocol),
                    ("container_port", port.container_port),
                    ("host_port", port.host_port),
                    ("host_ip", port.host_ip or None),
                )
                if value is not None
            }
            for port in checkpoint.port_mappings
        ]
    if checkpoint.host_network:
        data["host_network"] = True
    own = {
        **checkpoint.extra,
        "complete": checkpoint.complete,
        "addresses": list(checkpoint.addresses),
        "runtime_handler": checkpoint.runtime_handler,
        "uid": checkpoint.uid,
        "attempt": checkpoint.attempt,
    }
    document = {
        "version": _VERSION,
        "name": checkpoint.name,
        "namespace": checkpoint.namespace,
        "data": data,
        "checksum": checksum(checkpoint),
        _OWN_KEY: own,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def decode_checkpoint(content: bytes, where: str) -> Checkpoint:
    """Read a file's content.

    Args:
        content: the file as it is.
        where: its path, for the error.

    Raises:
        Internal: it is not a checkpoint, or its checksum is not one that a known writer computes.
    """
    try:
        document = json.loads(content)
        checkpoint = _checkpoint(document)
        found = document["checksum"]
        computed = [checksum(checkpoint, packages) for packages in _PEERS]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Internal(
            f"the sandbox checkpoint {where} cannot be read: {error!r}", subject=where
        ) from error
    if found not in computed:
        raise Internal(
            f"the sandbox checkpoint {where} is corrupt: its checksum {found!r:.40} is wrong",
            subject=where,
        )
    return checkpoint


def _checkpoint(document: dict[str, Any]) -> Checkpoint:
    data, own = document["data"], {**(document.get(_OWN_KEY) or {})}
    handler = own.pop("runtime_handler", None)
    return Checkpoint(
        name=_text(document["name"]),
        namespace=_text(document["namespace"]),
        port_mappings=tuple(map(_port, data.get("port_mappings") or ())),
        host_network=bool(data.get("host_network")),
        complete=bool(own.pop("complete", True)),
        addresses=tuple(filter(_is_address, map(_text, own.pop("addresses", ())))),
        runtime_handler=None if handler is None else _text(handler),
        uid=_text(own.pop("uid", "")),
        attempt=_number(own.pop("attempt", 0), 2**32),
        extra=_writable(own),
    )


def _port(port: dict[str, Any]) -> CheckpointPort:
    protocol, inner, outer = (port.get(key) for key in ("protocol", "container_port", "host_port"))
    host_ip = _text(port.get("host_ip") or "")
    if protocol is not None and _text(protocol).lower() not in _PROTOCOLS:
        raise ValueError(f"{protocol!r:.40} is not a protocol")
    if host_ip and not _is_address(host_ip):
        raise ValueError(f"{host_ip!r:.40} is not an address")
    return CheckpointPort(
        protocol,
        None if inner is None else _number(inner, 2**16),
        None if outer is None else _number(outer, 2**16),
        host_ip,
    )


def _is_address(text: str) -> bool:
    """Whether it is an address that a rule of the firewall may have."""
    try:
        return not getattr(ipaddress.ip_address(text), "scope_id", None)
    except ValueError:
        return False


def _writable(own: dict[str, Any]) -> dict[str, Any]:
    """Checked here, since it is written again with the next change and shown in a verbose
    status.
    """
    orjson.dumps(own)
    return own


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not a text")
    value.encode()  # JSON may have half of a surrogate pair, which is not valid text
    return value


def _number(value: Any, end: int) -> int:
    if not isinstance(value, int) or not 0 <= value < end:
        raise ValueError(f"{value!r:.40} is not a number from 0 to {end - 1}")
    return value
