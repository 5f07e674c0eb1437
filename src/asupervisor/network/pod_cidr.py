"""The node's pod CIDR, one for each family; given by a flag, or once by kubelet."""

from __future__ import annotations

import ipaddress
import logging
from pathlib import Path

from asupervisor.errors import InvalidArgument
from asupervisor.host.atomic import write_file

log = logging.getLogger(__name__)

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


class PodCidr:
    """The pod CIDR. The first value wins for the life of the process.

    kubelet sends it again only when it changes, so the last one is kept in a file for the time
    after a restart, until another one comes.

    Args:
        configured: the flag's value; empty where UpdateRuntimeConfig is to give it.
        state_dir: where the file is.
    """

    def __init__(self, configured: str, state_dir: Path) -> None:
        self._path = state_dir / "pod-cidr"
        self.subnets: tuple[Subnet, ...] = parse_pod_cidr(configured)
        self._settled = bool(self.subnets)

    def recall(self) -> None:
        """Take the value of the last run, if this one has none yet."""
        if self.subnets:
            return
        try:
            self.subnets = parse_pod_cidr(self._path.read_text())
        except FileNotFoundError:
            return
        except (OSError, InvalidArgument) as error:
            log.warning("the pod CIDR in %s is not readable: %s", self._path, error)

    def update(self, text: str) -> bool:
        """Take a value from UpdateRuntimeConfig.

        Args:
            text: one CIDR for each family, separated by a comma; empty changes nothing.

        Returns:
            Whether the pod CIDR is another one now.

        Raises:
            InvalidArgument: it is not a CIDR, or two of one family.
        """
        subnets = parse_pod_cidr(text)
        if not subnets:
            return False
        if self._settled:
            if subnets != self.subnets:
                log.warning("pod CIDR %s is ignored: it is %s already", text, self)
            return False
        self._settled = True
        changed = subnets != self.subnets
        self.subnets = subnets
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_file(self._path, str(self).encode())
        except OSError as error:
            log.warning("cannot keep the pod CIDR in %s: %s", self._path, error.strerror)
        return changed

    def __bool__(self) -> bool:
        return bool(self.subnets)

    def __str__(self) -> str:
        return ",".join(str(subnet) for subnet in self.subnets)


def parse_pod_cidr(text: str) -> tuple[Subnet, ...]:
    """Read a pod CIDR.

    Args:
        text: one CIDR for each family, separated by a comma.

    Raises:
        InvalidArgument: it is not a CIDR, or two of one family.
    """
    subnets: list[Subnet] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            subnets.append(ipaddress.ip_network(part, strict=False))
        except ValueError as error:
            raise InvalidArgument(f'pod CIDR "{part}": {error}') from error
    if len({subnet.version for subnet in subnets}) != len(subnets):
        raise InvalidArgument(f'pod CIDR "{text}" has two of one address family')
    return tuple(subnets)
