"""Makes the bridge of a managed engine's default network. It uses ioctl, the kernel's oldest
interface for bridges, which needs no library.

``dockerd`` makes only the bridge ``docker0`` itself, and two engines cannot share that one: each
would hand out the same addresses."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from contextlib import suppress
from pathlib import Path

from asupervisor.errors import FailedPrecondition
from asupervisor.host.netns import set_up

_SIOCBRADDBR = 0x89A0
_SIOCGIFADDR, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8915, 0x8916, 0x891C
_NAME_BYTES = 16
_ROUTES = Path("/proc/net/route")
_CANDIDATES = (
    *(f"172.{second}.0.0/16" for second in range(31, 17, -1)),
    *(f"192.168.{third}.0/24" for third in range(240, 255)),
)
"""Private ranges, first those that other engines use last; never 10.0.0.0/8, which clusters use for
their pods and services.
"""


def ensure_bridge(name: str) -> None:
    """Make a bridge with an address that no route of this machine covers, or take the one that is
    there.

    Args:
        name: at most 15 bytes.

    Raises:
        FailedPrecondition: the kernel refuses, or every range is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            with suppress(FileExistsError):
                fcntl.ioctl(control, _SIOCBRADDBR, name.encode())
            if not _has_address(control, name):
                subnet = free_subnet(_ROUTES.read_text())
                address = _request(name, str(subnet.network_address + 1))
                fcntl.ioctl(control, _SIOCSIFADDR, address)
                fcntl.ioctl(control, _SIOCSIFNETMASK, _request(name, str(subnet.netmask)))
            set_up(control, name)
        except OSError as error:
            raise FailedPrecondition(
                f"the bridge {name} of the managed engine cannot be made: {error.strerror}",
                subject=name,
            ) from error


def free_subnet(routes: str) -> ipaddress.IPv4Network:
    """The first candidate that overlaps no route.

    Args:
        routes: ``/proc/net/route``: a header, then interface, destination and mask (fields 2 and 8,
            hexadecimal in host order).

    Raises:
        FailedPrecondition: there is none.
    """
    taken = []
    for line in routes.splitlines()[1:]:
        fields = line.split()
        destination, mask = (
            int.from_bytes(bytes.fromhex(fields[column]), "little") for column in (1, 7)
        )
        if mask:  # the default route overlaps every range and rules out none
            taken.append(ipaddress.IPv4Network((destination, mask.bit_count())))
    for text in _CANDIDATES:
        candidate = ipaddress.IPv4Network(text)
        if not any(candidate.overlaps(network) for network in taken):
            return candidate
    raise FailedPrecondition(
        "every private range that a managed engine could use has a route; run the engine yourself,"
        " with its own --bip"
    )


def _has_address(control: socket.socket, name: str) -> bool:
    try:
        fcntl.ioctl(control, _SIOCGIFADDR, _request(name, "0.0.0.0"))
    except OSError:  # EADDRNOTAVAIL
        return False
    return True


def _request(name: str, address: str) -> bytes:
    """``struct ifreq`` with a ``sockaddr_in``."""
    return struct.pack(
        f"{_NAME_BYTES}sHH4s8x8x", name.encode(), socket.AF_INET, 0, socket.inet_aton(address)
    )
