"""What the status page remembers of the log and of the node's changes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import pairwise

from asupervisor.node.store import Change
from asupervisor.proto import cri
from asupervisor.supervisor.journal import Journal


def lines(*records: tuple[int, str, str]) -> Journal:
    """A journal that heard of log lines: level, message, code."""
    journal = Journal()
    logger = logging.Logger("of its own")
    logger.addHandler(journal)
    for level, message, code in records:
        logger.log(level, "%s", message, extra={"code": code} if code else {})
    return journal


def test_failed_calls_and_warnings_are_kept_and_other_lines_are_not() -> None:
    journal = lines(
        (logging.INFO, "started container", ""),
        (logging.INFO, "StopContainer failed", "UNAVAILABLE"),
        (logging.WARNING, "the engine's events broke off", ""),
    )
    assert [(one.level, one.code) for one in journal.troubles] == [
        ("warning", ""),
        ("info", "UNAVAILABLE"),
    ]


def test_the_same_again_is_counted_and_what_is_kept_is_bounded() -> None:
    again = lines(*[(logging.ERROR, "no", "INTERNAL")] * 3)
    assert [(one.message, one.times) for one in again.troubles] == [("no", 3)]
    many = lines(*[(logging.ERROR, f"{number}" * 3000, "") for number in range(200)])
    assert len(many.troubles) == 50 and many.troubles[0].message.startswith("199")
    assert all(len(one.message) == 1000 for one in many.troubles)


@dataclass
class Record:
    """As much of a container's record as the journal reads."""

    status: cri.ContainerStatus
    sandbox_id: str = "0123456789abcdef"
    ready: bool = field(default=True)


def container(state: int, **labels: str) -> Record:
    return Record(
        cri.ContainerStatus(
            metadata=cri.ContainerMetadata(name="main"),
            state=state,  # type: ignore[arg-type]
            exit_code=3,
            reason="Error",
            labels=labels,
        )
    )


def test_the_life_of_a_container() -> None:
    journal = Journal()
    pod = {"io.kubernetes.pod.namespace": "default", "io.kubernetes.pod.name": "web"}
    states = [cri.CONTAINER_CREATED, cri.CONTAINER_RUNNING, cri.CONTAINER_RUNNING]
    steps = [None, *(container(state, **pod) for state in (*states, cri.CONTAINER_EXITED)), None]
    for before, after in pairwise(steps):
        journal.changed(Change("container", before, after))  # type: ignore[arg-type]
    told = ["created", "started", "ended with 3 (Error)", "removed"]
    assert [one.what for one in reversed(journal.events)] == told
    assert {one.subject for one in journal.events} == {"default/web/main"}


def test_one_without_the_labels_of_a_pod_is_named_by_its_sandbox() -> None:
    journal = Journal()
    journal.changed(Change("container", None, container(cri.CONTAINER_RUNNING)))  # type: ignore[arg-type]
    assert journal.events[0].subject == "main of 0123456789abc"
