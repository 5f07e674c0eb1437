"""An engine and a service of the benchmark's own, in network and mount namespaces of their own, as
the tests have them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness.engine import BUSYBOX_IMAGE, Engine, busybox_archive
from tests.harness.namespace import leave_the_network
from tests.harness.service import Service

IMAGE = BUSYBOX_IMAGE


@contextmanager
def service() -> Iterator[str]:
    """Path of the socket of a service that lives as long as the block.

    Raises:
        AssertionError: engine or service do not come up; the message names their logs.
    """
    leave_the_network()
    engine = Engine()
    running = Service(engine)
    # Its share of the cores is its own, as under a service manager, and not the load generator's.
    running.prefix = ("setsid",)
    try:
        engine.start()
        engine.load(busybox_archive())
        running.start()
        yield str(running.socket)
    finally:
        if running.process is not None:
            running.stop()
        engine.destroy()
