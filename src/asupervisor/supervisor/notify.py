"""systemd's notification protocol (sd_notify): READY, STATUS, WATCHDOG and STOPPING, as datagrams
to ``$NOTIFY_SOCKET``.
"""

from __future__ import annotations

import logging
import os
import socket

import anyio

from asupervisor.words import bounded_line

_logger = logging.getLogger(__name__)
_VALUE_BYTES = 1024


class Notifier:
    """Sends to systemd, if it started this process.

    Args:
        address: ``$NOTIFY_SOCKET``; empty if systemd did not start this process.
        watchdog_usec: ``$WATCHDOG_USEC`` in microseconds; 0 for no watchdog.
    """

    def __init__(self, address: str = "", watchdog_usec: int = 0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_usec / 1e6

    @classmethod
    def from_environment(cls) -> Notifier:
        """As systemd set it for this process, and for this process only."""
        mine = os.environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
        usec = os.environ.get("WATCHDOG_USEC", "0")
        return cls(os.environ.get("NOTIFY_SOCKET", ""), int(usec) if mine and usec.isdigit() else 0)

    def send(self, **fields: str) -> None:
        """Send ``NAME=value`` lines, such as ``send(READY="1", STATUS="…")``; if systemd does
        not listen, that is only logged.
        """
        if not self._address:
            return
        # A value is one line. systemd ignores a message that is longer than a page, also its READY.
        message = "\n".join(
            f"{name}={bounded_line(value, _VALUE_BYTES)}" for name, value in fields.items()
        )
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.sendto(message.encode(), self._address)
        except OSError as error:
            _logger.warning("systemd could not be notified: %s", error)

    async def run_watchdog(self) -> None:
        """Send a sign of life twice in each watchdog period; it stops with the event loop."""
        while self.watchdog_s > 0:
            self.send(WATCHDOG="1")
            await anyio.sleep(self.watchdog_s / 2)
