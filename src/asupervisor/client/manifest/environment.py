"""The environment of a container: literals, fields of its pod, its limits, ConfigMaps and Secrets
of the same file, and ``$(VAR)`` as kubelet expands it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from asupervisor.client.manifest.fields import Fields
from asupervisor.client.manifest.quantity import parse_quantity
from asupervisor.errors import ConfigError

Data = Mapping[tuple[str, str, str], Mapping[str, bytes]]
"""Content by kind, namespace and name."""
_WORDS = {
    "configMap": "ConfigMap",
    "secret": "Secret",
    "pullSecret": "Secret of type kubernetes.io/dockerconfigjson",
}
_KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_REFERENCE = re.compile(rb"\$(\$|\(([^()]*)\))")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the variables of a pod may be taken from.

    Args:
        namespace: of the pod.
        pod: its fields by their paths, as ``metadata.name``.
        labels, annotations: of the pod.
        data: the ConfigMaps and Secrets that were given.
    """

    namespace: str
    pod: Mapping[str, str]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    data: Data


def read_environment(
    container: Fields, resources: Mapping[str, Decimal], around: Surroundings
) -> dict[str, bytes]:
    """``envFrom`` and ``env`` of a container, in the order in which they were first named.

    Args:
        container: its fields; these two are taken out.
        resources: of the container by path, as ``limits.cpu``, in cores and bytes.
        around: everything else.

    Raises:
        ConfigError: a source is malformed, missing, or needs a cluster; the message names it.
    """
    found: dict[str, bytes] = {}
    for source in container.each("envFrom"):
        prefix = source.text("prefix", "")
        for kind in ("configMap", "secret"):
            reference = source.below(f"{kind}Ref")
            if not reference.empty:
                may_miss = reference.flag("optional")
                values = named_content(kind, reference, around, may_miss) or {}
                reference.done()
                named = {f"{prefix}{key}": value for key, value in values.items()}
                found |= {key: value for key, value in named.items() if _VARIABLE.fullmatch(key)}
    for variable in container.each("env"):
        name, origin = variable.text("name"), variable.below("valueFrom")
        literal = expand(variable.text("value", "").encode(), found)
        value = literal if origin.empty else _value(origin, resources, around)
        if value is not None:
            found[name] = value
    return found


def expand(text: bytes, variables: Mapping[str, bytes]) -> bytes:
    """``$(VAR)`` in a text: known ones are replaced, others stay, ``$$`` is a ``$``."""

    def value(found: re.Match[bytes]) -> bytes:
        if found.group(2) is None:
            return b"$"
        return variables.get(found.group(2).decode(errors="replace"), found.group())

    return _REFERENCE.sub(value, text)


def expand_words(words: Sequence[str], variables: Mapping[str, bytes]) -> list[str]:
    """The same in each word of a command."""
    return [expand(word.encode(), variables).decode(errors="surrogateescape") for word in words]


def _value(origin: Fields, resources: Mapping[str, Decimal], around: Surroundings) -> bytes | None:
    """None if it is optional and missing."""
    value: bytes | None = None
    if not (field := origin.below("fieldRef")).empty:
        value = pod_field(field, around)
    elif not (resource := origin.below("resourceFieldRef")).empty:
        value = resource_amount(resource, resources)
        field = resource
    else:
        for kind in ("configMap", "secret"):
            reference = origin.below(f"{kind}KeyRef")
            if not reference.empty:
                value = _key(kind, reference, around)
    field.done()
    origin.done()
    return value


def pod_field(field: Fields, around: Surroundings) -> bytes:
    """The value that a ``fieldRef`` names; an unknown one is a ConfigError."""
    field.choice("apiVersion", "v1", ("v1",))
    path = field.text("fieldPath")
    if keyed := _KEYED_FIELD.fullmatch(path):
        values = around.labels if keyed.group(1) == "labels" else around.annotations
        return values.get(keyed.group(2), "").encode()
    if path in ("metadata.labels", "metadata.annotations"):
        texts = around.labels if path.endswith("labels") else around.annotations
        return "\n".join(
            f"{key}={json.dumps(texts[key], ensure_ascii=False)}" for key in sorted(texts)
        ).encode()
    if path not in around.pod:
        names = ", ".join(around.pod)
        raise ConfigError(
            f'{field.place("fieldPath")}: "{path}" is not known here; known are {names},'
            " metadata.labels['KEY'] and metadata.annotations['KEY']"
        )
    return around.pod[path].encode()


def resource_amount(field: Fields, resources: Mapping[str, Decimal]) -> bytes:
    """The amount that a ``resourceFieldRef`` names, in units of its divisor and rounded up; one
    that is not set is a ConfigError.
    """
    name, divisor_text = field.text("resource"), field.quantity("divisor")
    divisor = parse_quantity(divisor_text, field.place("divisor")) if divisor_text else Decimal(0)
    if name not in resources:
        raise ConfigError(f'{field.place("resource")}: the container sets no "{name}"')
    return str(math.ceil(resources[name] / (divisor or Decimal(1)))).encode()


def _key(kind: str, reference: Fields, around: Surroundings) -> bytes | None:
    key, optional = reference.text("key"), reference.flag("optional")
    content = named_content(kind, reference, around, optional)
    reference.done()
    if content is None or (optional and key not in content):
        return None
    if key not in content:
        raise ConfigError(f'{reference.place("key")}: there is no "{key}" in it')
    return content[key]


def named_content(
    kind: str, reference: Fields, around: Surroundings, may_miss: bool, field: str = "name"
) -> Mapping[str, bytes] | None:
    """The content of a ConfigMap or Secret that was given.

    Args:
        kind: ``configMap``, ``secret`` or ``pullSecret``.
        reference: the mapping with its name.
        around: has the ConfigMaps and Secrets.
        may_miss: return None if there is none.
        field: of ``reference``, which has the name.

    Raises:
        ConfigError: there is none, and ``may_miss`` is not set.
    """
    name = reference.text(field)
    content = around.data.get((kind, around.namespace, name))
    if content is None and not may_miss:
        word = _WORDS[kind]
        raise ConfigError(
            f'{reference.place(field)}: there is no {word} "{name}" in namespace'
            f" {around.namespace}, and there is no cluster to ask; put it into the file, or give"
            " --configmap FILE"
        )
    return content
