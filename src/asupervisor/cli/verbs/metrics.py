"""``metrics``: every metric of pods and containers, as the server counts them."""

from __future__ import annotations

import argparse

from asupervisor.cli.output import print_document, print_table
from asupervisor.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    """The pod."""
    parser.add_argument("pod", nargs="?", metavar="POD", help="only of this pod")


async def run(client: Client, options: argparse.Namespace) -> int:
    """Print a line for each metric."""
    pod_id = (await client.find_pod(options.pod)).id if options.pod else ""
    found = [
        each
        for each in await client.runtime.list_pod_sandbox_metrics(stream=True)
        if pod_id in ("", each.pod_sandbox_id)
    ]
    if print_document(options.output, found):
        return 0
    rows = [
        (metric.name, str(metric.value.value), " ".join(metric.label_values))
        for pod in found
        for metrics in (pod.metrics, *(each.metrics for each in pod.container_metrics))
        for metric in metrics
    ]
    print_table(("METRIC", "VALUE", "LABELS"), rows)
    return 0
