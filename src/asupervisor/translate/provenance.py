"""Who made an engine container, and which of its labels are trusted.

The engine gives a container the labels of its image where its creator set none of that key, and
``docker commit`` copies a container's labels into an image. So a label proves nothing by itself.
Two things do:

- The **seal**, a label of this service's: an authentication code, with a key of the node, of the
  container's name and of every label that this service gave it. Neither an image nor another tool
  can make one, and one that was copied does not fit another name. What is sealed is trusted; every
  other label is the image's.
- The **name**: an image cannot choose it, and neither ``docker commit`` nor ``docker run`` copies
  it. A container without a seal that fits is a peer's (cri-dockerd, dockershim), or one that was
  made before this service sealed, or whose key was lost. It is a pod's if its name is that of a
  pod's container and none of its labels says otherwise. Only those of its labels are trusted
  that these makers always set, so that no image can: type, sandbox id and log path.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from asupervisor.errors import InvalidArgument
from asupervisor.translate.cgroup_files import CgroupSettings
from asupervisor.translate.documents import text, text_map
from asupervisor.translate.labels import (
    CGROUP_LABEL,
    CONTAINER_NAME_LABEL,
    IMAGE_REF_LABEL,
    LOG_PATH_LABEL,
    SANDBOX_ID_LABEL,
    SEAL_LABEL,
    TYPE_CONTAINER,
    TYPE_LABEL,
    TYPE_SANDBOX,
    USER_IMAGE_LABEL,
    split_labels,
)
from asupervisor.translate.names import SANDBOX_CONTAINER_NAME, ContainerName, parse_container_name

KEY_BYTES = 32
_POD_LOGS = "/var/log/pods"
"""Where kubelet keeps logs unless it is told otherwise."""
_LONGEST_PATH = 4096
_LONGEST_SEAL = 4 << 20
"""A seal contains the keys of the labels, and these may be nearly all of a Pod, of 1.5 MiB at
most.
"""
_CODE_DIGITS = 2 * hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A container of a pod, and which of its labels are trusted.

    Args:
        kind: :data:`TYPE_SANDBOX` or :data:`TYPE_CONTAINER`.
        name: out of the engine's name of it.
        labels, annotations: those of the CRI.
        sandbox_id: of its sandbox; empty for a sandbox, and where a peer tells none.
        log_path: its CRI log file as it was asked for; empty for none.
        log_target: the same where this service may write it.
        user_image: the image as the pod's manifest has it, where that is known.
        image_ref: what its status calls its image, where that is known.
        cgroup: what is to be written to its cgroup files.
        sealed: whether this service can prove that it made it.
    """

    kind: str
    name: ContainerName
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    sandbox_id: str = ""
    log_path: str = ""
    log_target: str = ""
    user_image: str = ""
    image_ref: str = ""
    cgroup: CgroupSettings = field(default_factory=CgroupSettings)
    sealed: bool

    def fits(self, pod_name: str, namespace: str, uid: str) -> bool:
        """Whether it can be of the pod that has the sandbox which it names.

        Args:
            pod_name, namespace, uid: of that sandbox; an empty uid is not known.
        """
        if self.sealed:
            return True
        return (self.name.pod_name, self.name.namespace) == (pod_name, namespace) and (
            uid in ("", self.name.pod_uid)
        )


class Seal:
    """Seals the labels of containers that are made here, and finds out who made a container.

    Args:
        key: the node's, of :data:`KEY_BYTES`; without one nothing is proved, and every container is
            read as a peer's.
    """

    def __init__(self, key: bytes = b"") -> None:
        self._key = key

    def sealed(self, labels: Mapping[str, str], name: str) -> dict[str, str]:
        """Labels with the seal among them.

        Args:
            labels: every label that the container is going to be given.
            name: under which the engine is going to have it.

        Raises:
            InvalidArgument: the labels have too long keys.
        """
        keys = sorted(key for key in labels if key != SEAL_LABEL)
        told = json.dumps(keys, separators=(",", ":"))
        contents = _digest(labels, keys)
        seal = f"{self._code(name, contents, told)} {contents} {told}"
        if len(seal) > _LONGEST_SEAL:
            raise InvalidArgument(
                f"{name}: the keys of its labels and annotations have {len(told)} bytes, which is"
                " more than can be proved to be its own"
            )
        return {**labels, SEAL_LABEL: seal}

    def origin(self, document: Any) -> Origin | None:
        """Who made a container, out of its inspect document; None for one that is not a pod's."""
        name, labels = text(document, "Name"), text_map(document, "Config", "Labels")
        parts = parse_container_name(name)
        if parts is None:
            return None
        ours = self._unsealed(name.removeprefix("/"), labels)
        if ours is not None:
            return _ours(parts, ours)
        return _peers(parts, labels)

    def _unsealed(self, name: str, labels: Mapping[str, str]) -> dict[str, str] | None:
        """The labels that this service gave a container; None where it did not make it."""
        seal = labels.get(SEAL_LABEL, "")
        code, _, rest = seal.partition(" ")
        contents, _, told = rest.partition(" ")
        if not self._key or len(code) != _CODE_DIGITS or len(seal) > _LONGEST_SEAL:
            return None
        # Nothing of it is parsed before it is known to be ours.
        if not hmac.compare_digest(_bytes(code), _bytes(self._code(name, contents, told))):
            return None
        keys = json.loads(told)
        if any(key not in labels for key in keys) or _digest(labels, keys) != contents:
            return None
        return {key: labels[key] for key in keys}

    def _code(self, name: str, contents: str, told: str) -> str:
        # Neither the name nor the digest holds a line break.
        message = _bytes(f"asupervisor labels 1\n{name}\n{contents}\n{told}")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


