"""Engine images in the CRI's words, and references as people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from asupervisor.errors import InvalidArgument
from asupervisor.proto import cri

_DEFAULT_REGISTRY = "docker.io"
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}$")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
_PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$"
)
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}$")
_NONE = "<none>"


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
        InvalidArgument: it is none; the text is named.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.match(digest):
        raise InvalidArgument(f'"{text}" is no image reference: "{digest}" is no digest')
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost" or head != head.lower()):
        registry, path = head, tail
    else:
        registry, path = _DEFAULT_REGISTRY, rest
    path, colon, tag = path.partition(":")
    if colon and not _TAG.match(tag):
        raise InvalidArgument(f'"{text}" is no image reference: "{tag}" is no tag')
    if registry == "index.docker.io":
        registry = _DEFAULT_REGISTRY
    if not _PATH.match(path):
        raise InvalidArgument(
            f'"{text}" is no image reference: "{path}" is no repository name (lower case letters,'
            ' digits, "._-/")'
        )
    if registry == _DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    return Reference(registry, path, tag or ("" if digest else "latest"), digest)


def is_image_id(text: str) -> bool:
    """Whether a text is an image's full id, with or without ``sha256:``."""
    return _ID.match(text) is not None


def cri_image(document: dict[str, Any], pinned: bool) -> cri.Image:
    """An image out of its inspect document.

    Args:
        document: ``GET /images/{name}/json``.
        pinned: whether kubelet must never collect it.
    """
    user = str((document.get("Config") or {}).get("User") or "").split(":")[0]
    tags = [tag for tag in document.get("RepoTags") or [] if not tag.startswith(_NONE)]
    digests = [
        digest for digest in document.get("RepoDigests") or [] if not digest.startswith(_NONE)
    ]
    image = cri.Image(
        id=document["Id"],
        repo_tags=tags,
        repo_digests=digests,
        size=int(document.get("Size") or document.get("VirtualSize") or 0),
        pinned=pinned,
        spec=cri.ImageSpec(image=document["Id"]),
    )
    if user.isdigit():
        image.uid.value = int(user)
    elif user:
        image.username = user
    else:
        image.uid.value = 0
    return image
