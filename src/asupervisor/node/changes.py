"""Which reading shows a change: one does for the verb that made it and for the event that tells of
it, whichever comes first.
"""

from __future__ import annotations

from collections.abc import Callable

from asupervisor.single_flight import Flight


class Changes:
    """The changes of containers between their events and the verbs that made them.

    Args:
        read: has a container read, from now on; gives what ends once that is done.
    """

    def __init__(self, read: Callable[[str], Flight[None]]) -> None:
        self._read = read
        self._told: dict[str, tuple[str, Flight[None]]] = {}
        """The last event of each container that no verb has used yet, and its reading."""
        self._to_come: dict[str, str] = {}
        """The event of a change that was read before it came, after the engine's answer."""

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
            The reading that shows it: that of the event, if it is the container's last one, or else
            another, and the event begins none if it is the container's next.
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
