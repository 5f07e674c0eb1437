"""Engine images in the CRI's terms, and image references."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from asupervisor.errors import FailedPrecondition, InvalidArgument
from asupervisor.proto import cri
from asupervisor.translate.accounts import engine_id
from asupervisor.translate.documents import (
    UINT64_MAX,
    at,
    document_id,
    flag,
    mapping,
    sequence,
    text,
    texts,
    whole,
)

_DEFAULT_REGISTRY = "docker.io"
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_NONE = "<none>"
_LONGEST_USER = 256
CONFIG_BYTES = 1 << 20
"""Most bytes of the configuration of an image that may be run. The longest in use have some hundred
KiB of labels.
"""
_MOST_VOLUMES = 256
"""Most volumes of an image that may be run. For each one the engine makes a directory and a record,
and mounts it. For ten thousand, for which a tenth of such a configuration is enough, that takes the
engine half a minute.
"""
SNAPSHOTTER = "io.containerd.snapshotter.v1"
"""What the engine's storage driver calls itself where images are kept in containerd, and the
beginning of the directory's name there.
"""


@dataclass(frozen=True, slots=True)
class Reference:
    """An image reference in its full form.

    Args:
        registry: ``docker.io``, ``localhost:5000``, …
        path: the repository below it, ``library/busybox``.
        tag: ``latest`` where neither tag nor digest was written; empty with only a digest.
        digest: ``sha256:…`` or empty.
    """

    registry: str
    path: str
    tag: str
    digest: str

    @property
    def repository(self) -> str:
        """As the engine prints it: without the default registry and its ``library/``."""
        if self.registry != _DEFAULT_REGISTRY:
            return f"{self.registry}/{self.path}"
        return self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path

    @property
    def name(self) -> str:
        """The reference as the engine lists it in RepoTags or RepoDigests; the digest wins."""
        return (
            f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"
        )


def parse_reference(text: str) -> Reference:
    """Read a reference by the distribution project's grammar.

    Raises:
        InvalidArgument: it is malformed; the text is named.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f'"{text}" is not an image reference: "{digest}" is not a digest')
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost" or head != head.lower()):
        registry, path = head, tail
    else:
        registry, path = _DEFAULT_REGISTRY, rest
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidArgument(f'"{text}" is not an image reference: "{tag}" is not a tag')
    if registry == "index.docker.io":
        registry = _DEFAULT_REGISTRY
    if not _PATH.fullmatch(path):
        raise InvalidArgument(
            f'"{text}" is not an image reference: "{path}" is not a repository name (lower case'
            ' letters, digits, "._-/")'
        )
    if registry == _DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    return Reference(registry, path, tag or ("" if digest else "latest"), digest)


def image_ref(image_id: str, digests: Sequence[str]) -> str:
    """What a container's status calls its image: a digest under which it can be pulled, or its id
    where there is none.
    """
    return f"docker-pullable://{digests[0]}" if digests else f"docker://{image_id}"


def without_scheme(reference: str) -> str:
    """What a status' image_ref refers to."""
    return reference.removeprefix("docker-pullable://").removeprefix("docker://")


def is_image_id(text: str) -> bool:
    """Whether a text is an image's full id, with or without ``sha256:``."""
    return _ID.fullmatch(text) is not None


def uses_containerd_store(info: Mapping[str, Any]) -> bool:
    """Whether the engine keeps images in containerd, by its storage driver's status."""
    return any(
        len(pair) > 1 and str(pair[1]) == SNAPSHOTTER for pair in info.get("DriverStatus") or []
    )


@dataclass(frozen=True, slots=True)
class ImageNames:
    """Names of an image: ``repository:tag`` and ``repository@digest``."""

    tags: tuple[str, ...]
    digests: tuple[str, ...]


def image_names(document: Mapping[str, Any]) -> ImageNames:
    """An image's names out of its inspect document.

    Other entries are left out: the engine's ``<none>`` for a missing name, and the digests that
    Docker 29 and later list among the tags.
    """
    tags, digests = texts(document, "RepoTags"), texts(document, "RepoDigests")
    return ImageNames(
        tuple(dict.fromkeys(tag for tag in tags if "@" not in tag and _NONE not in tag)),
        tuple(dict.fromkeys(digest for digest in digests if "@" in digest and _NONE not in digest)),
    )


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """What the engine's list says of an image: whatever changes in it changes this too.

    Args:
        id: the image's id.
        size: bytes that it takes, of all its platforms.
        facts: everything else, to be compared.
    """

    id: str
    size: int
    facts: tuple[Any, ...]


def image_summary(entry: Mapping[str, Any]) -> ImageSummary:
    """One entry of ``GET /images/json``."""
    return ImageSummary(
        text(entry, "Id"),
        _bytes(entry, "Size"),
        (
            sorted(texts(entry, "RepoTags")),
            sorted(texts(entry, "RepoDigests")),
            at(entry, "Created"),
            sorted(
                (text(manifest, "ID"), flag(manifest, "Available"))
                for manifest in sequence(entry, "Manifests")
            ),
        ),
    )


_MACHINES = {
    "x86_64": ("amd64", "386"),
    "aarch64": ("arm64", "arm"),
    "armv7l": ("arm",),
    "i686": ("386",),
}
"""What the engine calls its machine, and its architectures as images have them (GOARCH)."""