def may_be_a_pods(names: Iterable[Any], labels: Any) -> bool:
    """Whether a container can be a pod's, judged only by what a list or an event says of it.

    Args:
        names: the engine's names of it; none where they are not known.
        labels: those of the container and of its image.
    """
    if not isinstance(labels, Mapping) or TYPE_LABEL not in labels:
        return False
    told = [name for name in names if isinstance(name, str) and name]
    return not told or any(parse_container_name(name) is not None for name in told)


def _ours(parts: ContainerName, ours: Mapping[str, str]) -> Origin:
    labels, annotations = split_labels(ours)
    log_path = ours.get(LOG_PATH_LABEL, "")
    return Origin(
        kind=ours.get(TYPE_LABEL, ""),
        name=parts,
        labels=labels,
        annotations=annotations,
        sandbox_id=ours.get(SANDBOX_ID_LABEL, ""),
        log_path=log_path,
        log_target=log_path,
        user_image=ours.get(USER_IMAGE_LABEL, ""),
        image_ref=ours.get(IMAGE_REF_LABEL, ""),
        cgroup=CgroupSettings.from_label(ours.get(CGROUP_LABEL, "")),
        sealed=True,
    )


def _peers(parts: ContainerName, told: Mapping[str, str]) -> Origin | None:
    kind = told.get(TYPE_LABEL)
    is_sandbox = parts.container == SANDBOX_CONTAINER_NAME
    if kind != (TYPE_SANDBOX if is_sandbox else TYPE_CONTAINER):
        return None
    for key, part in (
        ("io.kubernetes.pod.name", parts.pod_name),
        ("io.kubernetes.pod.namespace", parts.namespace),
        ("io.kubernetes.pod.uid", parts.pod_uid),
        (CONTAINER_NAME_LABEL, parts.container),
    ):
        if told.get(key, part) != part:
            return None
    labels, annotations = split_labels(told)
    origin = Origin(kind=kind, name=parts, labels=labels, annotations=annotations, sealed=False)
    if is_sandbox:
        return origin
    log_path = _whole_path(told.get(LOG_PATH_LABEL, ""))
    return replace(
        origin,
        sandbox_id=told.get(SANDBOX_ID_LABEL, ""),
        log_path=log_path,
        log_target=log_path if _in_pod_logs(log_path, parts) else "",
    )


def _whole_path(path: str) -> str:
    """A path as the peers write it, absolute and normalised; else empty."""
    if (
        not path.startswith("/")
        or path.startswith("//")
        or path == "/"
        or len(path) > _LONGEST_PATH
        or posixpath.normpath(path) != path
        or not path.isprintable()
    ):
        return ""
    return path


def _in_pod_logs(path: str, parts: ContainerName) -> bool:
    """Whether a path is where kubelet has the logs of this very pod: in a directory
    ``<namespace>_<pod name>_<pod uid>``. Other clients put files into the directory above it.
    """
    directory = posixpath.dirname(path)
    pod = f"{parts.namespace}_{parts.pod_name}_{parts.pod_uid}"
    return (directory == _POD_LOGS and path.endswith(".log")) or pod in directory.split("/")


def _digest(labels: Mapping[str, str], keys: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for key in keys:
        for word in (key, labels[key]):
            content = _bytes(word)
            digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


def _bytes(word: str) -> bytes:
    return word.encode(errors="replace")
