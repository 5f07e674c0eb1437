"""``info``: what the runtime says about itself."""

from __future__ import annotations

import argparse

from asupervisor.cli.output import as_document, print_document, print_fields, verbose_information
from asupervisor.client import Client

_REQUIRED = ("RuntimeReady", "NetworkReady")
"""The conditions that the CRI requires of a node; others are only shown."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print the status; exit code 1 while the runtime or its network is not ready."""
    answer = await client.runtime.status(verbose=True)
    conditions = answer.status.conditions
    document = as_document(answer)
    document["info"] = verbose_information(answer.info)
    if not print_document(options.output, document):
        version = await client.runtime.version()
        fields = [
            ("Runtime", f"{version.runtime_name} {version.runtime_version}"),
            ("CRI", client.runtime.api_version or ""),
        ]
        for condition in conditions:
            why = "" if condition.status else f" ({condition.reason}: {condition.message})"
            fields.append((condition.type, f"{str(condition.status).lower()}{why}"))
        handlers = ", ".join(handler.name or "(default)" for handler in answer.runtime_handlers)
        print_fields([*fields, ("Runtime handlers", handlers)])
    ready = {condition.type for condition in conditions if condition.status}
    return 0 if ready.issuperset(_REQUIRED) else 1
