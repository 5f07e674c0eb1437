"""Which pod a name means."""

from __future__ import annotations

from asupervisor.client import PodInfo
from asupervisor.client.find import matching_pods
from asupervisor.proto import cri


def sandbox(identifier: str, name: str, namespace: str = "default") -> PodInfo:
    metadata = cri.PodSandboxMetadata(name=name, namespace=namespace)
    return PodInfo.of(cri.PodSandbox(id=identifier, metadata=metadata))


def test_a_pod_by_name_namespace_or_the_start_of_its_id() -> None:
    pods = [
        sandbox("abcdef01", "web"),
        sandbox("abcd9999", "web", "shop"),
        sandbox("ffff0000", "abcd"),
    ]

    def found(wanted: str) -> list[str]:
        return [pod.id for pod in matching_pods(pods, wanted)]

    assert found("web") == ["abcdef01", "abcd9999"]
    assert found("shop/web") == ["abcd9999"]
    assert found("abcde") == ["abcdef01"]
    assert found("abcd") == ["ffff0000"], "a name wins over the start of an id"
    assert found("abc") == [], "three characters are no id"
    assert found("shop/abcd") == []
