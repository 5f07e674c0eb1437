"""``run``: a pod from a manifest, as kubelet would start it."""

from __future__ import annotations

import argparse
from pathlib import Path

from asupervisor.cli.messages import read_text
from asupervisor.cli.output import print_document, short_id
from asupervisor.client import Client
from asupervisor.client.manifest import read_manifest


def arguments(parser: argparse.ArgumentParser) -> None:
    """The manifest."""
    parser.add_argument("file", metavar="FILE", help="a Pod in YAML; -: standard input")
    parser.add_argument(
        "--log-directory",
        default="/var/log/pods",
        metavar="DIR",
        help="of pod logs (default: /var/log/pods)",
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Sandbox, images, containers. What fails takes the whole pod with it."""
    plan = read_manifest(read_text(options.file), options.file)
    pod = await client.start_pod(plan, log_root=_absolute(options.log_directory))
    started = {name: each.id for name, each in pod.containers.items()}
    if not print_document(options.output, {"podSandboxId": pod.id, "containers": started}):
        print(f"pod {pod.info.namespace}/{pod.name} runs: {short_id(pod.id)}")
        for name, container_id in started.items():
            print(f"  {name}: {short_id(container_id)}")
    return 0


def _absolute(directory: str) -> str:
    return str(Path(directory).absolute())
