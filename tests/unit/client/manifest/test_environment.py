"""Environments of containers, and the ConfigMaps and Secrets that they come from."""

from __future__ import annotations

import pytest

from asupervisor.client.manifest import Manifest, read_manifest
from asupervisor.client.manifest.environment import expand
from asupervisor.errors import ConfigError

DATA = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOUR: red, not a name: x}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
type: Opaque
data: {token: c2VjcmV0}
stringData: {plain: text}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: front}, annotations: {a/b: noted}}
spec:
  containers:
    - name: main
      image: example.test/web:1
"""


def variables(environment: str, *texts: str, extra: str = "") -> dict[str, bytes]:
    """Those of a container with this ``env``, beside these documents."""
    pod = f"{POD}{extra}      env: {environment}\n"
    (plan,) = read_manifest("---\n".join((*texts, pod)), "pod.yaml").pods
    return {each.key: each.value for each in plan.containers[0].config.envs}


@pytest.mark.parametrize(
    ("origin", "value"),
    [
        ("fieldRef: {fieldPath: metadata.name}", b"web"),
        ("fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}", b"default"),
        ("fieldRef: {fieldPath: \"metadata.labels['app']\"}", b"front"),
        ("fieldRef: {fieldPath: \"metadata.annotations['a/b']\"}", b"noted"),
        ("fieldRef: {fieldPath: \"metadata.labels['none']\"}", b""),
        ("configMapKeyRef: {name: settings, key: COLOUR}", b"red"),
        ("secretKeyRef: {name: keys, key: token}", b"secret"),
        ("secretKeyRef: {name: keys, key: plain}", b"text"),
        ("resourceFieldRef: {resource: limits.cpu}", b"2"),
        ("resourceFieldRef: {resource: limits.cpu, divisor: 1m}", b"1500"),
        ("resourceFieldRef: {resource: requests.cpu, divisor: 1m}", b"1500"),
        ("resourceFieldRef: {resource: limits.memory, divisor: 1Mi}", b"64"),
    ],
)
def test_where_a_value_may_come_from(origin: str, value: bytes) -> None:
    limits = "      resources: {limits: {cpu: 1500m, memory: 64Mi}}\n"
    found = variables(f"[{{name: A, valueFrom: {{{origin}}}}}]", DATA, extra=limits)
    assert found == {"A": value}


def test_what_is_optional_may_be_missing() -> None:
    for kind in ("configMap", "secret"):
        origin = f"{kind}KeyRef: {{name: none, key: k, optional: true}}"
        assert variables(f"[{{name: A, valueFrom: {{{origin}}}}}]") == {}
    origin = "configMapKeyRef: {name: settings, key: none, optional: true}"
    assert variables(f"[{{name: A, valueFrom: {{{origin}}}}}]", DATA) == {}
    from_none = "      envFrom: [{configMapRef: {name: none, optional: true}}]\n"
    assert variables("[]", extra=from_none) == {}


def test_whole_maps_come_first_and_only_with_names_of_variables() -> None:
    whole = (
        "      envFrom: [{configMapRef: {name: settings}}, {prefix: K_, secretRef: {name: keys}}]\n"
    )
    found = variables("[{name: COLOUR, value: blue}]", DATA, extra=whole)
    assert found == {"COLOUR": b"blue", "K_token": b"secret", "K_plain": b"text"}


def test_variables_in_values_and_commands() -> None:
    command = '      command: [run, "$(B)", "$$(B)", "$(NONE)"]\n      args: ["--at=$(A)"]\n'
    pod = f'{POD}{command}      env: [{{name: A, value: a}}, {{name: B, value: "$(A)$(C)"}}]\n'
    (plan,) = read_manifest(pod, "pod.yaml").pods
    config = plan.containers[0].config
    assert list(config.command) == ["run", "a$(C)", "$(B)", "$(NONE)"]
    assert list(config.args) == ["--at=a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"$(A)-$(A)", b"a-a"),
        (b"$$$(A)", b"$a"),
        (b"$$(A)", b"$(A)"),
        (b"$A $( $()", b"$A $( $()"),
        (b"price: 5$", b"price: 5$"),
        (b"$(A", b"$(A"),
    ],
)
def test_expansion(text: bytes, value: bytes) -> None:
    assert expand(text, {"A": b"a"}) == value


def read(*documents: str, beside: tuple[tuple[str, str], ...] = ()) -> Manifest:
    return read_manifest("---\n".join(documents), "pod.yaml", beside)


def test_a_file_has_several_pods_and_others_beside_it_have_data() -> None:
    manifest = read(POD, POD.replace("name: web,", "name: other,"))
    assert [plan.sandbox.metadata.name for plan in manifest.pods] == ["web", "other"]
    from_beside = f"{POD}      envFrom: [{{configMapRef: {{name: settings}}}}]\n"
    (plan,) = read(from_beside, beside=((DATA, "data.yaml"),)).pods
    assert [each.key for each in plan.containers[0].config.envs] == ["COLOUR"]


def test_what_counts_in_a_cluster_only_is_passed_over_and_said() -> None:
    pod = POD.replace(
        "spec:", "status: {phase: Running}\nspec:\n  nodeSelector: {a: b}\n  tolerations: []"
    )
    assert read(pod).notes == ("status", "spec.nodeSelector", "spec.tolerations")
    assert read(POD).notes == ()


@pytest.mark.parametrize(
    ("documents", "complaint"),
    [
        ((DATA,), "there is no Pod in it"),
        ((DATA, DATA, POD), 'there are two of the name "settings"'),
        ((DATA.replace("c2VjcmV0", "é"), POD), "data.token of keys is not base64"),
        ((DATA.replace("type: Opaque", "sort: Opaque"), POD), "sort is not supported"),
        (
            (f"{POD}      envFrom: [{{secretRef: {{name: x}}}}]\n",),
            'there is no Secret "x" in namespace',
        ),
        (
            (
                f"{POD}      env: [{{name: A, valueFrom: {{configMapKeyRef: {{name: settings, key: k}}}}}}]\n",
                DATA,
            ),
            'there is no "k" in it',
        ),
        (
            (
                f"{POD}      env: [{{name: A, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]\n",
            ),
            '"status.podIP" is not known here',
        ),
        (
            (
                f"{POD}      env: [{{name: A, valueFrom: {{resourceFieldRef: {{resource: limits.cpu}}}}}}]\n",
            ),
            'the container sets no "limits.cpu"',
        ),
    ],
)
def test_what_is_not_there_is_named(documents: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ConfigError) as told:
        read(*documents)
    assert complaint in str(told.value) and str(told.value).startswith("pod.yaml: ")


def test_a_secret_of_another_namespace_is_not_given_out() -> None:
    elsewhere = DATA.replace("{name: keys}", "{name: keys, namespace: other}")
    with pytest.raises(ConfigError, match='no Secret "keys" in namespace default'):
        read(f"{POD}      envFrom: [{{secretRef: {{name: keys}}}}]\n", elsewhere)


def test_a_pod_beside_the_manifest_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'more\.yaml: kind: "Pod" is not supported'):
        read(POD, beside=((POD, "more.yaml"),))
