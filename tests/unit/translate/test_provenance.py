"""Whose a container is: by the seal, or by its name; and nothing that is written into labels gets
past that.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.errors import InvalidArgument
from asupervisor.translate.cgroup_files import CgroupSettings
from asupervisor.translate.labels import (
    CGROUP_LABEL,
    IMAGE_REF_LABEL,
    LOG_PATH_LABEL,
    SANDBOX_ID_LABEL,
    SEAL_LABEL,
    TYPE_LABEL,
    USER_IMAGE_LABEL,
    container_labels,
    sandbox_labels,
)
from asupervisor.translate.names import parse_container_name
from asupervisor.translate.provenance import Origin, Seal, may_be_a_pods

NAME = "k8s_main_web_default_uid-web_0"
SEAL = Seal(b"k" * 32)
SETTINGS = CgroupSettings(unified={"memory.high": "1"})
POD_LOGS = "/var/log/pods/default_web_uid-web"
KEYS = st.text(max_size=12).filter(lambda key: not key.startswith("annotation."))
LABELS = st.dictionaries(KEYS, st.text(max_size=12), max_size=5)


def document(labels: Any, name: Any = f"/{NAME}") -> dict[str, Any]:
    return {"Id": "a" * 64, "Name": name, "Config": {"Labels": labels}}


def sealed(**changes: Any) -> dict[str, str]:
    wanted: dict[str, Any] = {
        "labels": {"own": "1"},
        "annotations": {"note": "n"},
        "sandbox_id": "f" * 64,
        "log_path": "/anywhere/else.log",
        "user_image": "as/given",
        "cgroup": SETTINGS.label(),
        **changes,
    }
    return SEAL.sealed({**container_labels(**wanted), IMAGE_REF_LABEL: "docker://as-made"}, NAME)


def peers(log_path: str = "", **labels: str) -> dict[str, str]:
    return {
        TYPE_LABEL: "container",
        SANDBOX_ID_LABEL: "f" * 64,
        LOG_PATH_LABEL: log_path,
        **labels,
    }


def origin(labels: Any, name: Any = f"/{NAME}") -> Origin:
    found = SEAL.origin(document(labels, name))
    assert found is not None
    return found


@given(LABELS, LABELS, LABELS)
def test_what_is_sealed_is_read_back_and_what_an_image_added_is_not(
    labels: dict[str, str], annotations: dict[str, str], of_image: dict[str, str]
) -> None:
    ours = sealed(labels=labels, annotations=annotations)
    of_image = of_image | {"annotation.x": "1"}
    added = {key: value for key, value in of_image.items() if key not in ours}
    found = origin(ours | added)
    assert found.sealed and (found.labels, found.annotations) == (labels, annotations)
    assert (found.kind, found.sandbox_id) == ("container", "f" * 64)
    assert found.log_path == found.log_target == "/anywhere/else.log"
    assert found.user_image == "as/given" and found.cgroup == SETTINGS
    assert found.image_ref == "docker://as-made"


def test_a_sealed_sandbox_is_read_back() -> None:
    name = "k8s_POD_web_default_uid-web_7"
    labels = SEAL.sealed(sandbox_labels({"app": "web"}, {"note": "n"}), name)
    found = origin({**labels, "of": "the image", SANDBOX_ID_LABEL: "e" * 64}, f"/{name}")
    assert found.sealed and found.kind == "podsandbox" and found.name.attempt == 7
    assert found.labels == {"app": "web"} and found.annotations == {"note": "n"}
    assert found.sandbox_id == found.log_path == ""


@pytest.mark.parametrize("key", sorted(sealed()))
def test_a_sealed_label_that_was_changed_or_taken_away_breaks_the_seal(key: str) -> None:
    labels = sealed()
    for changed in (
        {**labels, key: labels[key] + "x"},
        {other: value for other, value in labels.items() if other != key},
    ):
        found = SEAL.origin(document(changed))
        assert found is None or not found.sealed


@pytest.mark.parametrize(
    "name", ["k8s_main_web_default_uid-web_1", f"{NAME}_0a1b2c3d", "k8s_main_db_default_uid-web_0"]
)
def test_a_seal_does_not_fit_another_name(name: str) -> None:
    found = origin(sealed(), name)
    assert not found.sealed and not found.cgroup and found.user_image == found.log_target == ""


def test_a_pod_of_as_many_labels_as_there_can_be_is_still_ours() -> None:
    labels = {f"tenant/{number:x}": "" for number in range(150_000)}
    found = origin(sealed(labels=labels))
    assert found.sealed and found.labels == labels
    with pytest.raises(InvalidArgument, match="keys of its labels"):
        sealed(labels={f"{number:>{100}}": "" for number in range(50_000)})


def test_a_seal_of_another_node_or_without_a_key_proves_nothing() -> None:
    labels = sealed()
    for other in (Seal(b"o" * 32), Seal()):
        found = other.origin(document(labels))
        assert found is not None and not found.sealed and not found.cgroup
    assert not origin(Seal().sealed(peers(), NAME)).sealed, "no key is not an empty key"


@pytest.mark.parametrize(
    "seal",
    ["", " ", "  []", "0" * 64, f"{'0' * 64} {'0' * 64} []", "ü" * 64, "[" * 200_000, "\n" * 64],
)
def test_a_seal_that_is_none_is_as_if_absent(seal: str) -> None:
    found = origin(peers() | {SEAL_LABEL: seal})
    assert not found.sealed and found.labels == {}


def test_what_only_this_service_writes_is_not_believed_of_a_peers_container() -> None:
    labels = peers(f"{POD_LOGS}/main/0.log", tier="front")
    labels |= {CGROUP_LABEL: SETTINGS.label(), USER_IMAGE_LABEL: "as/given", IMAGE_REF_LABEL: "x"}
    found = origin(labels)
    assert (found.kind, found.sandbox_id, found.sealed) == ("container", "f" * 64, False)
    assert found.log_target == found.log_path == f"{POD_LOGS}/main/0.log"
    assert found.labels == {"tier": "front"} and not found.cgroup
    assert found.user_image == found.image_ref == ""


@pytest.mark.parametrize(
    ("path", "told", "written"),
    [
        (f"{POD_LOGS}/main/0.log", True, True),
        ("/elsewhere/default_web_uid-web/main/0.log", True, True),
        ("/var/log/pods/main.log", True, True),
        ("/var/tmp/logs/main.log", True, False),
        ("/etc/cron.d/x", True, False),
        ("/var/log/pods/default_db_uid-db/main/0.log", True, False),
        (POD_LOGS, True, False),
        ("/var/log/main.log", True, False),
        (f"{POD_LOGS}/../x.log", False, False),
        (f"{POD_LOGS}//x.log", False, False),
        (f"/{POD_LOGS}/x.log", False, False),
        (f"{POD_LOGS}/x\0.log", False, False),
        (f"{POD_LOGS}/x\n.log", False, False),
        (f"{POD_LOGS}/{'x' * 5000}", False, False),
        ("relative/x.log", False, False),
        ("/", False, False),
        ("", False, False),
    ],
)
def test_the_log_path_of_a_peers_container(path: str, told: bool, written: bool) -> None:
    found = origin(peers(path))
    assert found.log_path == (path if told else "")
    assert found.log_target == (path if written else "")


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        (NAME, {TYPE_LABEL: "podsandbox"}),
        (NAME, {TYPE_LABEL: "Container"}),
        (NAME, {TYPE_LABEL: ""}),
        ("k8s_POD_web_default_uid-web_0", {TYPE_LABEL: "container"}),
        (NAME, {"io.kubernetes.pod.name": "db"}),
        (NAME, {"io.kubernetes.pod.namespace": ""}),
        (NAME, {"io.kubernetes.pod.uid": "uid"}),
        (NAME, {"io.kubernetes.container.name": "POD"}),
        ("web", {}),
    ],
)
def test_a_name_and_labels_that_disagree(name: str, labels: dict[str, str]) -> None:
    assert SEAL.origin(document(peers() | labels, f"/{name}")) is None


def test_labels_that_agree_with_the_name() -> None:
    found = origin(
        peers()
        | {
            "io.kubernetes.pod.name": "web",
            "io.kubernetes.pod.namespace": "default",
            "io.kubernetes.pod.uid": "uid-web",
            "io.kubernetes.container.name": "main",
        }
    )
    assert not found.sealed and len(found.labels) == 4


@pytest.mark.parametrize(
    ("sandbox", "fits"),
    [
        (("web", "default", "uid-web"), True),
        (("web", "default", ""), True),
        (("web", "default", "uid"), False),
        (("db", "default", "uid-web"), False),
        (("web", "other", "uid-web"), False),
    ],
)
def test_whether_a_peers_container_can_be_of_a_sandbox(
    sandbox: tuple[str, str, str], fits: bool
) -> None:
    assert origin(peers()).fits(*sandbox) == fits
    assert origin(sealed()).fits(*sandbox)


@pytest.mark.parametrize(
    "name",
    [
        "k8s_main_web_default_uid_٣",
        "k8s_main_web_default_uid_²",
        "k8s_main_web_default_uid_-1",
        "k8s_main_web_default_uid_+1",
        "k8s_main_web_default_uid_1 ",
        "k8s_main_web_default_uid_1\n",
        "k8s_main_web_default_uid_01",
        "k8s_main_web_default_uid_4294967296",
        f"k8s_main_web_default_uid_{'9' * 5000}",
        "k8s_main_web_default_uid_",
        "k8s_main_web_default__0",
        "k8s__web_default_uid_0",
        "k8s_mäin_web_default_uid_0",
        "k8s_main/x_web_default_uid_0",
        "//k8s_main_web_default_uid_0",
        "k8s_main_web_default_uid_0_",
        "k8s_main_web_default_uid_0_0A1B2C3D",
        "k8s_main_web_default_uid_0_0a1b2c3",
        "K8S_main_web_default_uid_0",
    ],
)
def test_names_that_nobody_gives_do_not_parse(name: str) -> None:
    assert parse_container_name(name) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(JSON, JSON)
def test_odd_documents_are_somebody_elses(name: Any, config: Any) -> None:
    assert SEAL.origin({"Name": name, "Config": config}) is None
    assert SEAL.origin({"Name": NAME, "Config": {"Labels": config}}) is None
    assert not may_be_a_pods([name], config)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"hugepages":{"2MB":Infinity}}',
        '{"hugepages":[1]}',
        '{"unified":"x"}',
        "null",
        "7",
        json.dumps({"hugepages": {"2MB": "x"}}),
    ],
)
def test_cgroup_settings_that_are_none(text: str) -> None:
    assert not CgroupSettings.from_label(text)


def test_what_is_worth_a_look() -> None:
    labels = {TYPE_LABEL: "container"}
    assert may_be_a_pods([f"/{NAME}"], labels) and may_be_a_pods([None], labels)
    assert may_be_a_pods(["/link", f"/{NAME}"], labels)
    assert not may_be_a_pods(["/web"], labels)
    assert not may_be_a_pods([NAME], {}) and not may_be_a_pods([NAME], None)
