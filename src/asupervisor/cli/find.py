"""Which pod or container a person means."""

from __future__ import annotations

from collections.abc import Iterable

from asupervisor.errors import FailedPrecondition, NotFound
from asupervisor.proto import cri
from asupervisor.remote import RemoteRuntimeService

_SHORTEST_ID = 4
"""Fewer characters of an id are more likely a name."""


async def find_pod(runtime: RemoteRuntimeService, wanted: str) -> cri.PodSandbox:
    """The sandbox that ``wanted`` names.

    Args:
        runtime: asked for its pods.
        wanted: a pod's name, ``NAMESPACE/NAME``, or the start of a sandbox id. Among several
            attempts of one pod, the one that runs, else the newest.

    Raises:
        NotFound: none is.
        FailedPrecondition: several different pods are; they are named.
    """
    found = matching_pods(await runtime.list_pod_sandbox(), wanted)
    if not found:
        raise NotFound(f'no pod "{wanted}"', subject=wanted)
    pods = {(pod.metadata.namespace, pod.metadata.name) for pod in found}
    if len(pods) > 1:
        raise FailedPrecondition(
            f'"{wanted}" may be {_either(f"{namespace}/{name}" for namespace, name in pods)}',
            subject=wanted,
        )
    return max(found, key=lambda pod: (pod.state == cri.SANDBOX_READY, pod.created_at))


def matching_pods(pods: list[cri.PodSandbox], wanted: str) -> list[cri.PodSandbox]:
    """Those that ``wanted`` names; a name wins over the start of an id."""
    namespace, _, name = wanted.rpartition("/")
    named = [
        pod
        for pod in pods
        if pod.metadata.name == name and namespace in ("", pod.metadata.namespace)
    ]
    return named or [
        pod for pod in pods if len(wanted) >= _SHORTEST_ID and pod.id.startswith(wanted)
    ]


async def find_container(runtime: RemoteRuntimeService, wanted: str) -> cri.Container:
    """The container that ``wanted`` names.

    Args:
        runtime: asked for its pods and containers.
        wanted: ``POD/CONTAINER`` with the pod as :func:`find_pod` takes it, or the start of a
            container id. Among several attempts of one container, the one that runs, else the
            newest.

    Raises:
        NotFound: none is.
        FailedPrecondition: several are; they are named.
    """
    containers = await runtime.list_containers()
    pod_name, slash, name = wanted.rpartition("/")
    if slash:
        pod = await find_pod(runtime, pod_name)
        found = [
            container
            for container in containers
            if container.pod_sandbox_id == pod.id and container.metadata.name == name
        ]
        if not found:
            names = sorted(
                {each.metadata.name for each in containers if each.pod_sandbox_id == pod.id}
            )
            has = f"it has {', '.join(names)}" if names else "it has none"
            raise NotFound(f'pod "{pod_name}" has no container "{name}"; {has}', subject=wanted)
        return max(
            found,
            key=lambda container: (container.state == cri.CONTAINER_RUNNING, container.created_at),
        )
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


async def find_either(runtime: RemoteRuntimeService, wanted: str) -> cri.PodSandbox | cri.Container:
    """The pod that ``wanted`` names, else the container; a pod wins where both have that name.

    Raises:
        NotFound: neither.
        FailedPrecondition: several are.
    """
    try:
        return await find_pod(runtime, wanted)
    except NotFound as no_pod:
        try:
            return await find_container(runtime, wanted)
        except NotFound as no_container:
            raise (
                no_container
                if "/" in wanted
                else NotFound(f'no pod and no container "{wanted}"', subject=wanted)
            ) from no_pod


def _either(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))
