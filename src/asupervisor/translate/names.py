"""Names of engine containers: ``k8s_<container or POD>_<pod name>_<namespace>_<pod uid>_<attempt>``
and, after a conflict, ``_<8 hex>``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from asupervisor.errors import InvalidArgument

SANDBOX_CONTAINER_NAME = "POD"
_PREFIX = "k8s"
_LARGEST_ATTEMPT = 2**32 - 1
# The engine takes no other characters in a name; every number is as it is printed.
_NAME = re.compile(
    rf"/?{_PREFIX}_([A-Za-z0-9.-]+)_([A-Za-z0-9.-]+)_([A-Za-z0-9.-]+)_([A-Za-z0-9.-]+)"
    r"_(0|[1-9][0-9]{0,9})(?:_[0-9a-f]{8})?"
)

_ID = re.compile(r"[0-9a-f]{64}")


def is_container_id(word: str) -> bool:
    """Whether a word is the whole id of a container or sandbox, as the engine gives them."""
    return _ID.fullmatch(word) is not None


@dataclass(frozen=True, slots=True)
class ContainerName:
    """The parts that an engine container's name carries."""

    container: str
    pod_name: str
    namespace: str
    pod_uid: str
    attempt: int

    def __str__(self) -> str:
        return "_".join(
            (
                _PREFIX,
                self.container,
                self.pod_name,
                self.namespace,
                self.pod_uid,
                str(self.attempt),
            )
        )


def container_name(
    container: str, pod_name: str, namespace: str, pod_uid: str, attempt: int
) -> str:
    """Compose a name.

    Raises:
        InvalidArgument: a part holds the separator or is empty, so that the name could not be read
            back.
    """
    for what, part in (
        ("container name", container),
        ("pod name", pod_name),
        ("namespace", namespace),
        ("pod uid", pod_uid),
    ):
        if "_" in part:
            raise InvalidArgument(
                f'the {what} "{part}" holds "_", which separates the parts of an engine container'
                " name"
            )
        if not part:
            raise InvalidArgument(
                f"the {what} is empty, so that the engine container {container} of pod"
                f" {namespace}/{pod_name} would have a name that cannot be read back"
            )
    return str(ContainerName(container, pod_name, namespace, pod_uid, attempt))


def parse_container_name(name: str) -> ContainerName | None:
    """Read a name back, with or without the conflict suffix; None when it is not one of ours."""
    found = _NAME.fullmatch(name)
    if found is None or int(found[5]) > _LARGEST_ATTEMPT:
        return None
    return ContainerName(found[1], found[2], found[3], found[4], int(found[5]))
