"""A file of manifests: Pods, and the ConfigMaps and Secrets that they name."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from asupervisor.client.manifest.fields import Fields
from asupervisor.client.manifest.pod import read_pod
from asupervisor.client.manifest.pull_secrets import KEYS
from asupervisor.client.plan import PodPlan
from asupervisor.errors import ConfigError
from asupervisor.words import one_line

_KINDS = {"ConfigMap": "configMap", "Secret": "secret"}
_PASSED_OVER = ("creationTimestamp", "resourceVersion", "managedFields", "uid", "ownerReferences")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file asks for.

    Args:
        pods: in the order of the file, one at least.
        notes: fields that were ignored, since nothing here does what they ask for.
    """

    pods: tuple[PodPlan, ...]
    notes: tuple[str, ...]


def read_manifest(
    text: str | Mapping[str, Any], source: str, beside: Iterable[tuple[str, str]] = ()
) -> Manifest:
    """Read a manifest.

    Args:
        text: YAML documents: Pods, ConfigMaps and Secrets; or one of them as a mapping.
        source: its file name, for errors.
        beside: texts and names of files with further ConfigMaps and Secrets.

    Raises:
        ConfigError: it is not YAML, has no Pod, or has something else than these three; the
            message names the field.
    """
    data: dict[tuple[str, str, str], dict[str, bytes]] = {}
    pods: list[Fields] = []
    for its_text, its_source in (*beside, (text, source)):
        with _named(its_source):
            for document in _documents(its_text):
                document.choice("apiVersion", "", ("v1",))
                kinds = ("Pod", *_KINDS) if its_source == source else tuple(_KINDS)
                kind = document.choice("kind", "", kinds)
                if kind == "Pod":
                    pods.append(document)
                else:
                    _read_data(_KINDS[kind], document, data)
    with _named(source):
        if not pods:
            raise ConfigError("there is no Pod in it")
        notes: list[str] = []
        plans = tuple(read_pod(pod, data, notes) for pod in pods)
    return Manifest(plans, tuple(dict.fromkeys(notes)))


def read_one_pod(manifest: str | Mapping[str, Any]) -> PodPlan:
    """The one Pod of a manifest.

    Args:
        manifest: YAML documents, or a Pod as a mapping.

    Raises:
        ConfigError: there is not exactly one; else as :func:`read_manifest`.
    """
    pods = read_manifest(manifest, "manifest").pods
    if len(pods) > 1:
        raise ConfigError(f"manifest: there are {len(pods)} Pods in it")
    return pods[0]


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Put the name of the file before each error."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(one_line(f"{source}: {error}")) from error


def _documents(text: str | Mapping[str, Any]) -> Iterator[Fields]:
    if isinstance(text, Mapping):
        yield Fields(dict(text))
        return
    import yaml

    try:
        documents = [each for each in yaml.safe_load_all(text) if each is not None]
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}") from error
    yield from map(Fields, documents)


def _read_data(kind: str, top: Fields, data: dict[tuple[str, str, str], dict[str, bytes]]) -> None:
    meta = top.below("metadata")
    name, namespace = meta.text("name"), meta.text("namespace", "default")
    meta.mapping("labels")
    meta.mapping("annotations")
    meta.pass_over(_PASSED_OVER)
    meta.done()
    top.flag("immutable")
    plain, encoded = ("data", "binaryData") if kind == "configMap" else ("stringData", "data")
    type_key = KEYS.get(top.text("type", "")) if kind == "secret" else None
    content: dict[str, bytes] = {}
    for key, value in top.mapping(encoded).items():
        try:
            content[key] = base64.b64decode("".join(value.split()), validate=True)
        except ValueError as error:
            raise ConfigError(f"{encoded}.{key} of {name} is not base64") from error
    content |= {key: value.encode() for key, value in top.mapping(plain).items()}
    top.done()
    if (kind, namespace, name) in data:
        raise ConfigError(f'there are two of the name "{name}" in namespace {namespace}')
    data[kind, namespace, name] = content
    if type_key is not None:
        if type_key not in content:
            raise ConfigError(f'Secret "{name}" has no {type_key}, which its type asks for')
        data["pullSecret", namespace, name] = {type_key: content[type_key]}
