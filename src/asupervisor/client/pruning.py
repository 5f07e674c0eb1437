"""Removes pods that have ended and images that nothing uses."""

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
    """See :meth:`Client.prune`."""

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
    """Ids and names of images. Servers tell an image in different fields, so all of them count."""
    names: set[str] = set()
    for each in containers:
        names |= {each.raw.image_ref, each.raw.image_id, each.raw.image.image, each.image}
    return names - {""}


async def _each(
    items: Iterable[Item], act: Callable[[Item], Awaitable[None]], failures: list[str]
) -> list[Item]:
    """The items for which it succeeded; the errors of the others are added to ``failures``."""
    done = []
    for item in items:
        try:
            await act(item)
        except ServiceError as error:
            failures.append(str(error))
        else:
            done.append(item)
    return done
