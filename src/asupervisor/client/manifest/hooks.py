"""Runs ``preStop``, which is read from an annotation of the container."""

from __future__ import annotations

import json
import logging
import math
import time
from typing import TYPE_CHECKING

from asupervisor.client.manifest.actions import read_hook
from asupervisor.client.manifest.fields import Fields
from asupervisor.client.manifest.perform import failure_of
from asupervisor.errors import ServiceError

if TYPE_CHECKING:
    from asupervisor.client.containers import Container

_logger = logging.getLogger("asupervisor.client.pods")
_LEAST_GRACE_S = 2
"""Least time that is left for the stop signal after the hook, as in kubelet."""


async def run_pre_stop(container: Container, document: str, address: str, grace_s: int) -> int:
    """Run the hook of a running container; one that fails does not keep it from being stopped.

    Args:
        container: which.
        document: the hook, as its annotation has it.
        address: of the pod.
        grace_s: seconds for the hook and the stop signal together.

    Returns:
        What is left of the grace, in whole seconds.
    """
    started = time.monotonic()
    try:
        hook = read_hook(Fields(json.loads(document), "preStop"), {})
        failure = await failure_of(hook, container, address, float(grace_s))
    except (ServiceError, ValueError, RecursionError) as error:
        failure = str(error)
    if failure:
        _logger.warning('preStop of container "%s" failed: %s', container.name, failure)
    return max(_LEAST_GRACE_S, grace_s - math.ceil(time.monotonic() - started))
