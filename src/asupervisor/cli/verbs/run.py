"""``run``: run pods from a manifest, as kubelet would, or one command in an image."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from asupervisor.cli.messages import read_text
from asupervisor.cli.output import print_document, say, short_id
from asupervisor.client import Client, Pod
from asupervisor.client.client import LOG_ROOT
from asupervisor.client.manifest import Manifest, read_manifest
from asupervisor.errors import ConfigError

_ENDINGS = (".yaml", ".yml", ".json")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to run, and how."""
    parser.add_argument(
        "what",
        metavar="FILE|IMAGE",
        help=(
            "a file with Pods in YAML, and the ConfigMaps and Secrets that they name; -: standard"
            " input; anything that is not a file is an image"
        ),
    )
    parser.add_argument(
        "command",
        nargs="*",
        metavar="-- COMMAND",
        help="image: the command (default: the image's own)",
    )
    parser.add_argument(
        "-d",
        "--detach",
        action="store_true",
        help="end once all is ready; from then on nobody probes or restarts containers",
    )
    parser.add_argument(
        "--rm",
        action="store_true",
        help="remove the pods and their logs in the end; without it they are only stopped",
    )
    parser.add_argument("-i", "--stdin", action="store_true", help="image: give it standard input")
    parser.add_argument("-t", "--tty", action="store_true", help="image: give it a terminal")
    parser.add_argument("-it", "-ti", dest="interactive", action="store_true", help="-i and -t")
    parser.add_argument("--name", default="", help="image: name of the pod (default: a random one)")
    parser.add_argument(
        "--configmap",
        action="append",
        default=[],
        metavar="FILE",
        help="manifest: file with further ConfigMaps and Secrets; may be given several times",
    )
    parser.add_argument(
        "--log-directory",
        default=LOG_ROOT,
        type=os.path.abspath,
        metavar="DIR",
        help=f"directory of pod logs (default: {LOG_ROOT})",
    )


async def run(client: Client, options: argparse.Namespace) -> int:
    """Start one pod after the other. If one fails to start, the whole pod is removed; earlier pods
    are stopped, or with ``--detach`` stay."""
    if not _is_manifest(options.what):
        from asupervisor.cli.running_pods import run_image

        return await run_image(client, options)
    if options.command or options.stdin or options.tty or options.interactive or options.name:
        raise ConfigError("a command, --name, -i and -t are for an image; a manifest has its own")
    if options.detach and options.rm:
        raise ConfigError("--detach leaves the pod, and --rm would remove it")
    beside = [(read_text(file), file) for file in options.configmap]
    manifest = read_manifest(read_text(options.what), options.what, beside)
    if manifest.notes:
        say(f"ignored, since nothing here does it: {', '.join(manifest.notes)}")
    tell_what_happens()
    if not options.detach:
        from asupervisor.cli.running_pods import stay

        return await stay(client, manifest.pods, options)
    for plan in manifest.pods:
        announce(await client.start_pod(plan), options.output)
    _say_what_nobody_does(manifest)
    return 0


def announce(pod: Pod, form: str) -> None:
    """Say that a pod runs, or print its ids for a program."""
    started = {name: each.id for name, each in pod.containers.items()}
    if not print_document(form, {"podSandboxId": pod.id, "containers": started}):
        print(f"pod {pod.info.namespace}/{pod.name} runs: {short_id(pod.id)}")
        for name, container_id in started.items():
            print(f"  {name}: {short_id(container_id)}")
    sys.stdout.flush()


class _Said(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def tell_what_happens() -> None:
    """Print what happens to the pods: probes that fail, with what they say, and restarts."""
    logger = logging.getLogger("asupervisor.client.pods")
    logger.addHandler(_Said())
    logger.setLevel(logging.INFO)


def _is_manifest(what: str) -> bool:
    return what == "-" or what.endswith(_ENDINGS) or Path(what).is_file() or what.startswith("/")


def _say_what_nobody_does(manifest: Manifest) -> None:
    kept = [
        f"{plan.sandbox.metadata.namespace}/{plan.sandbox.metadata.name}"
        for plan in manifest.pods
        if plan.needs_keeping
    ]
    if kept:
        say(f"nobody probes or restarts containers from here on: {', '.join(kept)}")
