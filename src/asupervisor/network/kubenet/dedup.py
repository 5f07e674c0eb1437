"""ebtables rules for a promiscuous bridge: it hands a pod's packet to the pod twice, so one of the
two is dropped.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence

from asupervisor.errors import ServiceError
from asupervisor.host.program import run_program
from asupervisor.network.kubenet.bridge import gateways, hardware_address
from asupervisor.network.pod_cidr import Subnet

log = logging.getLogger(__name__)

CHAIN = "KUBE-DEDUP"
_DEADLINE_S = 10.0


def dedup_rules(subnets: Sequence[Subnet]) -> list[list[str]]:
    """The rules of ``KUBE-DEDUP``: from the bridge's MAC to pods, the gateway's packets pass and
    pods' packets do not.

    Args:
        subnets: the pod CIDR.
    """
    mac = hardware_address(subnets)
    rules = []
    for subnet, (gateway, _) in zip(subnets, gateways(subnets), strict=True):
        protocol, source = ("IPv4", "--ip-src") if subnet.version == 4 else ("IPv6", "--ip6-src")
        common = ["-p", protocol, "-s", mac, "-o", "veth+", source]
        rules.append([*common, gateway, "-j", "ACCEPT"])
        rules.append([*common, str(subnet), "-j", "DROP"])
    return rules


async def write_dedup_rules(subnets: Sequence[Subnet]) -> None:
    """Fill the chain anew and jump to it from OUTPUT. Best effort: without the rules packets come
    twice, but all of them come.

    Args:
        subnets: the pod CIDR.
    """
    ebtables = shutil.which("ebtables") or shutil.which("ebtables", path="/usr/sbin:/sbin")
    if ebtables is None:
        log.warning("there is no ebtables: pods on the promiscuous bridge get some packets twice")
        return
    table = [ebtables, "-t", "filter"]
    try:
        # Fails where the chain exists already.
        await run_program([*table, "-N", CHAIN, "-P", "ACCEPT"], deadline_s=_DEADLINE_S)
        await _run([*table, "-F", CHAIN])
        for rule in dedup_rules(subnets):
            await _run([*table, "-A", CHAIN, *rule])
        listed = await run_program([*table, "-L", "OUTPUT"], deadline_s=_DEADLINE_S)
        if f"-j {CHAIN}" not in listed.stdout.decode(errors="replace"):
            await _run([*table, "-A", "OUTPUT", "-j", CHAIN])
    except ServiceError as error:
        log.warning("%s; pods on the promiscuous bridge get some packets twice", error)


async def _run(command: list[str]) -> None:
    finished = await run_program(command, deadline_s=_DEADLINE_S)
    if finished.returncode != 0:
        raise ServiceError(
            f"{' '.join(command)}: {finished.stderr.decode(errors='replace').strip()}"
        )
