"""RuntimeConfig and UpdateRuntimeConfig."""

from __future__ import annotations

import ipaddress

from asupervisor.dockershim.shim import Shim
from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri


async def runtime_config(
    shim: Shim, request: cri.RuntimeConfigRequest
) -> cri.RuntimeConfigResponse:
    """The engine's cgroup driver, which kubelet then uses too.

    Raises:
        Unavailable: the engine was never seen, so its driver is not known.
    """
    driver = shim.engine.cgroup_driver or shim.config.cgroup_driver
    if not driver:
        shim.engine.health.require("tell the cgroup driver")
    return cri.RuntimeConfigResponse(
        linux=cri.LinuxRuntimeConfiguration(
            cgroup_driver=cri.SYSTEMD if driver == "systemd" else cri.CGROUPFS
        )
    )


async def update_runtime_config(
    shim: Shim, request: cri.UpdateRuntimeConfigRequest
) -> cri.UpdateRuntimeConfigResponse:
    """Hand the pod CIDR to the network plugin.

    Raises:
        InvalidArgument: it is not a CIDR.
    """
    pod_cidr = request.runtime_config.network_config.pod_cidr
    if pod_cidr:
        for cidr in pod_cidr.split(","):
            try:
                ipaddress.ip_network(cidr.strip(), strict=False)
            except ValueError as error:
                raise InvalidArgument(
                    f'UpdateRuntimeConfig: pod_cidr "{cidr}" is not a CIDR'
                ) from error
        await shim.network.update_pod_cidr(pod_cidr)
    return cri.UpdateRuntimeConfigResponse()
