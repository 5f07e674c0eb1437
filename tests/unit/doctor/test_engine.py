"""Faults of the engine, as its own words show them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asupervisor.conditions import Reason
from asupervisor.doctor import engine
from asupervisor.doctor.finding import Level
from asupervisor.doctor.reasons import REMEDIES
from tests.harness.made_node import MadeNode, assert_finds, only

LOOKS = (
    *(engine.reachable, engine.version, engine.cgroup_driver, engine.storage_driver),
    *(engine.log_driver, engine.live_restore, engine.image_store, engine.user_namespaces),
    *(engine.oom_score, engine.engine_warnings),
)


@pytest.fixture
def made(tmp_path: Path) -> MadeNode:
    return MadeNode(tmp_path)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.__name__)
def test_a_healthy_engine_is_ok_and_an_absent_one_is_told_once(
    made: MadeNode, look: object
) -> None:
    node = made.node
    assert_finds(only(look(node)), Level.OK)  # type: ignore[operator]
    node.engine, node.engine_problem = None, (Reason.ENGINE_NOT_RUNNING, "it does not answer")
    if look is engine.reachable:
        assert_finds(only(look(node)), Level.ERROR, "EngineNotRunning: it does not answer")
    else:
        assert look(node) == []  # type: ignore[operator]


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.__name__)
def test_an_engine_that_answers_nonsense_fails_no_check(made: MadeNode, look: object) -> None:
    made.info = {
        key: value
        for value, keys in (
            (7, ("CgroupDriver", "Driver", "LoggingDriver", "SecurityOptions", "Warnings")),
            ("x", ("DriverStatus", "LiveRestoreEnabled", "DockerRootDir")),
        )
        for key in keys
        if key != "SecurityOptions"
    }
    assert look(made.node) is not None  # type: ignore[operator]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_of_not_ready_is_explained(made: MadeNode, reason: Reason) -> None:
    node = made.node
    node.engine, node.engine_problem = None, (reason, "so it is")
    found = only(engine.reachable(node))
    assert_finds(found, Level.ERROR, reason, "so it is")
    assert found.remedy == REMEDIES[reason]


def test_an_engine_of_the_services_own_is_started_with_it(made: MadeNode) -> None:
    made.config["docker_endpoint"] = "managed"
    node = made.node
    node.engine, node.engine_problem = None, (Reason.ENGINE_STARTING, "it does not answer")
    assert only(engine.reachable(node)).remedy == "start the service: it runs this engine itself"


def test_another_cgroup_driver_than_kubelets(made: MadeNode) -> None:
    assert only(engine.cgroup_driver(made.node)).message == "the engine uses systemd"
    made.kubelet["cgroupDriver"] = "cgroupfs"
    found = only(engine.cgroup_driver(made.node))
    assert_finds(
        found, Level.ERROR, 'the engine uses "systemd"', 'is "cgroupfs"', "cgroupDriver in"
    )
    assert "native.cgroupdriver" in found.remedy


def test_another_cgroup_driver_than_the_flag_says(made: MadeNode) -> None:
    made.config["cgroup_driver"] = "cgroupfs"
    assert_finds(
        only(engine.cgroup_driver(made.node)), Level.ERROR, '--cgroup-driver is "cgroupfs"'
    )


def test_cgroupfs_under_systemd(made: MadeNode) -> None:
    made.info["CgroupDriver"] = "cgroupfs"
    assert_finds(only(engine.cgroup_driver(made.node)), Level.WARNING, "cgroupfs under systemd")
    made.write("proc/1/comm", "init\n")
    assert_finds(only(engine.cgroup_driver(made.node)), Level.OK)


def test_a_slow_storage_driver(made: MadeNode) -> None:
    made.info["Driver"] = "vfs"
    assert_finds(only(engine.storage_driver(made.node)), Level.WARNING, "vfs", "copies every layer")


def test_a_file_system_without_d_type(made: MadeNode) -> None:
    made.info["DriverStatus"] = [["Supports d_type", "false"]]
    assert_finds(only(engine.storage_driver(made.node)), Level.ERROR, "without d_type")


@pytest.mark.parametrize(
    ("driver", "level"), [("none", Level.ERROR), ("gelf", Level.WARNING), ("local", Level.OK)]
)
def test_log_drivers(made: MadeNode, driver: str, level: Level) -> None:
    made.info["LoggingDriver"] = driver
    assert_finds(only(engine.log_driver(made.node)), level, driver)


def test_live_restore_is_off(made: MadeNode) -> None:
    made.info["LiveRestoreEnabled"] = False
    assert_finds(only(engine.live_restore(made.node)), Level.WARNING, "ends every container")


def test_containers_were_elsewhere_before(made: MadeNode) -> None:
    made.write(
        "var/lib/cri-dockerd/engine-store",
        json.dumps({"now": "aufs in /old", "before": ""}),
    )
    found = only(engine.image_store(made.node))
    assert_finds(found, Level.ERROR, "overlay2 in /var/lib/docker", "aufs in /old")
    made.write(
        "var/lib/cri-dockerd/engine-store",
        json.dumps({"now": "overlay2 in /var/lib/docker", "before": "aufs in /old"}),
    )
    assert_finds(only(engine.image_store(made.node)), Level.OK)


def test_remapped_users(made: MadeNode) -> None:
    made.info["SecurityOptions"] = ["name=userns"]
    assert_finds(only(engine.user_namespaces(made.node)), Level.WARNING, "userns-remap is on")
    made.info["SecurityOptions"] = ["name=rootless"]
    assert_finds(only(engine.user_namespaces(made.node)), Level.ERROR, "rootless")


def test_scores_that_cannot_be_lowered(made: MadeNode) -> None:
    node = made.node
    assert node.engine is not None
    node.engine.oom_floor = -500
    assert_finds(only(engine.oom_score(node)), Level.WARNING, "below -500")


def test_an_engine_newer_than_this_service(made: MadeNode) -> None:
    made.version["ApiVersion"], made.api_version = "1.99", (1, 56)
    assert_finds(only(engine.version(made.node)), Level.WARNING, "1.24 to 1.99", "uses 1.56")


def test_what_the_engine_complains_of(made: MadeNode) -> None:
    made.info["Warnings"] = ["WARNING: No swap limit support", 5, *["again"] * 100]
    found = only(engine.engine_warnings(made.node))
    assert_finds(found, Level.WARNING, "says: No swap limit support; again; ")
    assert found.message.count("again") == 19
