"""What volumes of a manifest hold."""

from __future__ import annotations

import pytest

from asupervisor.client.manifest import read_manifest
from asupervisor.client.plan import EmptyDir, File, Files, HostPath, ImageVolume, Volume
from asupervisor.errors import ConfigError

DATA = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: one, b: two}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: secret}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: odd}
data: {../x: y}
---
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{b: y, a: x"}}}}
spec:
  volumes:
    - {{name: v, {source}}}
  containers:
    - name: main
      image: example.test/web:1
      resources: {{limits: {{cpu: 2}}}}
"""


def read(source: str) -> Volume:
    (plan,) = read_manifest(DATA + POD.format(source=source), "pod.yaml").pods
    return plan.volumes["v"]


@pytest.mark.parametrize(
    ("source", "volume"),
    [
        ("emptyDir: {}", EmptyDir()),
        ("emptyDir: {medium: Memory, sizeLimit: 1Mi}", EmptyDir(True, 1 << 20)),
        ("hostPath: {path: /srv}", HostPath("/srv", "")),
        ("image: {reference: a}", ImageVolume("a", "Always")),
        ("configMap: {name: none, optional: true}", Files({})),
        (
            "configMap: {name: settings}",
            Files({"a": File(b"one", 0o644), "b": File(b"two", 0o644)}),
        ),
        (
            "configMap: {name: settings, defaultMode: 0600, items: [{key: a, path: x/y}]}",
            Files({"x/y": File(b"one", 0o600)}),
        ),
        (
            "secret: {secretName: keys, optional: true, items: [{key: none, path: x}]}",
            Files({}, in_memory=True),
        ),
        (
            "downwardAPI: {items: [{path: l, mode: 0400, fieldRef: {fieldPath: metadata.labels}},"
            " {path: c, resourceFieldRef: {containerName: main, resource: limits.cpu}}]}",
            Files({"l": File(b'a="x\\""\nb="y"', 0o400), "c": File(b"2", 0o644)}),
        ),
        (
            "projected: {sources: [{configMap: {name: settings, items: [{key: a, path: p}]}},"
            " {secret: {name: keys}},"
            " {downwardAPI: {items: [{path: n, fieldRef: {fieldPath: metadata.name}}]}}]}",
            Files(
                {
                    "p": File(b"one", 0o644),
                    "token": File(b"secret", 0o644),
                    "n": File(b"web", 0o644),
                },
                in_memory=True,
            ),
        ),
    ],
)
def test_what_a_volume_holds(source: str, volume: Volume) -> None:
    assert read(source) == volume


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("configMap: {name: none}", r"configMap\.name: there is no ConfigMap"),
        ("secret: {secretName: keys, items: [{key: gone, path: x}]}", 'there is no "gone" in it'),
        ("configMap: {name: odd}", '"../x" cannot be the name of a file'),
        ('hostPath: {path: "/a\\0"}', "path has a NUL in it"),
        ("hostPath: {path: srv}", '"srv" is not an absolute path'),
        ("secret: {name: keys}", r"secret\.secretName is missing"),
        (
            "downwardAPI: {items: [{path: x, resourceFieldRef: {containerName: gone, resource: r}}]}",
            'there is no container "gone"',
        ),
        ("hostPath: {path: /, type: Door}", 'type: "Door" is not supported'),
    ],
)
def test_what_it_cannot_hold_is_named(source: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read(source)
