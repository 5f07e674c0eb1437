"""``run``: a pod from a manifest, as kubelet would start it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from asupervisor.cli.messages import read_text
from asupervisor.cli.output import print_document, short_id
from asupervisor.client import Client
from asupervisor.client.manifest import read_manifest


def arguments(parser: argparse.ArgumentParser) -> None:
    """The manifest."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="Pods in YAML, and ConfigMaps and Secrets that they name; -: standard input",
    )
    parser.add_argument(
        "--configmap",
        action="append",
        default=[],
        metavar="FILE",
        help="further ConfigMaps and Secrets",
    )
    parser.add_argument(
        "--log-directory",
        default="/var/log/pods",
        metavar="DIR",
        help="of pod logs (default: /var/log/pods)",
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Images, sandbox, containers, one pod after the other. What fails takes its whole pod with
    it; earlier ones stay."""
    beside = [(read_text(file), file) for file in options.configmap]
    manifest = read_manifest(read_text(options.file), options.file, beside)
    if manifest.notes:
        passed_over = ", ".join(manifest.notes)
        print(
            f"asupervisor: passed over, as it counts in a cluster only: {passed_over}",
            file=sys.stderr,
        )
    for plan in manifest.pods:
        pod = await client.start_pod(plan, log_root=_absolute(options.log_directory))
        started = {name: each.id for name, each in pod.containers.items()}
        if not print_document(options.output, {"podSandboxId": pod.id, "containers": started}):
            print(f"pod {pod.info.namespace}/{pod.name} runs: {short_id(pod.id)}")
            for name, container_id in started.items():
                print(f"  {name}: {short_id(container_id)}")
    return 0


def _absolute(directory: str) -> str:
    return str(Path(directory).absolute())
