"""The client of an ImageService: one method for each of its RPCs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, cast

from asupervisor.errors import Unimplemented
from asupervisor.proto import cri
from asupervisor.remote.service import RemoteService, collected

PULL_PROGRESS = "/asupervisor.v1.ImageService/PullProgress"
"""A method that only this project's service has."""


class RemoteImageService(RemoteService):
    """An ImageService somewhere else, as kubelet's ImageManagerService has it.

    Errors and cancellation are those of :class:`asupervisor.remote.RemoteRuntimeService`. An
    image can be given by its reference instead of an ``ImageSpec``."""

    SERVICE = "ImageService"

    async def list_images(
        self, filter: cri.ImageFilter | None = None, *, stream: bool = False
    ) -> list[cri.Image]:
        """Images that match; ``stream`` asks for them in pieces where the server can, for answers
        beyond 16 MiB.
        """
        if stream and self._has("StreamImages"):
            with suppress(Unimplemented):
                return await collected(self.stream_images(filter))
        request = cri.ListImagesRequest(filter=filter)
        answer = await self._call("ListImages", request, cri.ListImagesResponse)
        return list(answer.images)

    def stream_images(
        self, filter: cri.ImageFilter | None = None
    ) -> AsyncGenerator[cri.Image, None]:
        """Images that match, as they come in."""
        return self._stream(
            "StreamImages",
            cri.StreamImagesRequest(filter=filter),
            cri.StreamImagesResponse,
            lambda piece: piece.images,
        )

    async def image_status(
        self, image: cri.ImageSpec | str, verbose: bool = False
    ) -> cri.ImageStatusResponse:
        """One image; ``HasField("image")`` of the answer is False when it is not on the node.
        ``verbose`` fills ``info``.
        """
        request = cri.ImageStatusRequest(image=_spec(image), verbose=verbose)
        return await self._call("ImageStatus", request, cri.ImageStatusResponse)

    async def pull_image(
        self,
        image: cri.ImageSpec | str,
        auth: cri.AuthConfig | None = None,
        sandbox_config: cri.PodSandboxConfig | None = None,
    ) -> str:
        """Fetch an image and return the reference by which containers should name it.

        There is no deadline: a pull may take any time. The server gives up one without progress,
        and the caller can cancel it, as with ``anyio.fail_after``.
        """
        request = cri.PullImageRequest(image=_spec(image), auth=auth, sandbox_config=sandbox_config)
        return (await self._call("PullImage", request, cri.PullImageResponse)).image_ref

    async def pull_progress(self, image: str) -> AsyncGenerator[list[list[Any]], None]:
        """The layers of an image that is being pulled, now and at each change, until the iteration
        is left: short digest, state, bytes done and bytes in all; an empty list if none is known.

        Raises:
            Unimplemented: the server is not this project's.
        """
        from google.protobuf.struct_pb2 import ListValue

        answers = self._connection.stream(
            PULL_PROGRESS, _spec(image), ListValue, deadline_s=None, timeout_s=self._timeout_s
        )
        async with aclosing(answers):
            async for answer in answers:
                yield [list(cast(ListValue, layer)) for layer in answer]

    async def remove_image(self, image: cri.ImageSpec | str) -> None:
        """Remove an image; one that is gone is a success."""
        request = cri.RemoveImageRequest(image=_spec(image))
        await self._call("RemoveImage", request, cri.RemoveImageResponse)

    async def image_fs_info(self) -> cri.ImageFsInfoResponse:
        """How full the filesystems of images and containers are."""
        return await self._call("ImageFsInfo", cri.ImageFsInfoRequest(), cri.ImageFsInfoResponse)


def _spec(image: cri.ImageSpec | str) -> cri.ImageSpec:
    return cri.ImageSpec(image=image) if isinstance(image, str) else image
