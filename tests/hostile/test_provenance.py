"""An image, a committed container and a container that somebody else made cannot speak in the name
of this service.
"""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asupervisor.proto import cri
from asupervisor.supervisor import Supervisor
from tests.harness.engine import BUSYBOX_IMAGE, Engine
from tests.harness.pods import SLEEPER, container_config, until
from tests.harness.service import service_config
from tests.hostile.canary import Canary
from tests.hostile.conftest import MakeImage
from tests.hostile.tenants import (
    TenantPod,
    docker_commit,
    docker_rm,
    docker_run,
    labels_of,
    run_pod,
)

UP = "../" * 30
CHATTER = ("sh", "-c", "trap 'exit 0' TERM; while :; do echo said; sleep 0.1; done")
TYPE, SANDBOX = "io.kubernetes.docker.type", "io.kubernetes.sandbox.id"
LOG, CGROUP = "io.kubernetes.container.logpath", "io.kubernetes.docker.cgroup"
USER_IMAGE, SEAL = "io.kubernetes.docker.user-image", "io.kubernetes.docker.seal"


def internal_labels(canary: Path, sandbox_id: str, seal: str) -> dict[str, str]:
    """Every label that is read back by this service or its peers, with something to gain."""
    return {
        TYPE: "container",
        SANDBOX: sandbox_id,
        LOG: str(canary),
        CGROUP: json.dumps({"unified": {f"{UP}{str(canary)[1:]}": "OWNED"}}),
        USER_IMAGE: "registry.example/somebody/else",
        "io.kubernetes.docker.image-ref": "docker-pullable://somebody/else",
        SEAL: seal,
        "io.kubernetes.docker.image-labels": "[" * 100_000,
        "io.asupervisor.temporary": "accounts",
        "io.kubernetes.container.name": "POD",
        "io.kubernetes.pod.name": "somebody",
        "io.kubernetes.pod.namespace": "kube-system",
        "io.kubernetes.pod.uid": "uid-somebody",
        "annotation.note": "by the image",
    }


def config(engine: Engine, directory: Path, **changes: Any) -> Any:
    return service_config(engine, directory, **changes)


async def shown(supervisor: Supervisor) -> set[str]:
    """Ids of every sandbox and container that kubelet sees."""
    runtime = supervisor.runtime
    return {
        *(item.id for item in await runtime.list_pod_sandbox()),
        *(item.id for item in await runtime.list_containers()),
    }


async def logs_were_written(supervisor: Supervisor, directory: Path, name: str) -> TenantPod:
    """A pod of which the log is there: whatever else is logged was begun before."""
    pod = await run_pod(
        supervisor,
        name,
        BUSYBOX_IMAGE,
        logs=directory / "logs",
        command=CHATTER,
        log_path=f"{name}.log",
    )
    log = directory / "logs" / f"{name}.log"
    await until(lambda: b"said" in log.read_bytes(), "the neighbour's log is written")
    return pod


async def test_a_container_of_somebody_else_is_not_a_pods(engine: Engine, directory: Path) -> None:
    stranger = docker_run(engine, BUSYBOX_IMAGE, name="stranger")
    async with Supervisor(config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "neighbour", BUSYBOX_IMAGE)
        assert await shown(supervisor) == {pod.sandbox_id, pod.container_id}
        await pod.remove()
    assert engine.inspect(stranger)["State"]["Running"]
    docker_rm(engine, stranger)


async def test_a_label_of_an_image_writes_no_file(
    engine: Engine, directory: Path, canary: Canary, make_image: MakeImage
) -> None:
    settings = json.dumps({"unified": {f"{UP}{str(canary.file)[1:]}": "OWNED"}})
    image = make_image({"Labels": {CGROUP: settings}})
    async with Supervisor(config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "cgroup", image)
        status = await pod.status()
        assert not status.resources.linux.unified and not dict(status.labels)
        await pod.remove()


