"""CRI labels and annotations as engine labels, and back: the annotations carry a prefix, the
internal ones stay hidden.

What is read back here proves nothing by itself, since the engine adds an image's labels to a
container's; see :mod:`asupervisor.translate.provenance`.
"""

from __future__ import annotations

from collections.abc import Mapping

from asupervisor.errors import InvalidArgument
from asupervisor.translate.names import SANDBOX_CONTAINER_NAME

TYPE_LABEL = "io.kubernetes.docker.type"
TYPE_SANDBOX = "podsandbox"
TYPE_CONTAINER = "container"
SANDBOX_ID_LABEL = "io.kubernetes.sandbox.id"
LOG_PATH_LABEL = "io.kubernetes.container.logpath"
CONTAINER_NAME_LABEL = "io.kubernetes.container.name"
ANNOTATION_PREFIX = "annotation."
CGROUP_LABEL = "io.kubernetes.docker.cgroup"
"""What is to be written to the container's cgroup files once it runs; see
:mod:`asupervisor.translate.cgroup_files`.
"""
USER_IMAGE_LABEL = "io.kubernetes.docker.user-image"
"""The image as the pod's manifest has it; the engine gets the id that kubelet resolved it to."""
IMAGE_REF_LABEL = "io.kubernetes.docker.image-ref"
"""The status' image_ref as it was at the creation: the names of the image may change, the status of
the container must not.
"""
SEAL_LABEL = "io.kubernetes.docker.seal"
"""Proves which of the labels this service set; see :mod:`asupervisor.translate.provenance`."""
_INTERNAL = (
    TYPE_LABEL,
    SANDBOX_ID_LABEL,
    LOG_PATH_LABEL,
    CGROUP_LABEL,
    USER_IMAGE_LABEL,
    IMAGE_REF_LABEL,
    SEAL_LABEL,
    # Of earlier versions; nothing is read from it.
    "io.kubernetes.docker.image-labels",
)


def sandbox_labels(labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, str]:
    """Engine labels of a sandbox."""
    return {
        **_merged(labels, annotations),
        TYPE_LABEL: TYPE_SANDBOX,
        CONTAINER_NAME_LABEL: SANDBOX_CONTAINER_NAME,
    }


def container_labels(
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    sandbox_id: str,
    log_path: str,
    user_image: str = "",
    cgroup: str = "",
) -> dict[str, str]:
    """Engine labels of a container: each internal one is there, so that its image cannot add it.

    Args:
        labels, annotations: as the request has them.
        sandbox_id: of its sandbox.
        log_path: absolute or empty.
        user_image: as the pod's manifest has it.
        cgroup: its cgroup settings, as :meth:`CgroupSettings.label` writes them.
    """
    return {
        **_merged(labels, annotations),
        TYPE_LABEL: TYPE_CONTAINER,
        SANDBOX_ID_LABEL: sandbox_id,
        LOG_PATH_LABEL: log_path,
        USER_IMAGE_LABEL: user_image,
        CGROUP_LABEL: cgroup,
    }


def check_labels(labels: Mapping[str, str], subject: str, of_sandbox: bool = False) -> None:
    """Refuse labels that could not be given back as they are.

    Raises:
        InvalidArgument: it names the key.
    """
    for key in labels:
        if (
            key in _INTERNAL
            or key.startswith(ANNOTATION_PREFIX)
            or (of_sandbox and key == CONTAINER_NAME_LABEL)
        ):
            raise InvalidArgument(
                f'{subject}: the label "{key}" is reserved: it could not be told from what this'
                " service keeps there"
            )


def _merged(labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, str]:
    return {**labels, **{ANNOTATION_PREFIX + key: value for key, value in annotations.items()}}


def split_labels(engine_labels: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """CRI labels and annotations out of the engine labels of a container."""
    is_sandbox = engine_labels.get(TYPE_LABEL) == TYPE_SANDBOX
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    for key, value in engine_labels.items():
        if key in _INTERNAL or (is_sandbox and key == CONTAINER_NAME_LABEL):
            continue
        if key.startswith(ANNOTATION_PREFIX):
            annotations[key.removeprefix(ANNOTATION_PREFIX)] = value
        else:
            labels[key] = value
    return labels, annotations
