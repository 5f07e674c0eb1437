"""Names of engine containers: ``k8s_<container or POD>_<pod name>_<namespace>_<pod uid>_<attempt>``
and, after a conflict, ``_<8 hex>``.
"""

from __future__ import annotations

from dataclasses import dataclass

from asupervisor.errors import InvalidArgument

SANDBOX_CONTAINER_NAME = "POD"
_PREFIX = "k8s"


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
        InvalidArgument: a part holds the separator or is empty where the name could not be read
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
    return str(ContainerName(container, pod_name, namespace, pod_uid, attempt))


def parse_container_name(name: str) -> ContainerName | None:
    """Read a name back, with or without the conflict suffix; None when it is not one of ours."""
    parts = name.removeprefix("/").split("_")
    if len(parts) not in (6, 7) or parts[0] != _PREFIX or not parts[5].isdigit():
        return None
    return ContainerName(parts[1], parts[2], parts[3], parts[4], int(parts[5]))
