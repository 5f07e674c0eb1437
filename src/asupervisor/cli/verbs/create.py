"""``create``: a container in a sandbox, from the CRI's own configurations."""

from __future__ import annotations

import argparse

from asupervisor.cli.messages import read_message
from asupervisor.client import Client
from asupervisor.proto import cri


def arguments(parser: argparse.ArgumentParser) -> None:
    """The pod, and the two configurations."""
    parser.add_argument("pod", metavar="POD", help="name, NAMESPACE/NAME or start of the id")
    parser.add_argument(
        "file",
        metavar="CONTAINER-CONFIG",
        help="file with a ContainerConfig (JSON or YAML); -: standard input",
    )
    parser.add_argument("pod_file", metavar="POD-CONFIG", help="the file that runp was given")


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print the container's id. It is not started, and its image is not fetched."""
    config = read_message(options.file, cri.ContainerConfig)
    pod_config = read_message(options.pod_file, cri.PodSandboxConfig)
    pod = await client.find_pod(options.pod)
    print(await client.runtime.create_container(pod.id, config, pod_config))
    return 0
