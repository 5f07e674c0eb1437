"""What is not used any more, and its removal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from asupervisor.client.pods import Pod
from asupervisor.client.values import ContainerInfo, ImageInfo, PodInfo, Pruned, State
from asupervisor.errors import ServiceError

if TYPE_CHECKING:
    from asupervisor.client.client import Client

Item = TypeVar("Item")


async def prune(client: Client, pods: bool, images: bool) -> Pruned:
    """As :meth:`Client.prune` says."""

    async def remove(pod: PodInfo) -> None:
        await Pod(client, pod, ()).remove()

    failures: list[str] = []
    gone_pods: list[PodInfo] = []
    gone_images: list[ImageInfo] = []
    containers = await client.containers()
    if pods:
        busy = {each.pod_id for each in containers if each.state is State.RUNNING}
        idle = [pod for pod in await client.pods() if not pod.ready and pod.id not in busy]
        gone_pods = await _each(idle, remove, failures)
        containers = await client.containers()
    if images:
        used = _used_images(containers)
        unused = [each for each in await client.images() if not each.pinned]
        unused = [each for each in unused if not used & {each.id, *each.tags, *each.digests}]
        gone_images = await _each(unused, lambda each: client.remove_image(each.id), failures)
    return Pruned(pods=tuple(gone_pods), images=tuple(gone_images), failures=tuple(failures))


def _used_images(containers: Iterable[ContainerInfo]) -> set[str]:
    """Ids and names; a name that moved on still means the image that the container runs."""
    names: set[str] = set()
    for each in containers:
        names |= {each.raw.image_ref, each.raw.image_id, each.raw.image.image, each.image}
    return names - {""}


async def _each(
    items: Iterable[Item], act: Callable[[Item], Awaitable[None]], failures: list[str]
) -> list[Item]:
    """Those for which it could be done; why not of the others goes to ``failures``."""
    done = []
    for item in items:
        try:
            await act(item)
        except ServiceError as error:
            failures.append(str(error))
        else:
            done.append(item)
    return done
