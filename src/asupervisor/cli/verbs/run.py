"""``run``: a pod from a manifest, as kubelet would start it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import anyio

from asupervisor.cli.client import Client
from asupervisor.cli.find import matching_pods
from asupervisor.cli.manifest import ContainerPlan, PodPlan, read_manifest
from asupervisor.cli.output import print_json
from asupervisor.errors import AlreadyExists, ConfigError, FailedPrecondition
from asupervisor.proto import cri

_CLEANUP_DEADLINE_S = 60.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """The manifest."""
    parser.add_argument("file", metavar="FILE", help="a Pod in YAML; -: standard input")
    parser.add_argument(
        "--log-directory",
        default="/var/log/pods",
        metavar="DIR",
        help="of pod logs (default: /var/log/pods)",
    )


async def run(client: Client) -> int:
    """Sandbox, images, containers. What fails takes the whole pod with it."""
    plan = read_manifest(
        _read(client.options.file), client.options.file, _absolute(client.options.log_directory)
    )
    metadata = plan.sandbox.metadata
    name = f"{metadata.namespace}/{metadata.name}"
    if matching_pods(await client.runtime.list_pod_sandbox(), name):
        raise AlreadyExists(
            f'there is a pod "{name}"; remove it first (asupervisor rm -f {name})', subject=name
        )
    for container in plan.containers:
        await _have_image(client, container)
    _make_log_directories(plan)
    sandbox_id = await client.runtime.run_pod_sandbox(plan.sandbox, plan.runtime_handler)
    started: dict[str, str] = {}
    try:
        for container in plan.containers:
            container_id = await client.runtime.create_container(
                sandbox_id, container.config, plan.sandbox
            )
            await client.runtime.start_container(container_id)
            started[container.config.metadata.name] = container_id
    except BaseException:
        with anyio.move_on_after(_CLEANUP_DEADLINE_S, shield=True):
            await client.runtime.stop_pod_sandbox(sandbox_id)
            await client.runtime.remove_pod_sandbox(sandbox_id)
        raise
    if client.options.output == "json":
        print_json({"podSandboxId": sandbox_id, "containers": started})
    else:
        print(f"pod {name} runs: {sandbox_id[:13]}")
        for container_name, container_id in started.items():
            print(f"  {container_name}: {container_id[:13]}")
    return 0


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not text in UTF-8") from error


def _absolute(directory: str) -> Path:
    return Path(directory).absolute()


async def _have_image(client: Client, container: ContainerPlan) -> None:
    image: cri.ImageSpec = container.config.image
    here = (await client.images.image_status(image)).HasField("image")
    if container.pull_policy == "Never" and not here:
        raise FailedPrecondition(
            f"{image.image} is not on the node and imagePullPolicy is Never", subject=image.image
        )
    if container.pull_policy == "Always" or (container.pull_policy == "IfNotPresent" and not here):
        await client.images.pull_image(image)


def _make_log_directories(plan: PodPlan) -> None:
    """The caller of the CRI makes them, as kubelet does."""
    directory = Path(plan.sandbox.log_directory)
    try:
        for container in plan.containers:
            (directory / container.config.log_path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FailedPrecondition(
            f"{directory} cannot be made: {error.strerror}; choose another --log-directory"
        ) from error
