"""CRI labels and annotations as engine labels, and back: the annotations carry a prefix, the
internal ones stay hidden.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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
IMAGE_LABELS_LABEL = "io.kubernetes.docker.image-labels"
"""Keys of labels that the engine copies from the image, as JSON: nobody gave them to the pod or
container.
"""
USER_IMAGE_LABEL = "io.kubernetes.docker.user-image"
"""The image as the pod's manifest has it; the engine is told the id that kubelet resolved it to."""
IMAGE_REF_LABEL = "io.kubernetes.docker.image-ref"
"""The status' image_ref as it was at the creation: names of the image come and go, the container's
identity stays.
"""
_INTERNAL = (
    TYPE_LABEL,
    SANDBOX_ID_LABEL,
    LOG_PATH_LABEL,
    CGROUP_LABEL,
    IMAGE_LABELS_LABEL,
    USER_IMAGE_LABEL,
    IMAGE_REF_LABEL,
)


def sandbox_labels(labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, str]:
    """Engine labels of a sandbox."""
    return {
        **_merged(labels, annotations),
        TYPE_LABEL: TYPE_SANDBOX,
        CONTAINER_NAME_LABEL: SANDBOX_CONTAINER_NAME,
    }


def container_labels(
    labels: Mapping[str, str], annotations: Mapping[str, str], sandbox_id: str, log_path: str
) -> dict[str, str]:
    """Engine labels of a container; ``log_path`` is absolute or empty."""
    return {
        **_merged(labels, annotations),
        TYPE_LABEL: TYPE_CONTAINER,
        SANDBOX_ID_LABEL: sandbox_id,
        LOG_PATH_LABEL: log_path,
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


def note_image_labels(
    engine_labels: dict[str, str], image_document: Mapping[str, Any] | None
) -> None:
    """Note in a container's labels which more the engine will add from its image.

    Args:
        engine_labels: as they are about to be sent; changed.
        image_document: the image's inspect document, if the node has it.
    """
    config = (image_document or {}).get("Config") or {}
    added = sorted(set(config.get("Labels") or {}) - set(engine_labels))
    if added:
        engine_labels[IMAGE_LABELS_LABEL] = json.dumps(added)


def _from_image(engine_labels: Mapping[str, str]) -> frozenset[str]:
    try:
        return frozenset(json.loads(engine_labels.get(IMAGE_LABELS_LABEL) or "[]"))
    except (ValueError, TypeError):
        return frozenset()


def split_labels(engine_labels: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """CRI labels and annotations out of an engine container's labels."""
    from_image = _from_image(engine_labels)
    is_sandbox = engine_labels.get(TYPE_LABEL) == TYPE_SANDBOX
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    for key, value in engine_labels.items():
        if key in _INTERNAL or key in from_image or (is_sandbox and key == CONTAINER_NAME_LABEL):
            continue
        if key.startswith(ANNOTATION_PREFIX):
            annotations[key.removeprefix(ANNOTATION_PREFIX)] = value
        else:
            labels[key] = value
    return labels, annotations
