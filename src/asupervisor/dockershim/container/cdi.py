"""CDI devices of a container: known to the engine, and their environment in the container's own."""

from __future__ import annotations

from asupervisor.dockershim.shim import Shim
from asupervisor.errors import NotFound
from asupervisor.proto import cri
from asupervisor.translate.cdi import cdi_environment, cdi_spec
from asupervisor.translate.container import CDI_SINCE
from asupervisor.translate.documents import sequence, text

_DIRECTORIES = ("/etc/cdi", "/var/run/cdi")


async def device_environment(shim: Shim, config: cri.ContainerConfig, subject: str) -> list[str]:
    """The environment that a container's CDI devices bring.

    Raises:
        InvalidArgument: a name is not the name of a device.
        NotFound: neither a specification nor the engine has a device; the start would fail on it.
    """
    names = [device.name for device in config.CDI_devices]
    if not names or shim.engine.api_version < CDI_SINCE:
        return []
    directories = [
        directory
        for directory in sequence(shim.engine.info, "CDISpecDirs")
        if isinstance(directory, str) and directory
    ] or list(_DIRECTORIES)
    documents = await shim.lanes.host_paths.run(directories[0], shim.cdi.read, directories)
    specs = [[cdi_spec(document) for document in found] for found in documents]
    environment, unknown = cdi_environment(names, specs, subject)
    if unknown:
        # Asked again: drivers may add devices at any time.
        discovered = {
            text(device, "ID")
            for device in sequence(await shim.engine.system.info(), "DiscoveredDevices")
            if text(device, "Source") == "cdi"
        }
        for name in unknown:
            if name not in discovered:
                raise NotFound(
                    f"{subject}: Docker Engine does not know the CDI device {name}; its"
                    f" specification is looked for in {', '.join(directories)}",
                    subject=name,
                )
    return environment
