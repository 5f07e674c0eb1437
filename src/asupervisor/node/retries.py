"""What could not be read from the engine: when it is tried again, and what the log says of it."""

from __future__ import annotations

import logging

import anyio

from asupervisor.errors import ServiceError

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 30.0
_NAMED = 5


class Retries:
    """Keeps what failed until it succeeds; each is tried again later after each failure.

    Args:
        logger: told once of each that began to fail, many of them in one line.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._due: dict[str, tuple[float, float]] = {}
        """When each is tried again, in the event loop's seconds, and the delay before that."""
        self._untold: dict[str, ServiceError] = {}

    def failed(self, any_id: str, error: ServiceError) -> None:
        """A reading failed."""
        if any_id not in self._due:
            self._untold[any_id] = error
        _, delay_s = self._due.get(any_id, (0.0, _FIRST_DELAY_S / 2))
        delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
        self._due[any_id] = (anyio.current_time() + delay_s, delay_s)

    def done(self, any_id: str) -> None:
        """A reading succeeded, or there is nothing to read any more."""
        self._due.pop(any_id, None)
        self._untold.pop(any_id, None)

    def waiting(self, any_id: str) -> bool:
        """Whether a reading failed, and none has succeeded since."""
        return any_id in self._due

    def due(self) -> list[str]:
        """What is to be tried now."""
        now = anyio.current_time()
        return [any_id for any_id, (at, _) in self._due.items() if at <= now]

    def tell(self) -> None:
        """Log what began to fail since the last time, in one line."""
        if not self._untold:
            return
        names = [_name(subject) for subject in self._untold]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        self._logger.warning(
            "%s%s could not be read from Docker Engine and will be tried again; shown as last known"
            " meanwhile: %s",
            ", ".join(names[:_NAMED]),
            more,
            next(iter(self._untold.values())),
        )
        self._untold.clear()


def _name(subject: str) -> str:
    """A container's id or an image's, shortened; an image's name as it is."""
    if subject.startswith("sha256:"):
        return subject[:19]
    return subject[:12] if len(subject) == 64 else subject
