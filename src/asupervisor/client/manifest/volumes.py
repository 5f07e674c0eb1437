"""Volumes of a Pod as values. What a ConfigMap, a Secret or the downward API gives is known when
the manifest is read; :mod:`asupervisor.client.manifest.layout` puts it on the node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import cast

from asupervisor.client.manifest.environment import (
    Surroundings,
    named_content,
    pod_field,
    resource_amount,
)
from asupervisor.client.manifest.fields import Fields
from asupervisor.client.manifest.quantity import parse_quantity
from asupervisor.client.plan import EmptyDir, File, Files, HostPath, ImageVolume, PullPolicy, Volume
from asupervisor.errors import ConfigError

_HOST_PATH_TYPES = (
    *("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket"),
    *("CharDevice", "BlockDevice"),
)
_SOURCES = ("emptyDir", "hostPath", "configMap", "secret", "downwardAPI", "projected", "image")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_DEFAULT_MODE = 0o644

Amounts = Mapping[str, Mapping[str, Decimal]]
"""Resources of each container by path, as ``limits.cpu``."""


def read_volume(fields: Fields, around: Surroundings, amounts: Amounts, notes: list[str]) -> Volume:
    """One entry of ``volumes``, without its name; one without a source is an ``emptyDir``.

    Raises:
        ConfigError: a source is malformed, missing, or needs a cluster; the message names it.
    """
    kinds = [kind for kind in _SOURCES if fields.has(kind)]
    if len(kinds) > 1:
        raise ConfigError(f"{fields.where}: {' and '.join(kinds)} exclude each other")
    kind = kinds[0] if kinds else "emptyDir"
    source = fields.below(kind)
    if kind == "emptyDir":
        volume: Volume = _empty_dir(source, notes)
    elif kind == "hostPath":
        volume = HostPath(source.text("path"), source.choice("type", "", _HOST_PATH_TYPES))
        if not volume.path.startswith("/"):
            raise ConfigError(f'{source.place("path")}: "{volume.path}" is not an absolute path')
    elif kind == "image":
        policies = ("Always", "IfNotPresent", "Never")
        reference = source.text("reference")
        policy = source.choice("pullPolicy", default_pull_policy(reference), policies)
        volume = ImageVolume(reference, cast(PullPolicy, policy))
    else:
        mode = source.number("defaultMode", _DEFAULT_MODE)
        if kind == "projected":
            files, is_secret = _projected(source, mode, around, amounts)
        else:
            files, is_secret = _files(kind, source, mode, around, amounts), kind == "secret"
        volume = Files(files, is_secret)
    source.done()
    return volume


def default_pull_policy(image: str) -> str:
    """The one that the API server fills in."""
    latest = "@" not in image and (":" not in image.rpartition("/")[2] or image.endswith(":latest"))
    return "Always" if latest else "IfNotPresent"


def _empty_dir(source: Fields, notes: list[str]) -> EmptyDir:
    in_memory = source.choice("medium", "", ("", "Memory")) == "Memory"
    limit = source.quantity("sizeLimit")
    size = int(parse_quantity(limit, source.place("sizeLimit"))) if limit else None
    if size and not in_memory:
        notes.append(source.place("sizeLimit"))  # it is not enforced on a disk
    return EmptyDir(in_memory, size or None)


def _projected(
    source: Fields, mode: int, around: Surroundings, amounts: Amounts
) -> tuple[dict[str, File], bool]:
    files: dict[str, File] = {}
    is_secret = False
    for each in source.each("sources"):
        for kind in ("configMap", "secret", "downwardAPI"):
            if each.has(kind):
                part = each.below(kind)
                files |= _files(kind, part, mode, around, amounts, "name")
                part.done()
                is_secret = is_secret or kind == "secret"
        if each.has("serviceAccountToken") or each.has("clusterTrustBundle"):
            raise ConfigError(f"{each.where}: a token or a trust bundle needs a cluster")
    return files, is_secret


def _files(
    kind: str,
    source: Fields,
    mode: int,
    around: Surroundings,
    amounts: Amounts,
    name_field: str = "",
) -> dict[str, File]:
    if kind == "downwardAPI":
        return {
            _path(item): File(_downward(item, around, amounts), item.number("mode", mode))
            for item in source.each("items")
        }
    items = [
        (item.text("key"), _path(item), item.number("mode", mode), item.place("key"))
        for item in source.each("items")
    ]
    is_optional = source.flag("optional")
    field = name_field or ("secretName" if kind == "secret" else "name")
    content = named_content(kind, source, around, is_optional, field)
    if not items or content is None:
        for key in content or {}:
            if not _KEY.fullmatch(key) or key in (".", ".."):
                raise ConfigError(f'{source.where}: "{key}" cannot be the name of a file')
        return {key: File(value, mode) for key, value in (content or {}).items()}
    files = {}
    for key, path, its_mode, place in items:
        if key in content:
            files[path] = File(content[key], its_mode)
        elif not is_optional:
            raise ConfigError(f'{place}: there is no "{key}" in it')
    return files


def _path(item: Fields) -> str:
    path = item.text("path")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ConfigError(f'{item.place("path")}: "{path}" is not a relative path without ".."')
    return path


def _downward(item: Fields, around: Surroundings, amounts: Amounts) -> bytes:
    if item.has("fieldRef"):
        field = item.below("fieldRef")
        value = pod_field(field, around)
    else:
        field = item.below("resourceFieldRef")
        name = field.text("containerName")
        if name not in amounts:
            raise ConfigError(f'{field.place("containerName")}: there is no container "{name}"')
        value = resource_amount(field, amounts[name])
    field.done()
    return value
