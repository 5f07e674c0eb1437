"""``run``: a pod from a manifest, as kubelet would start it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from asupervisor.cli.output import print_json, short_id
from asupervisor.client import Client
from asupervisor.client.manifest import read_manifest
from asupervisor.errors import ConfigError


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
    plan = read_manifest(_read(options.file), options.file)
    pod = await client.start_pod(plan, log_root=_absolute(options.log_directory))
    started = {name: each.id for name, each in pod.containers.items()}
    if options.output == "json":
        print_json({"podSandboxId": pod.id, "containers": started})
    else:
        print(f"pod {pod.info.namespace}/{pod.name} runs: {short_id(pod.id)}")
        for name, container_id in started.items():
            print(f"  {name}: {short_id(container_id)}")
    return 0


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not text in UTF-8") from error


def _absolute(directory: str) -> str:
    return str(Path(directory).absolute())
