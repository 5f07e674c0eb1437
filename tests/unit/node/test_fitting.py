"""A list is one message that a client takes, whatever tenants wrote into their pods."""

from __future__ import annotations

import logging

import pytest

from asupervisor.errors import ResourceExhausted
from asupervisor.node.fitting import KEPT_BYTES, Fitting
from asupervisor.proto import cri
from asupervisor.proto.wire import encode_field

_LIMIT = 1 << 20
_OURS = {
    "io.kubernetes.pod.name": "web",
    "io.kubernetes.pod.namespace": "default",
    "io.kubernetes.pod.uid": "u" * 36,
}


def _sandbox(number: int, annotations: dict[str, str], labels: dict[str, str]) -> bytes:
    return encode_field(
        1,
        cri.PodSandbox(
            id=f"{number:064x}",
            metadata=cri.PodSandboxMetadata(name=f"pod{number}", uid=str(number)),
            state=cri.SANDBOX_READY,
            created_at=number,
            labels={**labels, **_OURS},
            annotations=annotations,
        ),
    )


_FAT: tuple[tuple[dict[str, str], dict[str, str]], ...] = (
    ({"hash": "1", "note": "<" * 262_000}, {}),
    ({f"a{number}": "x" * 900 for number in range(290)}, {}),
    ({"hash": "1"}, {f"l{number}/" + "k" * 200: "v" * 63 for number in range(1000)}),
    ({"hash": "1"}, {f"{number}": "" for number in range(50_000)}),
)


@pytest.mark.parametrize("fat", _FAT)
def test_a_list_that_tenants_made_too_long_is_shortened(
    fat: tuple[dict[str, str], dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asupervisor")
    counted: list[int] = []
    lists = Fitting(_LIMIT, counted.append)
    small = [_sandbox(number, {"note": "n" * 2000}, {"app": "x" * 63}) for number in range(50)]
    large = [_sandbox(number, *fat) for number in range(100, 110)]
    for _ in range(2):
        answer = lists.join([*small, *large], cri.PodSandbox)
        assert len(answer) <= _LIMIT
    items = cri.ListPodSandboxResponse.FromString(answer).items
    whole = cri.ListPodSandboxResponse.FromString(b"".join([*small, *large])).items
    assert [item.id for item in items] == [item.id for item in whole]
    assert list(items[:50]) == list(whole[:50]), "what is small stays as it is"
    shortened = [item for item, before in zip(items, whole, strict=True) if item != before]
    assert counted == [len(shortened)] * 2 and 0 < len(shortened) <= 10
    for item in shortened:
        assert item.metadata.name and item.created_at and item.state == cri.SANDBOX_READY
        assert _OURS.items() <= dict(item.labels).items()
        for words in (item.labels, item.annotations):
            told = sum(len(key) + len(words[key]) for key in words if key not in _OURS)
            assert told <= KEPT_BYTES
        assert item.annotations.get("hash", "1") == "1"
    assert lists.join(small, cri.PodSandbox) == b"".join(small)
    assert len(counted) == 2
    # Once, however often, since other filters make shorter lists in between.
    lists.join([*small, *large], cri.PodSandbox)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_stats_are_shortened_likewise() -> None:
    fat = {"note": "x" * 200_000, "io.kubernetes.container.hash": "1"}
    attributes = cri.ContainerAttributes(id="c", annotations=fat)
    container = cri.ContainerStats(attributes=attributes)
    container.cpu.usage_core_nano_seconds.value = 7
    pod = cri.PodSandboxStats(attributes=cri.PodSandboxAttributes(id="s", annotations=fat))
    pod.linux.containers.extend([container] * 3)
    lists = Fitting(_LIMIT)
    answer = lists.join([encode_field(1, pod)] * 4, cri.PodSandboxStats)
    stats = cri.ListPodSandboxStatsResponse.FromString(answer).stats
    assert len(answer) <= _LIMIT and len(stats) == 4
    assert all(one.linux.containers[2].cpu.usage_core_nano_seconds.value == 7 for one in stats)
    assert stats[0].linux.containers[2].attributes.annotations["io.kubernetes.container.hash"]
    answer = lists.join([encode_field(1, container)] * 40, cri.ContainerStats)
    assert len(answer) <= _LIMIT
    assert len(cri.ListContainerStatsResponse.FromString(answer).stats) == 40
    empty = encode_field(1, cri.ContainerStats())
    assert lists.join([empty] * (_LIMIT // 2), cri.ContainerStats) == empty * (_LIMIT // 2)


def test_a_list_of_too_many_says_what_is_the_matter() -> None:
    lists = Fitting(1000)
    with pytest.raises(ResourceExhausted, match=r"list of 30 PodSandbox has .* Stream form"):
        lists.join([_sandbox(number, {}, {}) for number in range(30)], cri.PodSandbox)
