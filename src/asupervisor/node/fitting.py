"""Keeps lists short enough for one message, whatever tenants wrote into their pods.

kubelet takes 16 MiB, and a node whose pods it cannot list is not ready. A tenant may write 256 KiB
of annotations and more of labels into each of its pods. So where a list would be longer, its
largest elements have only some of their labels and annotations; their status has them all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from google.protobuf.message import Message

from asupervisor.errors import ResourceExhausted
from asupervisor.proto.wire import encode_field, payload

_logger = logging.getLogger(__name__)

MESSAGE_BYTES = 16 << 20
"""Bytes of the longest message that kubelet takes and that this service sends."""
KEPT_BYTES = 4 << 10
"""Bytes that a shortened element keeps of its labels, and of its annotations: the shortest ones."""
_ALWAYS = frozenset(
    {
        "io.kubernetes.pod.name",
        "io.kubernetes.pod.namespace",
        "io.kubernetes.pod.uid",
        "io.kubernetes.container.name",
    }
)
"""Labels by which kubelet finds out whose a container is."""
_SILENT_S = 600.0
_PLACES = ("", "attributes", "linux.containers.attributes")
"""Where an element of a list, or of a list of stats, has labels and annotations."""


class Fitting:
    """Joins lists, shortens them where it is necessary, and logs that.

    Args:
        limit: bytes of a message.
        shortened: told how many elements of a list were shortened (metrics).
    """

    def __init__(
        self, limit: int = MESSAGE_BYTES, shortened: Callable[[int], None] = lambda count: None
    ) -> None:
        self._limit = limit
        self._shortened = shortened
        self._silent_until: dict[str, float] = {}

    def join(self, entries: Sequence[bytes], kind: type[Message]) -> bytes:
        """A list as one message.

        Args:
            entries: each an encoded field 1, which is the repeated field of every List* response.
            kind: of the elements.

        Raises:
            ResourceExhausted: it is longer even with its elements shortened.
        """
        limit = self._limit
        whole = size = sum(map(len, entries))
        joined, count = list(entries), 0
        # Sorted only where it must be: lists are asked for all the time.
        order = sorted(range(len(joined)), key=lambda at: -len(joined[at])) if size > limit else []
        for at in order:
            if size <= limit:
                break
            short = _shortened(joined[at], kind)
            size -= len(joined[at]) - len(short)
            joined[at], count = short, count + 1
        if count:
            self._tell(kind.DESCRIPTOR.name, count, whole)
        if size > limit:
            raise ResourceExhausted(
                f"the list of {len(joined)} {kind.DESCRIPTOR.name} has {size} bytes, even without"
                f" its long labels and annotations; a message has {limit}. Its Stream form"
                " has no limit"
            )
        return b"".join(joined)

    def _tell(self, name: str, count: int, whole: int) -> None:
        self._shortened(count)
        now = time.monotonic()
        # Otherwise each list that is asked for would be a line of the log.
        if now < self._silent_until.get(name, now):
            return
        self._silent_until[name] = now + _SILENT_S
        _logger.warning(
            "the list of %s has %d bytes, more than the %d of a message: labels and annotations"
            " of its %d largest are left out in part; their status has them all",
            name,
            whole,
            self._limit,
            count,
        )


def _shortened(entry: bytes, kind: type[Message]) -> bytes:
    message = kind.FromString(payload(entry))
    for place in _PLACES:
        for holder in _at(message, [name for name in place.split(".") if name]):
            for name in ("labels", "annotations"):
                if name in holder.DESCRIPTOR.fields_by_name:
                    _keep_shortest(getattr(holder, name))
    return encode_field(1, message)


def _at(message: Any, path: list[str]) -> list[Any]:
    """The messages under a path of fields, those of a repeated field one by one."""
    if not path:
        return [message]
    if path[0] not in message.DESCRIPTOR.fields_by_name:
        return []
    value = getattr(message, path[0])
    return [
        found
        for one in (value if hasattr(value, "append") else (value,))
        for found in _at(one, path[1:])
    ]


def _keep_shortest(words: MutableMapping[str, str]) -> None:
    left = KEPT_BYTES
    for key in sorted(words, key=lambda key: (key not in _ALWAYS, len(key) + len(words[key]))):
        left -= len(key.encode()) + len(words[key].encode())
        if left < 0 and key not in _ALWAYS:
            del words[key]
