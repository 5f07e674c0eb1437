"""Which pod or container a person means."""

from __future__ import annotations

from collections.abc import Iterable

from asupervisor.client.values import ContainerInfo, PodInfo, State
from asupervisor.errors import FailedPrecondition, NotFound

_SHORTEST_ID = 4
"""A shorter text is taken for a name only."""


def choose_pod(pods: Iterable[PodInfo], wanted: str) -> PodInfo:
    """The pod that ``wanted`` names.

    Args:
        pods: all there are.
        wanted: a pod's name, ``NAMESPACE/NAME``, or the start of a sandbox id. Among several
            attempts of one pod, the one that runs, else the newest.

    Raises:
        NotFound: no pod matches.
        FailedPrecondition: several different pods match; the message names them.
    """
    found = matching_pods(pods, wanted)
    if not found:
        raise NotFound(f'no pod "{wanted}"', subject=wanted)
    names = {f"{pod.namespace}/{pod.name}" for pod in found}
    if len(names) > 1:
        raise FailedPrecondition(f'"{wanted}" may be {_either(names)}', subject=wanted)
    return max(found, key=lambda pod: (pod.ready, pod.created_at_ns))


def matching_pods(pods: Iterable[PodInfo], wanted: str) -> list[PodInfo]:
    """The pods that ``wanted`` names; a name wins over the start of an id."""
    pods = list(pods)
    namespace, _, name = wanted.rpartition("/")
    named = [pod for pod in pods if pod.name == name and namespace in ("", pod.namespace)]
    return named or [
        pod for pod in pods if len(wanted) >= _SHORTEST_ID and pod.id.startswith(wanted)
    ]


def choose_container(
    pods: Iterable[PodInfo], containers: Iterable[ContainerInfo], wanted: str
) -> ContainerInfo:
    """The container that ``wanted`` names.

    Args:
        pods: all there are.
        containers: all there are.
        wanted: ``POD/CONTAINER`` with the pod as :func:`choose_pod` takes it, or the start of a
            container id. Among several attempts of one container, the one that runs, else the
            newest.

    Raises:
        NotFound: no container matches.
        FailedPrecondition: several match; the message names them.
    """
    pod_name, slash, name = wanted.rpartition("/")
    if slash:
        pod = choose_pod(pods, pod_name)
        inside = [container for container in containers if container.pod_id == pod.id]
        named = [container for container in inside if container.name == name]
        if not named:
            names = sorted({container.name for container in inside})
            has = f"it has {', '.join(names)}" if names else "it has none"
            raise NotFound(f'pod "{pod_name}" has no container "{name}"; {has}', subject=wanted)
        return newest(named)
    found = [
        container
        for container in containers
        if len(wanted) >= _SHORTEST_ID and container.id.startswith(wanted)
    ]
    if not found:
        raise NotFound(
            f'no container "{wanted}"; name it as POD/CONTAINER or by the start of its id',
            subject=wanted,
        )
    if len(found) > 1:
        raise FailedPrecondition(
            f'"{wanted}" may be {_either(container.id for container in found)}', subject=wanted
        )
    return found[0]


def newest(attempts: Iterable[ContainerInfo]) -> ContainerInfo:
    """Of several attempts of one container the one that runs, else the newest."""
    return max(attempts, key=lambda each: (each.state is State.RUNNING, each.created_at_ns))


def _either(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))