async def test_no_internal_label_of_an_image_is_believed(
    engine: Engine, directory: Path, canary: Canary, make_image: MakeImage
) -> None:
    """Neither one alone, nor all of them."""
    async with Supervisor(config(engine, directory)) as supervisor:
        neighbour = await run_pod(supervisor, "neighbour", BUSYBOX_IMAGE)
        pod = await run_pod(supervisor, "tenant")
        seal = labels_of(engine, neighbour.container_id)[SEAL]
        every = internal_labels(canary.file, neighbour.sandbox_id, seal)
        made = {neighbour.sandbox_id, neighbour.container_id, pod.sandbox_id}
        for index, labels in enumerate([every, *({key: every[key]} for key in every)]):
            wanted = container_config(f"c{index}", labels={"own": "1"})
            image = wanted.image.image = make_image({"Labels": labels})
            await until(partial(supervisor.shim.store.image, image), "the image is there")  # type: ignore[union-attr]
            made.add(await pod.create(wanted))
            status = await pod.status()
            assert dict(status.labels) == {"own": "1"} and not dict(status.annotations), labels
            assert status.log_path == "" and not status.resources.linux.unified, labels
            assert status.image.user_specified_image != every[USER_IMAGE]
            assert "somebody" not in status.image_ref, labels
            origin = supervisor.shim.feed.ownership.origin(engine.inspect(pod.container_id))  # type: ignore[union-attr]
            assert origin is not None and origin.sealed, labels
            assert origin.image_ref == status.image_ref, "noted within the seal"
            (item,) = await supervisor.runtime.list_containers(
                cri.ContainerFilter(id=pod.container_id)
            )
            assert item.pod_sandbox_id == pod.sandbox_id, labels
        assert await shown(supervisor) == made
        await neighbour.remove()
        assert await shown(supervisor) == made - {neighbour.sandbox_id, neighbour.container_id}
        await pod.remove()


async def test_a_plain_container_of_an_image_with_reserved_labels_is_nobodys_pod(
    engine: Engine, directory: Path, canary: Canary, make_image: MakeImage
) -> None:
    """Neither where it was there before the service, nor where it comes after."""
    async with Supervisor(config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "neighbour", BUSYBOX_IMAGE)
        seal = labels_of(engine, pod.container_id)[SEAL]
    images = [
        make_image({"Labels": internal_labels(path, pod.sandbox_id, seal)})
        for path in (canary.file, canary.absent)
    ]
    strangers = [docker_run(engine, image, command=CHATTER) for image in images]
    async with Supervisor(config(engine, directory)) as supervisor:
        pod.supervisor = supervisor
        strangers += [docker_run(engine, image, command=CHATTER) for image in images]
        other = await logs_were_written(supervisor, directory, "other")
        assert await shown(supervisor) == {
            *(pod.sandbox_id, pod.container_id),
            *(other.sandbox_id, other.container_id),
        }
        for stranger in strangers:
            await supervisor.runtime.remove_container(stranger)
        await pod.remove()
        await other.remove()
    for stranger in strangers:
        assert engine.inspect(stranger)["State"]["Running"], "not removed, not stopped"
        docker_rm(engine, stranger)


async def test_what_docker_commit_copies_is_not_believed(
    engine: Engine, directory: Path, canary: Canary
) -> None:
    async with Supervisor(config(engine, directory)) as supervisor:
        wanted = {"labels": {"role": "victim"}, "annotations": {"note": "the victim's"}}
        victim = await run_pod(
            supervisor,
            "victim",
            BUSYBOX_IMAGE,
            logs=canary.directory / "absent",
            **wanted,
        )
        image = docker_commit(engine, victim.container_id, "victim")
        plain = docker_run(engine, image)
        named = docker_run(engine, image, name="k8s_main_somebody_default_uid_0")
        pod = await run_pod(supervisor, "tenant", image)
        status = await pod.status()
        assert not dict(status.labels) and not dict(status.annotations)
        assert await shown(supervisor) == {
            *(victim.sandbox_id, victim.container_id),
            *(pod.sandbox_id, pod.container_id),
        }, "the sandbox that its labels name is not that of its name"
        await victim.remove()
        await pod.remove()
    for container in (plain, named):
        assert engine.inspect(container)["State"]["Running"]
        docker_rm(engine, container)
    engine.request("DELETE", f"/images/{image}?force=1")


