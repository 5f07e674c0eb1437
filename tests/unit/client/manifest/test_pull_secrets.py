"""Which credentials are for an image, and what of a Secret is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from asupervisor.client.manifest import read_manifest
from asupervisor.client.manifest.pull_secrets import Keyring
from asupervisor.errors import ConfigError

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  imagePullSecrets: [{name: pull}]
  containers: [{name: main, image: "registry.test/team/app:1"}]
"""
AUTH = base64.b64encode(b"kim:a:secret").decode()
DIGEST = "sha256:" + "0" * 64


def secret(document: object, key: str = ".dockerconfigjson", name: str = "pull") -> str:
    kind = "kubernetes.io/" + key.removeprefix(".")
    content = document if isinstance(document, str) else json.dumps(document)
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": kind,
            "data": {key: base64.b64encode(content.encode()).decode()},
        }
    )


def keyring(*secrets: str, pod: str = POD) -> Keyring:
    files = [(text, f"{number}.yaml") for number, text in enumerate(secrets)]
    (plan,) = read_manifest(pod, "pod.yaml", files).pods
    assert plan.keyring is not None
    return plan.keyring


@pytest.mark.parametrize(
    ("place", "image", "is_for"),
    [
        ("registry.test", "registry.test/a:1", True),
        ("registry.test", f"registry.test/a/b@{DIGEST}", True),
        ("registry.test", "registry.test:5000/a", False),
        ("registry.test:5000", "registry.test:5000/a", True),
        ("registry.test:5000", "registry.test:5001/a", False),
        ("registry.test", "a.registry.test/a", False),
        ("*.registry.test", "a.registry.test/a", True),
        ("*.registry.test", "a.registry.test:5000/a", False),
        ("*.registry.test:5000", "a.registry.test:5000/a", True),
        ("*.registry.test", "a.b.registry.test/a", False),
        ("*.*.registry.test", "a.b.registry.test/a", True),
        ("*.test", "registry.test/a", True),
        ("reg*.test", "registry.test/a", True),
        ("*", "registry.test/a", False),
        ("registry.test/team", "registry.test/team/a", True),
        ("registry.test/team", "registry.test/teams/a", True),
        ("registry.test/team/", "registry.test/teams/a", False),
        ("registry.test/team", "registry.test/other/a", False),
        ("registry.test/*/a", "registry.test/team/a", False),
        ("https://registry.test/v2/", "registry.test/a", True),
        ("https://registry.test/v1/team", "registry.test/team/a", True),
        ("https://registry.test/v1/team", "registry.test/other/a", False),
        ("http://registry.test/", "registry.test/a", True),
        ("[::1]:5000", "[::1]:5000/a", True),
        ("localhost:5000", "localhost:5000/a", True),
        ("https://index.docker.io/v1/", "busybox", True),
        ("https://index.docker.io/v1/", "docker.io/team/a", True),
        ("https://index.docker.io/v1/", "index.docker.io/library/busybox", True),
        ("https://index.docker.io/v1/", "registry.test/busybox", False),
        ("docker.io", "busybox:1", True),
        ("docker.io/library", "busybox:1", True),
        ("docker.io/team", "busybox:1", False),
        ("registry.test", "busybox", False),
    ],
)
def test_which_images_a_place_is_for(place: str, image: str, is_for: bool) -> None:
    found = keyring(secret({"auths": {place: {"auth": AUTH}}})).find(image)
    assert found == ([("kim", "a:secret")] if is_for else [])


def test_the_longest_place_is_tried_first_and_secrets_add_up() -> None:
    def login(name: str) -> dict[str, str]:
        return {"username": name, "password": "x", "email": "kim@example.test"}

    first = {"registry.test": login("whole"), "registry.test/team": login("team")}
    pod = POD.replace("[{name: pull}]", "[{name: pull}, {name: old}]")
    both = keyring(
        secret({"auths": first, "credsStore": "elsewhere"}),
        secret({"registry.test/team": login("old")}, ".dockercfg", "old"),
        pod=pod,
    )
    found = both.find("registry.test/team/app")
    assert [name for name, _ in found] == ["team", "old", "whole"]
    hub = {"index.docker.io": login("alias"), "docker.io": login("own")}
    assert keyring(secret({"auths": hub})).find("busybox") == [("own", "x")]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "imagePullSecrets[0].name: its .dockerconfigjson is not JSON"),
        ("[]", "its .dockerconfigjson must be a mapping"),
        ({"auths": {"a.test": {}}}, "auths.a.test has neither auth nor username"),
        ({"auths": {"a.test": {"auth": "hunter2"}}}, "auths.a.test.auth is not base64"),
        ({"auths": {"a.test": {"auth": "aHVudGVyMg=="}}}, "auths.a.test.auth is not base64"),
        ({"auths": {"a.test": {"auth": "_w=="}}}, "auths.a.test.auth is not base64"),
        ({"auths": {"a.test": {"auth": AUTH, "identitytoken": "hunter2"}}}, "is not supported"),
        ({"auths": {"a.test:x": {"auth": AUTH}}}, "auths.a.test:x is not the place of a registry"),
        ({"auths": {"[a.test": {"auth": AUTH}}}, "is not the place of a registry"),
        ({"auths": {"/team": {"auth": AUTH}}}, "is not the place of a registry"),
        ({"auths": {"kim:hunter2@a.test": {"auth": AUTH}}}, "a place with a user in it"),
    ],
)
def test_what_is_refused_shows_no_credential(document: Any, complaint: str) -> None:
    with pytest.raises(ConfigError) as told:
        keyring(secret(document))
    assert complaint in str(told.value)
    assert "hunter2" not in str(told.value) and AUTH not in str(told.value)


def test_a_secret_that_was_not_given_is_refused_by_its_name() -> None:
    with pytest.raises(
        ConfigError, match=r'imagePullSecrets\[0\].name: there is no Secret .*"pull"'
    ):
        keyring()
    opaque = secret({"auths": {}}).replace("kubernetes.io/dockerconfigjson", "Opaque")
    with pytest.raises(ConfigError, match="there is no Secret of type kubernetes"):
        keyring(opaque)
    with pytest.raises(ConfigError, match=r'"pull" has no \.dockerconfigjson'):
        keyring(secret({}).replace('".dockerconfigjson"', '"config.json"'))


def test_what_is_printed_of_a_plan_shows_no_credential() -> None:
    document = secret({"auths": {"registry.test": {"auth": AUTH}}})
    (plan,) = read_manifest(POD, "pod.yaml", [(document, "keys")]).pods
    assert "a:secret" not in repr(plan) and AUTH not in repr(plan)