def has_content(document: Mapping[str, Any], machine: str) -> bool:
    """Whether the engine has an image's content for its own platform.

    With the containerd image store, the engine may have an image for other platforms only. An image
    for a single platform is accepted as it is: the engine decides whether it runs.

    Args:
        document: the inspect document, with ``Manifests`` from API 1.48 on.
        machine: ``Architecture`` of the engine's ``/info``.
    """
    manifests = [
        manifest
        for manifest in sequence(document, "Manifests")
        if text(manifest, "Kind") in ("image", "unknown")
    ]
    if not manifests:
        return at(document, "Descriptor") is None or bool(text(document, "Os"))
    ours = _MACHINES.get(machine, (machine,))
    for manifest in manifests:
        platform = mapping(manifest, "ImageData", "Platform")
        alone = text(manifest, "ID") == text(document, "Id")
        fits = text(platform, "os") == "linux" and text(platform, "architecture") in ours
        # An unpacked image runs; containerd does not fetch layers whose files it has already.
        unpacked = whole(manifest, "ImageData", "Size", "Unpacked") > 0
        if (flag(manifest, "Available") or unpacked) and (alone or fits):
            return True
    return False


def image_size(document: Mapping[str, Any], summary: ImageSummary | None) -> int:
    """The bytes that an image takes, never 0: kubelet refuses an image of size 0, and one without
    files takes some bytes too, since its configuration is stored.

    With the containerd image store some engines (28, 29) count only compressed layers when they are
    asked for one image, and everything in their list.

    Args:
        document: the inspect document.
        summary: of the engine's list; None where the image was read alone, when the manifests of
            the document are added up as the engine does for its list.
    """
    if summary is not None and summary.size:
        return summary.size
    manifests = sequence(document, "Manifests")
    total = sum(_bytes(manifest, "Size", "Total") for manifest in manifests)
    found = min(total, UINT64_MAX)
    return found or _bytes(document, "Size") or _bytes(document, "VirtualSize") or 1


def _bytes(document: Any, *path: str) -> int:
    return whole(document, *path, low=0, high=UINT64_MAX)


def bounded_document(document: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """An inspect document as it may be kept, and the bytes of its configuration.

    The engine does not bound what an image's maker wrote: what is longer than :data:`CONFIG_BYTES`
    is left out.

    Args:
        document: ``GET /images/{name}/json``, whatever it holds.
    """
    sizes = {key: _json_bytes(value) for key, value in document.items()}
    kept = {key: value for key, value in document.items() if sizes[key] <= CONFIG_BYTES}
    return kept, sizes.get("Config", 0)


def _json_bytes(value: object) -> int:
    try:
        return len(orjson.dumps(value))
    except TypeError:  # nested too deeply
        return CONFIG_BYTES + 1


def check_runnable(config_bytes: int, image_id: str, subject: str) -> None:
    """Refuse to run an image whose configuration the engine would carry in every list and event of
    its containers.

    Args:
        config_bytes: as :func:`bounded_document` gave it.
        image_id, subject: the image, and the container in errors.

    Raises:
        FailedPrecondition: it is too long.
    """
    if config_bytes > CONFIG_BYTES:
        raise FailedPrecondition(
            f"{subject}: the configuration of image {image_id} (labels, environment, command …) has"
            f" {config_bytes} bytes; one with more than {CONFIG_BYTES} is not run",
            subject=image_id,
        )


def check_volumes(document: Mapping[str, Any], subject: str) -> None:
    """Refuse to run an image for which the engine would make very many volumes.

    Args:
        document: of the image.
        subject: the container, in errors.

    Raises:
        FailedPrecondition: it declares too many.
    """
    count = len(mapping(document, "Config", "Volumes"))
    if count > _MOST_VOLUMES:
        image_id = document_id(document, "image")
        raise FailedPrecondition(
            f"{subject}: image {image_id} declares {count} volumes; one with more than"
            f" {_MOST_VOLUMES} is not run",
            subject=image_id,
        )


def cri_image(
    document: dict[str, Any], pinned: bool, summary: ImageSummary | None = None
) -> cri.Image:
    """An image out of its inspect document.

    kubelet's runAsNonRoot relies on ``uid`` and ``username``: a user is given as a uid only where
    the engine would use exactly that uid, else as a name, which kubelet does not accept as
    non-root.

    Args:
        document: ``GET /images/{name}/json``, whatever it holds.
        pinned: whether kubelet must never collect it.
        summary: of the engine's list; None where the image was read alone.

    Raises:
        Internal: it has no id.
    """
    image_id = document_id(document, "image")
    user = text(document, "Config", "User").split(":")[0]
    names = image_names(document)
    image = cri.Image(
        id=image_id,
        repo_tags=names.tags,
        repo_digests=names.digests,
        size=image_size(document, summary),
        pinned=pinned,
        spec=cri.ImageSpec(image=image_id),
    )
    uid = engine_id(user or "0")
    if uid is None:
        # No kernel, engine or client takes a longer name, and every list has it.
        image.username = user[:_LONGEST_USER]
    else:
        image.uid.value = uid
    return image
