"""Which reading shows a change: one reading serves both the verb that made the change and the event
that reports it, whichever comes first.
"""

from __future__ import annotations

from collections.abc import Callable

from asupervisor.single_flight import Flight


class Changes:
    """Matches the events of containers with the verbs that caused them.

    Args:
        read: starts a new reading of a container; gives what ends with that reading.
    """

    def __init__(self, read: Callable[[str], Flight[None]]) -> None:
        self._read = read
        self._told: dict[str, tuple[str, Flight[None]]] = {}
        """The last event of each container that no verb has used yet, and its reading."""
        self._to_come: dict[str, str] = {}
        """For each container, the event that is still to come of a change that was already read."""

    def told(self, any_id: str, action: str) -> None:
        """An event came."""
        if self._to_come.pop(any_id, "") != action:
            self._told[any_id] = (action, self._read(any_id))

    def made(self, any_id: str, action: str) -> Flight[None]:
        """A verb changed a container, which the engine has answered.

        Args:
            any_id: of the container.
            action: the event by which the engine tells of it; empty where there is none.

        Returns:
            The reading that shows it. If the container's last event is that of the change, it is
            the reading of the event. Otherwise it is a new one, and the event of the change, if it
            comes next, starts none.
        """
        last, reading = self._told.pop(any_id, ("", None))
        if reading is None or last != action:
            reading = self._read(any_id)
            if action:
                self._to_come[any_id] = action
        return reading

    def forget(self, any_id: str) -> None:
        """A container is gone."""
        self._told.pop(any_id, None)
        self._to_come.pop(any_id, None)

    def gap(self) -> None:
        """Events may be missing between those that came and the next."""
        self._told.clear()
        self._to_come.clear()
