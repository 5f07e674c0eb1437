"""Single CRI terms in the engine's words and back: names, labels, states, times, signals,
resources, modes, profiles, references.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asupervisor.errors import (
    InvalidArgument,
)
from asupervisor.proto import cri
from asupervisor.translate.container import check_container_config
from asupervisor.translate.images import cri_image, parse_reference
from asupervisor.translate.labels import container_labels, sandbox_labels, split_labels
from asupervisor.translate.names import ContainerName, container_name, parse_container_name
from asupervisor.translate.namespaces import container_modes, sandbox_modes, sandbox_namespaces
from asupervisor.translate.resources import cgroup_parent, clamp_oom_score, engine_resources
from asupervisor.translate.security import apparmor_options, container_security, seccomp_file
from asupervisor.translate.signals import cri_signal, engine_signal
from asupervisor.translate.states import container_facts
from asupervisor.translate.times import unix_nanoseconds

WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=20)


@given(
    WORD,
    WORD,
    WORD,
    WORD,
    st.integers(0, 2**31),
    st.sampled_from(["", "_0a1b2c3d"]),
    st.sampled_from(["", "/"]),
)
def test_names_are_read_back_with_and_without_the_conflict_suffix(
    container: str, pod: str, namespace: str, uid: str, attempt: int, suffix: str, slash: str
) -> None:
    name = container_name(container, pod, namespace, uid, attempt)
    assert name == f"k8s_{container}_{pod}_{namespace}_{uid}_{attempt}"
    assert parse_container_name(f"{slash}{name}{suffix}") == ContainerName(
        container, pod, namespace, uid, attempt
    )


@pytest.mark.parametrize(
    "name", ["", "web", "k8s_a_b_c_d", "k8s_a_b_c_d_x", "other_a_b_c_d_0", "k8s_a_b_c_d_0_1_2"]
)
def test_names_of_others_are_none_of_ours(name: str) -> None:
    assert parse_container_name(name) is None


@pytest.mark.parametrize(
    "parts",
    [
        ("a_b", "p", "n", "u"),
        ("a", "p_q", "n", "u"),
        ("a", "p", "n_m", "u"),
        ("a", "p", "n", "u_v"),
    ],
)
def test_a_part_with_the_separator_is_refused(parts: tuple[str, str, str, str]) -> None:
    with pytest.raises(InvalidArgument, match="_"):
        container_name(*parts, 0)


KEYS = st.text("abcdefgh./-", min_size=1, max_size=12).filter(
    lambda key: not key.startswith("annotation.")
)


@given(st.dictionaries(KEYS, st.text(max_size=8)), st.dictionaries(KEYS, st.text(max_size=8)))
def test_labels_and_annotations_come_back_as_they_were(
    labels: dict[str, str], annotations: dict[str, str]
) -> None:
    sandbox = sandbox_labels(labels, annotations)
    assert (
        sandbox["io.kubernetes.docker.type"] == "podsandbox"
        and sandbox["io.kubernetes.container.name"] == "POD"
    )
    assert split_labels(sandbox) == (labels, annotations)
    container = container_labels(labels, annotations, "f" * 64, "/var/log/pods/a.log")
    assert container["io.kubernetes.docker.type"] == "container"
    assert container["io.kubernetes.sandbox.id"] == "f" * 64
    assert container["io.kubernetes.container.logpath"] == "/var/log/pods/a.log"
    assert split_labels(container) == (labels, annotations)


def test_the_container_name_label_is_hidden_for_sandboxes_only() -> None:
    given_labels = {"io.kubernetes.container.name": "main"}
    assert split_labels(container_labels(given_labels, {}, "f" * 64, "")) == (given_labels, {})
    assert split_labels(sandbox_labels({}, {})) == ({}, {})


NEVER = "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("state", "expected", "reason", "exit_code"),
    [
        ({"Running": True, "StartedAt": "2026-01-02T03:04:05Z"}, cri.CONTAINER_RUNNING, "", 0),
        (
            {"Running": True, "Paused": True, "StartedAt": "2026-01-02T03:04:05Z"},
            cri.CONTAINER_RUNNING,
            "",
            0,
        ),
        (
            {"StartedAt": "2026-01-02T03:04:05Z", "FinishedAt": "2026-01-02T03:04:06Z"},
            cri.CONTAINER_EXITED,
            "Completed",
            0,
        ),
        (
            {
                "StartedAt": "2026-01-02T03:04:05Z",
                "FinishedAt": "2026-01-02T03:04:06Z",
                "ExitCode": 3,
            },
            cri.CONTAINER_EXITED,
            "Error",
            3,
        ),
        (
            {
                "StartedAt": "2026-01-02T03:04:05Z",
                "FinishedAt": "2026-01-02T03:04:06Z",
                "ExitCode": 137,
                "OOMKilled": True,
            },
            cri.CONTAINER_EXITED,
            "OOMKilled",
            137,
        ),
        ({"StartedAt": NEVER, "FinishedAt": NEVER}, cri.CONTAINER_CREATED, "", 0),
        (
            {"StartedAt": NEVER, "FinishedAt": NEVER, "ExitCode": 127, "Error": "no such file"},
            cri.CONTAINER_EXITED,
            "ContainerCannotRun",
            127,
        ),
    ],
)
def test_states(state: dict[str, Any], expected: int, reason: str, exit_code: int) -> None:
    facts = container_facts({"Created": "2026-01-02T03:04:04Z", "State": state})
    assert (facts.state, facts.reason, facts.exit_code) == (expected, reason, exit_code)
    assert (facts.finished_at > 0) == (expected == cri.CONTAINER_EXITED), (
        "a time that never was is 0"
    )
    assert (facts.started_at > 0) == (expected != cri.CONTAINER_CREATED)
    if reason == "ContainerCannotRun":
        assert facts.message == "no such file"


def test_words_about_a_failed_start_are_cut() -> None:
    state = {"Error": "exec: " + "x" * 20_000_000, "ExitCode": 127}
    facts = container_facts({"Created": "2026-01-02T03:04:04Z", "State": state})
    assert (facts.state, facts.reason) == (cri.CONTAINER_EXITED, "ContainerCannotRun")
    assert facts.message.startswith("exec: x") and len(facts.message) < 10_000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("2026-01-02T03:04:05.678901234Z", 1767323045678901234),
        ("2026-01-02T03:04:05.5Z", 1767323045500000000),
        ("2026-01-02T05:04:05+02:00", 1767323045000000000),
        ("2026-01-01T22:34:05-04:30", 1767323045000000000),
        (NEVER, 0),
        ("", 0),
        (None, 0),
        ("yesterday", 0),
    ],
)
def test_times(text: str | None, nanoseconds: int) -> None:
    assert unix_nanoseconds(text) == nanoseconds


@pytest.mark.parametrize("value", cri.Signal.values())
def test_every_signal_of_the_cri_comes_back(value: int) -> None:
    name = engine_signal(value)
    if value == cri.SIGNAL_RUNTIME_DEFAULT:
        assert name == ""
    else:
        assert name.startswith("SIG") and cri_signal(name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "SIGTERM"),
        ("15", "SIGTERM"),
        ("9", "SIGKILL"),
        ("KILL", "SIGKILL"),
        ("SIGRTMIN+3", "SIGRTMINPLUS3"),
        ("sigrtmin+15", "SIGRTMINPLUS15"),
        ("RTMIN+16", "SIGRTMAXMINUS14"),
        ("RTMIN+30", "SIGRTMAX"),
        ("SIGRTMAX-20", "SIGRTMINPLUS10"),
        ("RTMAX", "SIGRTMAX"),
        ("34", "SIGRTMIN"),
        ("37", "SIGRTMINPLUS3"),
        ("49", "SIGRTMINPLUS15"),
        ("50", "SIGRTMAXMINUS14"),
        ("63", "SIGRTMAXMINUS1"),
        ("64", "SIGRTMAX"),
        ("CLD", "SIGCLD"),
        ("SIGNONSENSE", "SIGTERM"),
        ("RTMIN+31", "SIGTERM"),
        ("65", "SIGTERM"),
        ("0", "SIGTERM"),
        ("²", "SIGTERM"),
        ("9" * 5000, "SIGTERM"),
    ],
)
def test_signals_as_images_name_them(name: str, value: str) -> None:
    assert cri.Signal.Name(cri_signal(name)) == f"SIGNAL_{value}"


def test_swap_is_off_unless_the_cri_sets_a_limit() -> None:
    resources = cri.LinuxContainerResources(memory_limit_in_bytes=64 << 20)
    assert engine_resources(resources, None, "c")["MemorySwap"] == 64 << 20
    resources.memory_swap_limit_in_bytes = 96 << 20
    assert engine_resources(resources, None, "c")["MemorySwap"] == 96 << 20


@pytest.mark.parametrize(
    ("score", "floor", "given_score"),
    [(-998, None, -998), (-998, 0, 0), (-998, -500, -500), (1000, 0, 1000)],
)
def test_an_oom_score_is_clamped_to_what_the_engine_can_give(
    score: int, floor: int | None, given_score: int
) -> None:
    assert clamp_oom_score(score, floor) == given_score
    assert (
        engine_resources(cri.LinuxContainerResources(oom_score_adj=score), floor, "c")[
            "OomScoreAdj"
        ]
        == given_score
    )


@pytest.mark.parametrize(
    ("parent", "driver", "engine_parent"),
    [
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice",
            "systemd",
            "kubepods-burstable-pod1.slice",
        ),
        ("/kubepods.slice/", "systemd", "kubepods.slice"),
        ("/kubepods/burstable/pod1", "cgroupfs", "/kubepods/burstable/pod1"),
        ("", "systemd", ""),
        ("", "cgroupfs", ""),
    ],
)
def test_cgroup_parents(parent: str, driver: str, engine_parent: str) -> None:
    assert cgroup_parent(parent, driver) == engine_parent


def test_sandbox_modes_and_back() -> None:
    for network, ipc, pid in ((cri.POD, cri.POD, cri.CONTAINER), (cri.NODE, cri.NODE, cri.NODE)):
        options = cri.NamespaceOption(network=network, ipc=ipc, pid=pid)
        assert sandbox_namespaces(sandbox_modes(options, "none", "pod")) == options
    assert sandbox_modes(cri.NamespaceOption(), "none", "pod") == {
        "NetworkMode": "none",
        "IpcMode": "shareable",
        "PidMode": "",
    }
    assert sandbox_modes(cri.NamespaceOption(), "default", "pod")["NetworkMode"] == "default"
    with pytest.raises(InvalidArgument, match="TARGET"):
        sandbox_modes(cri.NamespaceOption(pid=cri.TARGET), "none", "pod")


@pytest.mark.parametrize(
    ("options", "target", "pid"),
    [
        (cri.NamespaceOption(pid=cri.CONTAINER), "", ""),
        (cri.NamespaceOption(pid=cri.POD), "", "container:S"),
        (cri.NamespaceOption(pid=cri.NODE), "", "host"),
        (cri.NamespaceOption(pid=cri.TARGET, target_id="t"), "T", "container:T"),
    ],
)
def test_container_modes(options: cri.NamespaceOption, target: str, pid: str) -> None:
    modes = container_modes(options, "S", False, target, "container")
    assert modes == {"NetworkMode": "container:S", "IpcMode": "container:S", "PidMode": pid}
    assert (
        container_modes(cri.NamespaceOption(network=cri.NODE), "S", True, "", "container")[
            "UTSMode"
        ]
        == "host"
    )


@pytest.mark.parametrize("mode", [cri.POD, cri.CONTAINER])
def test_user_namespaces_are_refused_clearly(mode: cri.NamespaceMode) -> None:
    options = cri.NamespaceOption(userns_options=cri.UserNamespace(mode=mode))
    with pytest.raises(InvalidArgument, match="user namespace mode"):
        sandbox_modes(options, "none", "pod default/web")
    with pytest.raises(InvalidArgument, match="user namespace mode"):
        container_modes(options, "S", False, "", "container main")


PROFILE = cri.SecurityProfile


@pytest.mark.parametrize(
    ("profile", "deprecated", "privileged", "options"),
    [
        (None, "", False, ["seccomp=unconfined"]),
        (None, "unconfined", False, ["seccomp=unconfined"]),
        (None, "runtime/default", False, []),
        (None, "localhost//p.json", False, ['seccomp={"a":[1,2]}']),
        (PROFILE(profile_type=PROFILE.RuntimeDefault), "unconfined", False, []),
        (PROFILE(profile_type=PROFILE.Unconfined), "", False, ["seccomp=unconfined"]),
        (
            PROFILE(profile_type=PROFILE.Localhost, localhost_ref="/p.json"),
            "",
            False,
            ['seccomp={"a":[1,2]}'],
        ),
        (PROFILE(profile_type=PROFILE.RuntimeDefault), "", True, ["seccomp=unconfined"]),
    ],
)
def test_seccomp(
    profile: cri.SecurityProfile | None, deprecated: str, privileged: bool, options: list[str]
) -> None:
    context = cri.LinuxContainerSecurityContext(
        seccomp=profile, seccomp_profile_path=deprecated, privileged=privileged
    )
    assert seccomp_file(context, "c") == ("/p.json" if '"a"' in "".join(options) else "")
    assert seccomp_of(context, b'{ "a": [1, 2] }') == options


def seccomp_of(context: cri.LinuxContainerSecurityContext, content: bytes) -> list[str]:
    """What the engine is told of seccomp."""
    options = container_security(context, (), content, False, "c")["SecurityOpt"]
    return [option for option in options if option.startswith("seccomp=")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'"unconfined"', "not a JSON object"),
    ],
)
def test_a_seccomp_profile_that_is_none_is_an_error_and_never_nothing(
    content: bytes, reason: str
) -> None:
    localhost = PROFILE(profile_type=PROFILE.Localhost, localhost_ref="/p.json")
    with pytest.raises(InvalidArgument, match=reason):
        seccomp_of(cri.LinuxContainerSecurityContext(seccomp=localhost), content)


@pytest.mark.parametrize("kind", [PROFILE.Localhost, 99])
def test_a_seccomp_profile_without_a_path_is_refused(kind: PROFILE.ProfileType) -> None:
    context = cri.LinuxContainerSecurityContext(seccomp=PROFILE(profile_type=kind))
    with pytest.raises(InvalidArgument, match="absolute"):
        seccomp_of(context, b"{}")
    with pytest.raises(InvalidArgument, match="absolute"):
        seccomp_file(context, "c")


@pytest.mark.parametrize("reference", ["unconfined", "localhost/unconfined", "localhost/", ""])
@pytest.mark.parametrize("enabled", [True, False])
def test_a_name_of_an_apparmor_profile_never_means_none(reference: str, enabled: bool) -> None:
    """Who may name a profile of the node may not therefore go without one."""
    localhost = PROFILE(profile_type=PROFILE.Localhost, localhost_ref=reference)
    with pytest.raises(InvalidArgument, match="names no profile"):
        apparmor_options(localhost, "", enabled, "c")
    if reference.startswith("localhost/"):
        with pytest.raises(InvalidArgument, match="names no profile"):
            apparmor_options(None, reference, enabled, "c")


def test_apparmor() -> None:
    localhost = PROFILE(profile_type=PROFILE.Localhost, localhost_ref="localhost/web")
    assert apparmor_options(localhost, "unconfined", True, "c") == ["apparmor=web"]
    assert apparmor_options(None, "localhost/web", True, "c") == ["apparmor=web"]
    unconfined = PROFILE(profile_type=PROFILE.Unconfined)
    assert apparmor_options(unconfined, "", True, "c") == ["apparmor=unconfined"]
    assert apparmor_options(None, "unconfined", True, "c") == ["apparmor=unconfined"]
    assert apparmor_options(PROFILE(), "unconfined", True, "c") == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("busybox", "busybox:latest"),
        ("docker.io/library/busybox:1", "busybox:1"),
        ("index.docker.io/library/busybox:1", "busybox:1"),
        ("docker.io/team/app", "team/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        (
            f"registry.k8s.io/pause:3.10@sha256:{'a' * 64}",
            f"registry.k8s.io/pause@sha256:{'a' * 64}",
        ),
        (f"busybox@sha256:{'a' * 64}", f"busybox@sha256:{'a' * 64}"),
        ("NODE7/app:1", "NODE7/app:1"),
    ],
)
def test_references(text: str, name: str) -> None:
    assert parse_reference(text).name == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":1",
        "UPPER",
        "a b",
        "app:",
        "app@sha256:short",
        "app@",
        "/app",
        "a//b",
        "app:-x",
        "NODE7/UPPER",
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not an image reference"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("user", "uid", "username"),
    [
        ("", 0, ""),
        ("0", 0, ""),
        ("1002", 1002, ""),
        ("1003:1004", 1003, ""),
        ("www-data", None, "www-data"),
    ],
)
def test_the_user_of_an_image(user: str, uid: int | None, username: str) -> None:
    image = cri_image(
        {"Id": "sha256:1", "Config": {"User": user}, "RepoTags": ["<none>:<none>"]}, pinned=True
    )
    assert (image.uid.value if image.HasField("uid") else None, image.username) == (uid, username)
    assert image.pinned and list(image.repo_tags) == []


def test_an_image_without_config_fields() -> None:
    """Engine 29 leaves out what is empty."""
    image = cri_image({"Id": "sha256:1"}, pinned=False)
    assert image.id == "sha256:1" and image.uid.value == 0


@pytest.mark.parametrize("path", [".", "./", "a/..", "..", "../x", "/x", "a/b/c"])
def test_a_log_path_that_names_no_file_of_the_pods_own(path: str) -> None:
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name="main"),
        image=cri.ImageSpec(image="app"),
        log_path=path,
    )
    pod = cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(name="web"), log_directory="/l")
    with pytest.raises(InvalidArgument, match="log_path"):
        check_container_config(config, pod)


def test_a_working_dir_that_is_longer_than_a_path_can_be() -> None:
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name="main"),
        image=cri.ImageSpec(image="app"),
        working_dir="/" + "x/" * 3000,
    )
    pod = cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(name="web"))
    with pytest.raises(InvalidArgument, match="longer than a path"):
        check_container_config(config, pod)
