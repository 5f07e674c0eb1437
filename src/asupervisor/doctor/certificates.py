"""The certificate of the streaming server."""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime

from asupervisor.doctor.finding import Finding, Found, Level, error, ok, warning
from asupervisor.doctor.node import Node
from asupervisor.errors import ConfigError
from asupervisor.host.beneath import read_followed
from asupervisor.streaming.tls import ReloadingCertificate

_KUBELET = "/var/lib/kubelet/pki/kubelet-client-current.pem"
_LONGEST_BYTES = 1 << 20
_SOON_S = 30 * 86400.0
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


def streaming(node: Node) -> Found:
    """Whether it is valid now and for a month, and the key belongs to it."""
    settings = node.config.streaming
    if not settings.tls_cert_file:
        return ok("the streaming server has no certificate of its own")
    renew = f"renew {settings.tls_cert_file} and its key: they are read again without a restart"
    try:
        since, until = _dates(settings.tls_cert_file)
        ReloadingCertificate(settings.tls_cert_file, settings.tls_private_key_file).load()
    except (OSError, ValueError, ConfigError) as failure:
        return error(f"the streaming certificate cannot be used: {failure}", renew)
    return judge_dates(settings.tls_cert_file, since, until, time.time(), renew)


def kubelet(node: Node) -> Found:
    """Whether kubelet's client certificate is valid now; kubelet renews it by itself."""
    path = node.path(_KUBELET)
    renew = "look at kubelet's log; kubeadm certs check-expiration; else join the node again"
    try:
        since, until = _dates(path)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as failure:
        return error(f"kubelet's certificate {path} cannot be used: {failure}", renew)
    found = judge_dates(path, since, until, time.time(), renew, "the API server refuses kubelet")
    return found if found.level is Level.ERROR else ok(f"{path} is valid")


def _dates(path: str) -> tuple[float, float]:
    """The dates of the first certificate in a PEM file.

    Raises:
        OSError: it cannot be read.
        ValueError: there is none in it.
    """
    content = read_followed(path, _LONGEST_BYTES).decode("ascii")
    begin = content.index("-----BEGIN CERTIFICATE-----")
    end = content.index("-----END CERTIFICATE-----", begin) + len("-----END CERTIFICATE-----")
    return validity(ssl.PEM_cert_to_DER_cert(content[begin:end]))


def judge_dates(
    path: str,
    since: float,
    until: float,
    now: float,
    renew: str,
    effect: str = "exec and logs -f fail",
) -> Finding:
    """The finding about a certificate's dates; all times in Unix seconds."""
    day = datetime.fromtimestamp(until, UTC).date()
    if now > until:
        return error(f"{path} expired on {day}: {effect}", renew)
    if now < since:
        return error(f"{path} is not valid yet: is the clock right?", renew)
    if until - now < _SOON_S:
        return warning(f"{path} expires on {day}", renew)
    return ok(f"{path} is valid until {day}")


def validity(certificate: bytes) -> tuple[float, float]:
    """From when and until when a certificate is valid, in Unix seconds (RFC 5280, section 4.1).

    Args:
        certificate: DER.

    Raises:
        ValueError: it is not a certificate.
    """
    kind, outer, _ = _element(certificate, 0)
    kind_inner, body, _ = _element(outer, 0)
    if (kind, kind_inner) != (_SEQUENCE, _SEQUENCE):
        raise ValueError("it is not a certificate")
    place = 0
    kind, _, after = _element(body, place)
    if kind == _VERSION:
        place = after
    for _ in range(3):  # serial number, algorithm, issuer
        _, _, place = _element(body, place)
    kind, times, _ = _element(body, place)
    if kind != _SEQUENCE:
        raise ValueError("it has no dates")
    first, since, place = _element(times, 0)
    second, until, _ = _element(times, place)
    return _time(first, since), _time(second, until)


def _element(data: bytes, place: int) -> tuple[int, bytes, int]:
    """Tag, content and end of the DER element at a place."""
    if place + 2 > len(data):
        raise ValueError("it ends too early")
    tag, length, start = data[place], data[place + 1], place + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(data[start : start + size]), start + size
    if start + length > len(data):
        raise ValueError("it ends too early")
    return tag, data[start : start + length], start + length


def _time(tag: int, content: bytes) -> float:
    if tag not in (_UTC_TIME, _GENERALIZED_TIME):
        raise ValueError("it has no dates")
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