async def test_labels_of_the_pause_image_are_not_the_pods(
    engine: Engine, directory: Path, canary: Canary, make_image: MakeImage
) -> None:
    labels = {**internal_labels(canary.file, "f" * 64, ""), "app": "evil", "extra": "1"}
    pause = make_image({"Labels": labels, "Cmd": list(SLEEPER)})
    settings = config(engine, directory, pod_infra_container_image=pause)
    async with Supervisor(settings) as supervisor:
        pod = await run_pod(supervisor, "tenant")
        status = (await supervisor.runtime.pod_sandbox_status(pod.sandbox_id)).status
        assert status.metadata == pod.config.metadata
        assert dict(status.labels) == {"app": "tenant"}
        assert dict(status.annotations) == {"note": "kept as given"}
        assert await shown(supervisor) == {pod.sandbox_id}
        await pod.remove()


def peers_labels(sandbox_id: str, log_path: str = "") -> dict[str, str]:
    return {TYPE: "container", SANDBOX: sandbox_id, LOG: log_path}


async def test_a_container_of_a_peer_is_taken_over(engine: Engine, directory: Path) -> None:
    """By its name; what only this service writes is not believed of it."""
    async with Supervisor(config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "web", BUSYBOX_IMAGE, command=SLEEPER)
        log = Path("/var/log/pods/default_web_uid-web/side/0.log")
        labels = {
            **peers_labels(pod.sandbox_id, str(log)),
            CGROUP: json.dumps({"unified": {"memory.high": "1"}}),
            USER_IMAGE: "registry.example/somebody/else",
            "io.kubernetes.pod.uid": "uid-web",
            "tier": "front",
        }
        name = "k8s_side_web_default_uid-web_3"
        peers = docker_run(engine, BUSYBOX_IMAGE, name, labels, command=CHATTER)
        await until(lambda: peers in supervisor.shim.store.containers, "it is shown")  # type: ignore[union-attr]
        status = (await supervisor.runtime.container_status(peers)).status
        assert status.metadata == cri.ContainerMetadata(name="side", attempt=3)
        assert status.log_path == str(log) and not status.resources.linux.unified
        assert status.image.user_specified_image == BUSYBOX_IMAGE
        assert dict(status.labels) == {"io.kubernetes.pod.uid": "uid-web", "tier": "front"}
        try:
            await until(lambda: log.exists() and b"said" in log.read_bytes(), "its log is written")
        finally:
            await pod.remove()
            shutil.rmtree(log.parents[1], ignore_errors=True)
    assert engine.containers() == []


CONTRADICTIONS = [
    ("k8s_POD_web_default_uid-web_9", {}),
    ("k8s_a_web_default_uid-web_0", {TYPE: "podsandbox"}),
    ("k8s_b_web_default_uid-web_0", {TYPE: ""}),
    ("k8s_c_web_default_uid-web_0", {"io.kubernetes.pod.name": "db"}),
    ("k8s_d_web_default_uid-web_0", {"io.kubernetes.pod.namespace": "kube-system"}),
    ("k8s_e_web_default_uid-web_0", {"io.kubernetes.pod.uid": "uid-db"}),
    ("k8s_f_web_default_uid-web_0", {"io.kubernetes.container.name": "main"}),
    ("k8s_g_web_default_uid-other_0", {}),
    ("k8s_g_web_other_uid-web_0", {}),
    ("k8s_g_db_default_uid-web_0", {}),
    ("k8s_g_web_default_uid-web_00", {}),
    ("k8s_g_web_default_uid-web_4294967296", {}),
    ("k8s_g_web_default_uid-web", {}),
    ("k8s_g_web_default_uid-web_0_x", {}),
    ("xk8s_g_web_default_uid-web_0", {}),
]


