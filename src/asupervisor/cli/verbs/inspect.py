"""``inspect``: everything about a pod, a container or an image."""

from __future__ import annotations

import argparse
from typing import Any

from asupervisor.cli.output import as_document, print_document, print_json, verbose_information
from asupervisor.client import Client
from asupervisor.client.containers import Container
from asupervisor.errors import NotFound


def arguments(parser: argparse.ArgumentParser) -> None:
    """The object."""
    parser.add_argument("name", metavar="POD, POD/CONTAINER or IMAGE", help="or the start of an id")


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print the verbose status of the pod, else the container, else the image of this name."""
    name = options.name
    answer: Any
    try:
        found = await client.find(name)
    except NotFound as nothing_runs:
        answer = await client.image_service.image_status(name, verbose=True)
        if not answer.HasField("image"):
            raise NotFound(f'no pod, container or image "{name}"', subject=name) from nothing_runs
    else:
        if isinstance(found, Container):
            answer = await client.runtime.container_status(found.id, verbose=True)
        else:
            answer = await client.runtime.pod_sandbox_status(found.id, verbose=True)
    document = as_document(answer)
    document["info"] = verbose_information(answer.info)
    if not print_document(options.output, document):
        print_json(document)
    return 0
