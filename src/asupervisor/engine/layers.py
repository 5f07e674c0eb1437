"""Files of an image, read where the engine's overlay2 driver keeps its layers on this machine.

No container has to be made for them. What is in a layer comes from the image and is not trusted:
every name is opened by itself beneath a directory that is held, and links are resolved here, within
the image. Where a layer has something that this code does not handle, :class:`NotAtHand` tells the
caller to ask the engine instead."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from asupervisor.errors import FailedPrecondition, Internal
from asupervisor.translate.documents import text

_LINKS = 40
"""Links that are followed for one path, as many as the kernel follows."""
_LAYERS = 500
"""overlayfs itself takes 500 lower directories."""
_OPENED = 2000
"""Descriptors for one path; an ordinary one takes as many as its image has layers, or twice that. A
link that winds through a thousand directories would take all that this process may have.
"""
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_MARKS = ("trusted.overlay.redirect", "trusted.overlay.metacopy")
"""Attributes by which overlayfs finds a file's content in another layer. The engine's layers have
none.
"""


class NotAtHand(Internal):
    """The layers cannot be read here; the engine has to be asked."""


def layer_directories(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The directories of an image's layers, the uppermost first; none where its inspect document
    names none of overlay2's.
    """
    if text(document, "GraphDriver", "Name") != "overlay2":
        return ()
    upper = text(document, "GraphDriver", "Data", "UpperDir")
    lower = text(document, "GraphDriver", "Data", "LowerDir")
    found = tuple(path for path in (upper, *lower.split(":")) if path)
    return found if len(found) <= _LAYERS and all(map(os.path.isabs, found)) else ()


def read_image_file(layers: tuple[str, ...], path: str, limit_bytes: int) -> bytes:
    """The content of a regular file of an image; empty where it has none of that path. Blocks.

    Args:
        layers: as :func:`layer_directories` gives them.
        path: absolute, in the image.
        limit_bytes: what is longer is an error.

    Raises:
        NotAtHand: the layers cannot be read here.
        FailedPrecondition: it is longer than the limit.
    """
    with ExitStack() as held:
        found = _resolve(layers, path, held)
        if not isinstance(found, int) or not stat.S_ISREG(os.fstat(found).st_mode):
            return b""
        try:
            with open(f"/proc/self/fd/{found}", "rb") as file:
                content = file.read(limit_bytes + 1)
        except OSError as error:
            raise NotAtHand(f"{path} of an image cannot be read in its layer: {error}") from error
    if len(content) > limit_bytes:
        raise FailedPrecondition(f"the image's {path} is longer than {limit_bytes} bytes")
    return content


def has_image_path(layers: tuple[str, ...], path: str) -> bool:
    """Whether an image has something of that path, links followed within it. Blocks.

    Raises:
        NotAtHand: the layers cannot be read here.
    """
    with ExitStack() as held:
        return _resolve(layers, path, held) is not None


def _resolve(layers: tuple[str, ...], path: str, held: ExitStack) -> int | list[int] | None:
    """What a path is: a file by its descriptor, a directory by its layers', or None."""
    if not layers:
        raise NotAtHand("the engine does not tell where an image's layers are")
    try:
        root = [_hold(held, os.open(layer, _DIRECTORY)) for layer in layers]
    except OSError as error:
        raise NotAtHand(f"the layers of an image are not here: {error}") from error
    trail: list[list[int]] = [root]
    names, links, opened = _names(path), 0, len(root)
    while names:
        name = names.pop()
        if name == "..":
            trail = trail[:-1] or [root]
            continue
        opened += len(trail[-1])
        if opened > _OPENED:
            raise NotAtHand(f"{path} of an image leads through too many directories")
        found = _entry(trail[-1], name, held)
        if isinstance(found, list):
            trail.append(found)
            continue
        if found is None or not stat.S_ISLNK(os.fstat(found).st_mode):
            # A file has nothing below it.
            return found if not names else None
        links += 1
        if links > _LINKS:
            return None
        target = os.readlink("", dir_fd=found)
        trail = [root] if target.startswith("/") else trail
        names += _names(target)
    return trail[-1]


def _names(path: str) -> list[str]:
    """The names of a path, the first one last."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _entry(directories: list[int], name: str, held: ExitStack) -> int | list[int] | None:
    """What a directory of several layers has under a name: the uppermost layer that has it counts,
    and directories are merged down to one that is opaque.
    """
    merged: list[int] = []
    for directory in directories:
        try:
            found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue
            if error.errno == errno.ENAMETOOLONG:
                return None
            raise NotAtHand(f"{name} cannot be looked up in a layer: {error}") from error
        _hold(held, found)
        status = os.fstat(found)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            break  # a whiteout: removed by this layer
        if not stat.S_ISDIR(status.st_mode):
            return merged or found
        marks = _marks(found)
        merged.append(found)
        if marks.get("trusted.overlay.opaque") == b"y":
            break
    return merged or None


def _marks(found: int) -> dict[str, bytes]:
    """overlayfs' own attributes of a directory."""
    path, marks = f"/proc/self/fd/{found}", {}
    for key in ("trusted.overlay.opaque", *_MARKS):
        with contextlib.suppress(OSError):
            marks[key] = os.getxattr(path, key)
    if any(key in marks for key in _MARKS):
        raise NotAtHand("a layer refers to another")
    return marks


def _hold(held: ExitStack, descriptor: int) -> int:
    held.callback(os.close, descriptor)
    return descriptor