async def test_a_name_and_labels_that_disagree_make_no_pod(engine: Engine, directory: Path) -> None:
    """All of them name a pod's sandbox, which is there before them or after them."""
    async with Supervisor(config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "web")
        strangers = [
            docker_run(
                engine, BUSYBOX_IMAGE, name, peers_labels(pod.sandbox_id) | labels, start=False
            )
            for name, labels in CONTRADICTIONS
        ]
        container = await pod.create(container_config())
        assert await shown(supervisor) == {pod.sandbox_id, container}
    async with Supervisor(config(engine, directory)) as supervisor:
        pod.supervisor = supervisor
        assert await shown(supervisor) == {pod.sandbox_id, container}
        await pod.remove()
    assert {container["Id"] for container in engine.containers()} == set(strangers)
    for stranger in strangers:
        docker_rm(engine, stranger)


async def test_sealed_labels_under_another_name_are_not_believed(
    engine: Engine, directory: Path, canary: Canary
) -> None:
    async with Supervisor(config(engine, directory)) as supervisor:
        pod = await run_pod(
            supervisor,
            "web",
            BUSYBOX_IMAGE,
            logs=directory / "logs",
            log_path="main.log",
            labels={"role": "victim"},
        )
        labels = labels_of(engine, pod.container_id)
        labels[CGROUP] = json.dumps({"unified": {f"{UP}{str(canary.file)[1:]}": "OWNED"}})
        labels[LOG] = str(canary.file)
        replayed = docker_run(
            engine, BUSYBOX_IMAGE, "k8s_twin_web_default_uid-web_0", labels, command=CHATTER
        )
        await until(lambda: replayed in supervisor.shim.store.containers, "it is shown")  # type: ignore[union-attr]
        record = supervisor.shim.store.container(replayed)  # type: ignore[union-attr]
        assert record.log_path == "" and not record.status.resources.linux.unified
        other = await logs_were_written(supervisor, directory, "other")
        await pod.remove()
        await other.remove()
    assert engine.containers() == []


async def test_the_log_path_of_a_peers_container_leads_nowhere_else(
    engine: Engine, directory: Path, canary: Canary
) -> None:
    own, others = "/var/log/pods/default_web_uid-web", "/var/log/pods/default_db_uid-db"
    paths = [
        str(canary.file),
        str(canary.absent),
        "relative/0.log",
        f"{own}/../../../..{canary.file}",
        f"{own}/side/../../default_db_uid-db/main/0.log",
        f"/{own}/side/0.log",
        f"{others}/main/0.log",
        f"{own}/side\n/0.log",
        own,
        "/",
        "",
        "/" + "x" * 5000,
    ]
    async with Supervisor(config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "web")
        peers = [
            docker_run(
                engine,
                BUSYBOX_IMAGE,
                f"k8s_side{index}_web_default_uid-web_0",
                peers_labels(pod.sandbox_id, path),
                command=CHATTER,
            )
            for index, path in enumerate(paths)
        ]
        other = await logs_were_written(supervisor, directory, "other")
        assert set(peers) <= await shown(supervisor)
        for container in peers:
            assert supervisor.shim.store.container(container).log_path == ""  # type: ignore[union-attr]
        await other.remove()
        await pod.remove()
    assert engine.containers() == []
    assert not [path for path in (own, others) if os.path.lexists(path)]  # noqa: ASYNC240


