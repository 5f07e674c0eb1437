"""An NRI plugin: devices and limits that a pod asks for by annotations.

``devices.example.org/container.NAME: /dev/fuse,/dev/net/tun`` gives a container devices of the
host; ``nofile.example.org/container.NAME: "4096"`` sets how many files it may have open.

Run it as root beside the service: ``python examples/nri_plugin.py [SOCKET]``, or put it into
/opt/nri/plugins as an executable file 10-devices."""

from __future__ import annotations

import os
import stat
import sys

import anyio

from asupervisor.nri.stub import DEFAULT_SOCKET, PluginStub, api


class Devices(PluginStub):
    """See above."""

    async def create_container(
        self, pod: api.PodSandbox, container: api.Container
    ) -> api.CreateContainerResponse:
        """Called for each container before it is visible to others."""
        adjust = api.ContainerAdjustment()
        paths = pod.annotations.get(f"devices.example.org/container.{container.name}", "")
        for path in filter(None, paths.split(",")):
            status = os.stat(path)
            adjust.linux.devices.add(
                path=path,
                type="c" if stat.S_ISCHR(status.st_mode) else "b",
                major=os.major(status.st_rdev),
                minor=os.minor(status.st_rdev),
            )
        files = pod.annotations.get(f"nofile.example.org/container.{container.name}")
        if files is not None:
            adjust.rlimits.add(type="RLIMIT_NOFILE", soft=int(files), hard=int(files))
        return api.CreateContainerResponse(adjust=adjust)


if __name__ == "__main__":
    anyio.run(Devices("devices", "10").run, *(sys.argv[1:] or [DEFAULT_SOCKET]))