async def test_a_container_whose_sandbox_was_removed_from_outside_can_be_removed(
    engine: Engine, directory: Path
) -> None:
    async with Supervisor(config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "web", BUSYBOX_IMAGE)
        peers = docker_run(
            engine,
            BUSYBOX_IMAGE,
            "k8s_side_web_default_uid-web_0",
            peers_labels(pod.sandbox_id),
            start=False,
        )
        docker_rm(engine, pod.sandbox_id)
        await supervisor.runtime.remove_pod_sandbox(pod.sandbox_id)
    async with Supervisor(config(engine, directory)) as supervisor:
        left = {item.id for item in await supervisor.runtime.list_containers()}
        for container in left:
            await supervisor.runtime.remove_container(container)
        assert left <= {peers, pod.container_id}
    assert engine.containers() == []


async def test_a_container_that_another_made_is_never_cleared_as_a_leftover(
    engine: Engine, directory: Path, make_image: MakeImage
) -> None:
    image = make_image({"Labels": {"io.asupervisor.temporary": "accounts"}})
    strangers = [
        docker_run(engine, image),
        docker_run(engine, image, start=False),
        docker_run(engine, image, name="asupervisor-accounts-of-somebody"),
    ]
    async with Supervisor(config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "tenant", image)
        await until(
            lambda: supervisor.shim.feed.resyncs > 0,  # type: ignore[union-attr]
            "the node was read, after which it is put in order",
        )
        await pod.remove()
    left = {container["Id"] for container in engine.containers()}
    assert left == set(strangers)
    for stranger in strangers:
        docker_rm(engine, stranger)


@pytest.mark.parametrize("damage", ["gone", "cut", "open to others"])
async def test_pods_go_on_when_the_key_is_lost(
    engine: Engine, directory: Path, damage: str
) -> None:
    async with Supervisor(config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "web", BUSYBOX_IMAGE, labels={"role": "front"})
    key = directory / "root" / "provenance" / "key"
    content = key.read_bytes()
    if damage == "gone":
        key.unlink()
    elif damage == "cut":
        key.write_bytes(content[:16])
    else:
        key.chmod(0o644)
    async with Supervisor(config(engine, directory)) as supervisor:
        pod.supervisor = supervisor
        assert key.read_bytes() not in (content, content[:16])
        assert await shown(supervisor) == {pod.sandbox_id, pod.container_id}
        assert dict((await pod.status()).labels) == {"role": "front"}
        await pod.remove()
    assert engine.containers() == []


async def test_a_pods_container_that_somebody_renames_stays_the_pods(
    engine: Engine, directory: Path
) -> None:
    """Neither hidden by a plain name, nor taken for another pod's by that one's."""

    def rename(container_id: str, name: str) -> None:
        status, answer = engine.request("POST", f"/containers/{container_id}/rename?name={name}")
        assert status == 204, answer

    async with Supervisor(config(engine, directory)) as supervisor:
        pod = await run_pod(supervisor, "renamed", BUSYBOX_IMAGE)
        neighbour = await run_pod(supervisor, "neighbour", BUSYBOX_IMAGE)
        everything = await shown(supervisor)
        assert supervisor.shim is not None
        for container_id, part in ((pod.container_id, "main"), (pod.sandbox_id, "POD")):
            for name in (f"plain-{part}", f"k8s_{part}_neighbour_default_uid-neighbour_7"):
                rename(container_id, name)
                await supervisor.shim.feed.refresh(container_id)
                await supervisor.shim.feed.resync()
                assert await shown(supervisor) == everything
        await pod.remove()
        assert await shown(supervisor) == {neighbour.sandbox_id, neighbour.container_id}
        later = await run_pod(supervisor, "later")
        rename(later.sandbox_id, "plain-later")
    async with Supervisor(config(engine, directory)) as supervisor:
        later.supervisor = neighbour.supervisor = supervisor
        status = (await supervisor.runtime.pod_sandbox_status(later.sandbox_id)).status
        assert status.state == cri.SANDBOX_READY
        await later.remove()
        await neighbour.remove()
    assert engine.containers() == []
